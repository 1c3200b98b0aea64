"""HGSampling batches with features a second: RelationalLoader with HGSampler against PyG's HGTLoader.

Both draw from the same graph (all rows up to the validation time), around the same seeds, with the same budgets, in
this process without workers, and hand out the same TensorFrames. HGTLoader needs torch-sparse:

    pip install ../shared/peers/*.whl
    python benchmarks/sampling.py ../shared/data/rel-f1
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from measure import alternate, forever, memory_of, peak_of_work, report
from peers import hgt_loader, pretraining_seeds, visible_graph
from torch_geometric.data import HeteroData

from relbench_pretrain.sampling import HGSampler, RelationalLoader


def endless(side: str, dataset: str, seed_table: str) -> Iterator[HeteroData]:
    """The batches of one side, over and over."""
    module, rows, seeds = pretraining_seeds(dataset, seed_table)
    graph, until = module.graph, module.val_time
    if side == "peer":
        return forever(hgt_loader(visible_graph(graph, rows), seed_table, seeds))
    sampler = HGSampler(module.index, num_per_round=64, num_rounds=3)
    return forever(RelationalLoader(graph, sampler, (seed_table, seeds), torch.full_like(seeds, until), batch_size=64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="../shared/data/rel-f1")
    parser.add_argument("--seed-table", default="results")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--memory", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        batches = endless(args.memory, args.dataset, args.seed_table)
        print(peak_of_work(lambda: next(batches), args.repeat))
        return
    ours, peer = (endless(side, args.dataset, args.seed_table) for side in ("ours", "peer"))
    rows = [sum(batch[t].num_nodes for t in batch.node_types) for batch in (next(ours), next(peer))]
    result = alternate(lambda: next(ours), lambda: next(peer), args.rounds, args.repeat)
    report(
        benchmark="sampling",
        unit="batches/s",
        dataset=args.dataset,
        threads=torch.get_num_threads(),
        rows_per_batch={"ours": rows[0], "peer": rows[1]},
        **result,
        memory_mb={side: memory_of(side) for side in ("ours", "peer")},
    )


if __name__ == "__main__":
    main()
