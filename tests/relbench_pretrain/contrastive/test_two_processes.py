"""Two processes together compute what one with all rows does, losses and gradients."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from relbench_pretrain.contrastive import ContextContrast, LinkContrast, RowContrast, blocks, link
from relbench_pretrain.distributed import gather_rows, gather_tables
from relbench_pretrain.relational.schema import GraphSchema

LEVELS = {"row": RowContrast, "link": LinkContrast, "context": ContextContrast}
SIZES = {
    "both": [
        {"items": 5, "people": 6, "orders": 8, "keys": 3, "lonely": 2},
        {"items": 7, "people": 4, "orders": 6, "keys": 2},
    ],
    "one has nothing": [{}, {"items": 5, "people": 6, "orders": 8, "keys": 3}],
    "large": [{"items": 5, "people": 6, "orders": 8, "keys": 3}, {"items": 9, "orders": 4, "keys": 2}],
}


def build(level, schema, gather):
    torch.manual_seed(0)
    objective = LEVELS[level](temperature=0.7, gather_negatives=gather)
    objective.build(schema, 4)
    return objective.double()


def run_level(objective, arguments):
    """Returns the sums of a level, and the gradients of the parameters and of the vectors."""
    losses = objective(*arguments)
    losses.normalized_sum.backward()
    vectors = [value for values in arguments for value in values.values() if value.requires_grad]
    sums = torch.stack([losses.sum.detach(), losses.normalized_sum.detach(), losses.count.double()])
    return (
        sums,
        [p.grad for p in objective.parameters()],
        [torch.zeros_like(v) if v.grad is None else v.grad for v in vectors],
    )


def worker(rank: int, folder: Path) -> None:
    """One of the two processes: runs all cases and writes what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    given = torch.load(folder / "given.pt", weights_only=False)
    schema = GraphSchema.from_dict(given["schema"])
    results = {"rows": run_gather_rows(rank)}
    for name, cases in given["cases"].items():
        if name == "large":
            blocks.PADDED_ROWS, link.PADDED_ROWS, blocks.CHUNK_SIMILARITIES = 0, 0, 20
        for level, arguments in cases[rank].items():
            arguments = [{k: v.requires_grad_(v.is_floating_point()) for k, v in a.items()} for a in arguments]
            results[name, level] = run_level(build(level, schema, gather=True), arguments)
    torch.save(results, folder / f"result{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def run_gather_rows(rank: int):
    x = (torch.arange(2.0 * (rank + 1)).view(-1, 2) + 100 * rank).requires_grad_()
    pooled = gather_rows(x)
    pooled.mul(torch.tensor([[1.0], [2.0], [3.0]]) * 10**rank).sum().backward()
    empty, ids = gather_tables([torch.zeros(0, 3), torch.ones(rank, 3)])
    numbers = gather_rows(torch.arange(rank, dtype=torch.int64))
    nothing = gather_rows(torch.zeros(0, 3))
    half = gather_rows(torch.ones(1, 2, dtype=torch.bfloat16))
    return (
        pooled.detach(),
        x.grad,
        [list(t.shape) for t in (empty, ids, numbers, nothing, half)],
        numbers.dtype,
        half.dtype,
    )


def together(cases):
    """Returns the arguments of one process that holds the rows of both."""
    one, two = cases
    shift = {table: len(value) for table, value in one.x.items()}
    index = {e: torch.where(v >= 0, v + shift[e[2]], -1) for e, v in two.parent_index.items()}
    edges = {e: v + torch.tensor([[shift[e[0]]], [shift[e[2]]]]) for e, v in two.edge_index.items()}
    moved = type(one)(two.x, two.corrupted, two.row_id, index, two.parent_id, edges)
    return {
        level: [_join(mine, theirs) for mine, theirs in zip(one.arguments(level), moved.arguments(level), strict=True)]
        for level in LEVELS
    }


def _join(mine, theirs):
    """Concatenates by table or edge type; edges lie along the last dimension."""
    along = {key: 0 if value.is_floating_point() else -1 for key, value in mine.items()}
    joined = {key: torch.cat([value, theirs[key]], along[key]).detach() for key, value in mine.items()}
    return {key: value.requires_grad_(value.is_floating_point()) for key, value in joined.items()}


@pytest.fixture(scope="module")
def ran(tmp_path_factory, schema, make_case, run_pair):
    """Runs the two processes once and returns the cases and what each process found."""
    folder = tmp_path_factory.mktemp("gather")
    cases = {name: [make_case(sizes, seed=k) for k, sizes in enumerate(pair)] for name, pair in SIZES.items()}
    plain = {
        name: [
            {level: [{k: v.detach() for k, v in a.items()} for a in case.arguments(level)] for level in LEVELS}
            for case in pair
        ]
        for name, pair in cases.items()
    }
    torch.save({"schema": schema.to_dict(), "cases": plain}, folder / "given.pt")
    run_pair(folder, __file__, folder, timeout=120)
    return cases, [torch.load(folder / f"result{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.ddp
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("level", LEVELS)
def test_two_processes_are_one(ran, schema, level, name):
    cases, results = ran
    sums, parameters, vectors = run_level(build(level, schema, gather=False), together(cases[name])[level])
    mine, theirs = (result[name, level] for result in results)
    assert sums[2] > 0
    torch.testing.assert_close(mine[0] + theirs[0], sums)
    torch.testing.assert_close([a + b for a, b in zip(mine[1], theirs[1], strict=True)], parameters)
    torch.testing.assert_close([torch.cat(pair) for pair in zip(mine[2], theirs[2], strict=True)], vectors)
    alone = sum(run_level(build(level, schema, gather=False), case.arguments(level))[0] for case in cases[name])
    assert name == "one has nothing" or not torch.allclose(alone, sums)


@pytest.mark.ddp
def test_own_rows_come_first_and_gradients_go_home(ran):
    _, results = ran
    (first, first_grad, shapes, integers, half), (second, second_grad, *others) = (result["rows"] for result in results)
    assert first.tolist() == [[0, 1], [100, 101], [102, 103]]
    assert second.tolist() == [[100, 101], [102, 103], [0, 1]]
    assert first_grad.tolist() == [[1 + 30] * 2]  # first with its own weight 1, last with the other's 3 · 10
    assert second_grad.tolist() == [[2 + 10] * 2, [3 + 20] * 2]
    assert shapes == others[0] == [[0, 3], [1, 3], [1], [0, 3], [2, 2]]
    assert integers == torch.int64
    assert half == torch.bfloat16


def test_one_process_keeps_its_rows():
    x = torch.ones(3, 2)
    assert gather_rows(x) is x
    assert gather_tables([x, x])[1] is x
    assert gather_tables([]) == []


def test_gathering_changes_nothing_in_one_process(schema, make_case):
    case = make_case(SIZES["both"][0])
    for level in LEVELS:
        alone, gathered = (build(level, schema, gather)(*case.arguments(level)) for gather in (False, True))
        torch.testing.assert_close(gathered.sum, alone.sum)
        assert gathered.count == alone.count > 0


if __name__ == "__main__":
    worker(int(os.environ["LOCAL_RANK"]), Path(sys.argv[1]))
