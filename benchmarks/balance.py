"""Rows per table in a batch: HGSampling beside plain neighbour sampling from the same seeds.

python benchmarks/balance.py ../shared/data/rel-f1
"""

from __future__ import annotations

import argparse
import itertools

import torch
from measure import report

from callbacks.diagnostics import evenness
from datamodules import ContrastiveDataModule
from relbench_pretrain.sampling import ANY_TABLE, RelationalLoader, SeedSampler, TemporalNeighborSampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="../shared/data/rel-f1")
    parser.add_argument("--batches", type=int, default=50)
    args = parser.parse_args()

    module = ContrastiveDataModule(args.dataset)
    module.setup("fit")
    seeds = module.train_seeds
    plain = TemporalNeighborSampler(module.index, [8, 4, 2])
    limit = torch.full_like(seeds.time, module.cut)
    total = module.graph.rows_until(module.cut)
    print(f"{'table':<24}{'in the database':>16}{'HGSampling':>12}{'neighbours':>12}   rows per batch of 64 seeds")
    mean = {
        "balanced": _mean_rows(module.train_dataloader(), args.batches),
        "plain": _mean_rows(
            RelationalLoader(
                module.graph, plain, (ANY_TABLE, seeds.rows), limit, batch_sampler=SeedSampler(seeds, 64, over="rows")
            ),
            args.batches,
        ),
    }
    for table in total:
        print(f"{table:<24}{total[table]:>16,}{mean['balanced'][table]:>12.1f}{mean['plain'][table]:>12.1f}")
    result = {"database": evenness(total), **{name: evenness(rows) for name, rows in mean.items()}}
    report(benchmark="balance", dataset=args.dataset, evenness=result, rows=mean)


def _mean_rows(loader: RelationalLoader, batches: int) -> dict[str, float]:
    counts: dict[str, float] = {}
    for batch in itertools.islice(loader, batches):
        for table in batch.node_types:
            counts[table] = counts.get(table, 0.0) + len(batch[table].n_id.unique()) / batches
    return counts


if __name__ == "__main__":
    main()
