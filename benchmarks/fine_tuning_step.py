"""Fine-tuning steps a second: sampling, encoders, 2-layer GraphSAGE, head, loss, backward, Adam.

The peer is RelBench's own recipe for entity tasks, HeteroEncoder, HeteroTemporalEncoder, HeteroGraphSAGE and an MLP, on
PyG's NeighborLoader; ours is FineTuning with the same network, fan-outs, width and batch. PyG's loader needs pyg-lib to
sample in time and one subgraph per seed; with torch-sparse, which is what can be installed, it does neither, so its
batches are the rows that the seeds share, without regard to time, and hold fewer rows. Ours does both.

    pip install ../shared/peers/*.whl
    python benchmarks/fine_tuning_step.py ../shared/data/rel-f1 driver-dnf
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measure import alternate, memory_of, peak_of_work, report, training_step
from peers import visible_graph
from relbench.modeling.nn import HeteroEncoder, HeteroGraphSAGE, HeteroTemporalEncoder
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import MLP

from datamodules import EntityTaskDataModule
from lightning_modules import FineTuning
from relbench_pretrain.nn import Backbone, GraphSAGE, ResNetTableEncoder, TimeEncoder
from relbench_pretrain.relational.graph import RelationalGraph


class RelBenchModel(nn.Module):
    """RelBench's example network for entity tasks.

    Args:
        graph: Its schema and statistics.
        table: The entity table.
        channels: Width.
    """

    def __init__(self, graph: RelationalGraph, table: str, channels: int = 128) -> None:
        super().__init__()
        schema = graph.schema
        names = {t: s.columns_by_stype() for t, s in schema.tables.items()}
        stats = {t: s.column_stats() for t, s in schema.tables.items()}
        timed = [t for t, s in schema.tables.items() if s.time_column is not None]
        self.encoder = HeteroEncoder(channels, names, stats)
        self.temporal = HeteroTemporalEncoder(timed, channels)
        self.sage = HeteroGraphSAGE(schema.node_types, schema.edge_types, channels, "mean", 2)
        self.head = MLP(channels, out_channels=1, num_layers=2, hidden_channels=channels, norm="batch_norm")
        self.table = table

    def forward(self, batch: HeteroData) -> Tensor:
        """Returns logits ``(num_seeds,)``."""
        x = self.encoder({t: batch[t].tf for t in batch.node_types})
        seeds = batch[self.table].batch_size
        times = {t: batch[t].time for t in batch.node_types if "time" in batch[t]}
        latest = batch[self.table].seed_time
        owner = {t: torch.zeros(len(v), dtype=torch.long) for t, v in times.items()}
        for table, encoded in self.temporal(latest, times, owner).items():
            x[table] = x[table] + encoded
        x = self.sage(x, batch.edge_index_dict)
        return self.head(x[self.table][:seeds]).squeeze(-1)


def step(side: str, dataset: str, task: str, batch_size: int, fanouts: list[int]) -> Callable[[], float]:
    """Returns a function that makes one step of one side."""
    torch.manual_seed(0)
    module = EntityTaskDataModule(task, dataset, batch_size=batch_size, fanouts=fanouts)
    module.setup("fit")
    graph, table = module.graph, module.task_spec.entity_table
    labels = module.labels("train")
    if side == "peer":
        data = visible_graph(graph, graph.num_rows)
        for name in data.node_types:
            if graph.schema.tables[name].time_column is not None:
                data[name].time = graph.time[name]
        network: nn.Module = RelBenchModel(graph, table)

        def joined(batch: HeteroData) -> HeteroData:
            store = batch[table]
            store.y, store.seed_time = labels.target[store.input_id], labels.time[store.input_id]
            return batch

        neighbours = {e: fanouts for e in data.edge_types}
        loader = NeighborLoader(
            data, neighbours, (table, labels.row), batch_size=batch_size, shuffle=True, transform=joined
        )
    else:
        network = FineTuning(Backbone(ResNetTableEncoder(), GraphSAGE()), time_encoder=TimeEncoder())
        network.schema, network.task = graph.schema, module.task_spec
        network.configure_model()
        loader = module.train_dataloader()
    loss_of = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=side == "ours")  # as the shipped configs do
    return training_step(lambda batch: loss_of(network(batch), batch[table].y), optimizer, loader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="../shared/data/rel-f1")
    parser.add_argument("task", nargs="?", default="driver-dnf")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--fanouts", type=int, nargs="+", default=[16, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--memory", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    settings = (args.dataset, args.task, args.batch_size, args.fanouts)
    if args.memory:
        print(peak_of_work(step(args.memory, *settings), args.repeat))
        return
    ours, peer = step("ours", *settings), step("peer", *settings)
    print(f"first losses: ours {ours():.3f}, peer {peer():.3f}")
    report(
        benchmark="fine_tuning_step",
        unit="steps/s",
        dataset=args.dataset,
        task=args.task,
        threads=torch.get_num_threads(),
        **alternate(ours, peer, args.rounds, args.repeat),
        memory_mb={side: memory_of(side) for side in ("ours", "peer")},
    )


if __name__ == "__main__":
    main()
