"""HGSampling batches with features a second: RelationalLoader with HGSampler against PyG's HGTLoader.

Both draw from the same graph (all rows up to the validation time), around the same seeds, with the same budgets, in
this process without workers, and hand out the same TensorFrames. HGTLoader needs torch-sparse:

    pip install ../shared/peers/*.whl
    python benchmarks/sampling.py ../shared/data/rel-f1
"""

from __future__ import annotations

import argparse
import itertools

import torch
from measure import alternate, peak_megabytes, report, rounded
from torch_geometric.data import HeteroData
from torch_geometric.loader import HGTLoader

from datamodules import ContrastiveDataModule
from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.sampling import HGSampler, RelationalLoader


def visible_graph(graph: RelationalGraph, rows: dict[str, int]) -> HeteroData:
    """The graph of the leading rows as PyG wants it, with both directions of every foreign key."""
    data = HeteroData()
    for table, n in rows.items():
        data[table].tf = graph.frames[table][:n]
        data[table].num_nodes = n
    for table, spec in graph.schema.tables.items():
        for position, (column, parent) in enumerate(spec.foreign_keys.items()):
            index = graph.parent[table][: rows[table], position]
            child = ((index >= 0) & (index < rows[parent])).nonzero().squeeze(1)
            data[table, f"f2p_{column}", parent].edge_index = torch.stack([child, index[child]])
            data[parent, f"rev_f2p_{column}", table].edge_index = torch.stack([index[child], child])
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="../shared/data/rel-f1")
    parser.add_argument("--seed-table", default="results")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeat", type=int, default=20)
    args = parser.parse_args()

    module = ContrastiveDataModule(args.dataset)
    module.setup("fit")
    graph, cut = module.graph, module.val_time
    data = visible_graph(graph, graph.rows_until(cut))
    tables = graph.schema.node_types
    seeds = torch.randperm(data[args.seed_table].num_nodes, generator=torch.Generator().manual_seed(0))
    peer_loader = HGTLoader(
        data, num_samples={t: [64] * 3 for t in tables}, batch_size=64, input_nodes=(args.seed_table, seeds), shuffle=False
    )
    our_loader = RelationalLoader(
        graph, HGSampler(module.index, 64, 3), (args.seed_table, seeds), torch.full_like(seeds, cut), batch_size=64
    )
    ours, peer = itertools.cycle(our_loader), itertools.cycle(peer_loader)
    start = peak_megabytes()
    rows = {"ours": _rows(next(ours)), "peer": _rows(next(peer))}
    print(f"rows in a batch: ours {rows['ours']}, peer {rows['peer']}; threads {torch.get_num_threads()}")
    result = alternate(lambda: next(ours), lambda: next(peer), args.rounds, args.repeat)
    report(
        benchmark="sampling", unit="batches/s", dataset=args.dataset, **rounded(result),
        memory_mb=rounded({"start": start, "peak": peak_megabytes()}), rows=rows,
    )  # fmt: skip


def _rows(batch: HeteroData) -> int:
    return sum(batch[table].num_nodes for table in batch.node_types)


if __name__ == "__main__":
    main()
