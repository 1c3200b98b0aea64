"""A small database with awkward names and keys, drawn at random, for the tests of the objectives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from relbench_pretrain.relational.schema import GraphSchema, TableSchema


@dataclass
class Case:
    """What the objectives get, with a gradient on the vectors."""

    x: dict[str, Tensor]
    corrupted: dict[str, Tensor]
    row_id: dict[str, Tensor]
    parent_index: dict[tuple[str, str, str], Tensor] = field(default_factory=dict)
    parent_id: dict[tuple[str, str, str], Tensor] = field(default_factory=dict)
    edge_index: dict[tuple[str, str, str], Tensor] = field(default_factory=dict)

    def arguments(self, level: str) -> tuple[Any, ...]:
        """Returns the arguments of a level's forward."""
        return {
            "row": (self.x, self.corrupted, self.row_id),
            "link": (self.x, self.row_id, self.parent_index, self.parent_id),
            "context": (self.x, self.row_id, self.edge_index),
        }[level]

    @property
    def vectors(self) -> list[Tensor]:
        """The leaves that get gradients."""
        return [*self.x.values(), *self.corrupted.values()]


@pytest.fixture(scope="session")
def schema() -> GraphSchema:
    """A self-reference, two keys to one parent, a table without keys, and the names items and keys."""
    return GraphSchema(
        {
            "items": TableSchema({}, "id", None, {"part_of": "items", "kind": "keys"}),
            "people": TableSchema({}, "id"),
            "orders": TableSchema({}, "id", None, {"buyer": "people", "seller": "people", "item": "items"}),
            "keys": TableSchema({}, "id"),
            "lonely": TableSchema({}, "id"),
        }
    )


@pytest.fixture(scope="session")
def make_case(schema: GraphSchema):
    """Returns a function that draws a case; a third of the parents are null or not in the batch."""

    def make(sizes: dict[str, int], channels: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0) -> Case:
        draw = torch.Generator().manual_seed(seed)
        sizes = {"items": 0, "people": 0, "orders": 0, "keys": 0, "lonely": 0} | sizes
        vectors = [
            {t: torch.randn(n, channels, dtype=dtype, generator=draw).requires_grad_() for t, n in sizes.items()}
            for _ in range(2)
        ]
        row_id = {t: torch.randperm(2 * n, generator=draw)[:n] for t, n in sizes.items()}
        case = Case(*vectors, row_id)
        for key in schema.foreign_keys:
            children, parents = sizes[key.child], sizes[key.parent]
            parent_id = torch.randint(-1, max(1, 2 * parents), (children,), generator=draw)
            here = parent_id[:, None] == row_id[key.parent]
            index = torch.where(here.any(1), here.int().argmax(1) if parents else -1, -1)
            case.parent_id[key.edge_type], case.parent_index[key.edge_type] = parent_id, index
            child = (index >= 0).nonzero().flatten()
            case.edge_index[key.edge_type] = torch.stack([child, index[child]])
            case.edge_index[key.reverse_edge_type] = torch.stack([index[child], child])
        return case

    return make


@pytest.fixture(scope="session")
def check():
    """Returns a function that compares losses, and what they say about some leaves, with (loss, negatives) pairs."""

    def compare(losses, expected: list[tuple[Tensor, int]], leaves: list[Tensor]) -> None:
        expected = [(loss, count) for loss, count in expected if count > 0]
        assert expected, "the case has no anchor"
        found = zip(losses.loss.tolist(), losses.num_negatives.tolist(), strict=True)
        found = sorted((count, loss) for loss, count in found if count > 0)
        assert [count for count, _ in found] == sorted(count for _, count in expected)
        wanted = sorted((count, loss.item()) for loss, count in expected)
        torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted))
        assert losses.loss[losses.num_negatives == 0].eq(0).all()
        total = sum(loss / torch.tensor(count + 1.0).log() for loss, count in expected)
        torch.testing.assert_close(losses.normalized_sum, total, check_dtype=False)
        mine = torch.autograd.grad(losses.normalized_sum, leaves, allow_unused=True, materialize_grads=True)
        theirs = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        torch.testing.assert_close(mine, theirs)

    return compare


@pytest.fixture(scope="session")
def slow_loss():
    """Returns −log softmax at the positive, from a list of similarities."""

    def loss(positive: Tensor, negatives: list[Tensor]) -> tuple[Tensor, int]:
        logits = torch.stack([positive, *negatives])
        return -logits.log_softmax(0)[0], len(negatives)

    return loss


SIZES = [
    {"items": 6, "people": 7, "orders": 9, "keys": 3, "lonely": 4},
    {"items": 1, "people": 2, "orders": 5},
    {"orders": 4, "items": 3, "lonely": 1},
    {"items": 12},
]


@pytest.fixture(params=SIZES, ids=["all", "few", "no people", "one table"])
def case(request, make_case) -> Case:
    """Batches of which some lack a table."""
    return make_case(request.param, seed=len(request.param))


@pytest.fixture
def one_by_one(monkeypatch):
    """Makes each table a block of its own, in chunks of few anchors, as if it were large."""
    monkeypatch.setattr("relbench_pretrain.contrastive.blocks.PADDED_ROWS", 0)
    monkeypatch.setattr("relbench_pretrain.contrastive.link.PADDED_ROWS", 0)
    monkeypatch.setattr("relbench_pretrain.contrastive.blocks.CHUNK_SIMILARITIES", 20)
