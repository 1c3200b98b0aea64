"""The other sides of the benchmarks, written with PyG's loader and RelBench's own networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from relbench.modeling.nn import HeteroEncoder, HeteroGraphSAGE
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.loader import HGTLoader
from torch_geometric.utils import scatter

from datamodules import ContrastiveDataModule
from relbench_pretrain.relational.graph import RelationalGraph
from relbench_pretrain.relational.schema import GraphSchema


def visible_graph(graph: RelationalGraph, rows: dict[str, int]) -> HeteroData:
    """The graph of the leading rows as PyG wants it, with both directions of every foreign key."""
    data = HeteroData()
    for table, n in rows.items():
        data[table].tf = graph.frames[table][:n]
        data[table].num_nodes = n
    for key in graph.schema.foreign_keys:
        index = graph.parent[key.child][: rows[key.child], graph.schema.key_column(key)]
        child = ((index >= 0) & (index < rows[key.parent])).nonzero().squeeze(1)
        data[key.edge_type].edge_index = torch.stack([child, index[child]])
        data[key.reverse_edge_type].edge_index = torch.stack([index[child], child])
    return data


def pretraining_seeds(dataset: str, seed_table: str) -> tuple[ContrastiveDataModule, dict[str, int], Tensor]:
    """Returns the opened data, the rows that pretraining may see by table, and seeds in a fixed random order."""
    module = ContrastiveDataModule(dataset)
    module.setup("fit")
    rows = module.graph.rows_until(module.val_time)
    return module, rows, torch.randperm(rows[seed_table], generator=torch.Generator().manual_seed(0))


def hgt_loader(data: HeteroData, seed_table: str, seeds: Tensor, transform=None) -> HGTLoader:
    """HGTLoader with the paper's budgets: 64 rows per table and round, 3 rounds, 64 seeds."""
    samples = {table: [64] * 3 for table in data.node_types}
    return HGTLoader(data, samples, batch_size=64, input_nodes=(seed_table, seeds), shuffle=False, transform=transform)


class DensePretraining(nn.Module):
    """The pretraining step with RelBench's networks, run once per view, and losses over dense matrices.

    Args:
        schema: The schema.
        channels: Width.
        num_layers: GraphSAGE layers.
    """

    def __init__(self, schema: GraphSchema, channels: int = 128, num_layers: int = 2) -> None:
        super().__init__()
        tables, edges = schema.node_types, schema.edge_types
        names = {t: s.columns_by_stype() for t, s in schema.tables.items()}
        stats = {t: s.column_stats() for t, s in schema.tables.items()}
        self.encoder = HeteroEncoder(channels, names, stats)
        self.sage = HeteroGraphSAGE(tables, edges, channels, "mean", num_layers)
        self.row = nn.ModuleDict({f"t_{t}": nn.Linear(channels, channels, bias=False) for t in tables})
        self.context = nn.ModuleDict({f"t_{t}": nn.Linear(channels, channels) for t in tables})
        self.link = nn.ParameterDict(
            {fk.column + fk.child: torch.randn(channels, channels) * 0.05 for fk in schema.foreign_keys}
        )
        self.schema = schema

    def forward(self, batch: HeteroData) -> Tensor:
        """Returns the sum of the three levels, each a mean of losses over their chance level."""
        edges = {e: batch[e].edge_index for e in self.schema.edge_types}
        x = self.sage(self.encoder({t: batch[t].tf for t in batch.node_types}), edges)
        corrupted = self.sage(self.encoder({t: batch[t].corrupted_tf for t in batch.node_types}), edges)
        return self._row(x, corrupted) + self._link(x, edges) + self._context(x, edges)

    def _row(self, x: dict[str, Tensor], corrupted: dict[str, Tensor]) -> Tensor:
        losses = []
        for table in x:
            if len(x[table]) > 1:
                project = self.row[f"t_{table}"]
                similarity = project(corrupted[table]) @ project(x[table]).T
                target = torch.arange(len(similarity))
                losses.append(F.cross_entropy(similarity.float(), target, reduction="none") / _chance(len(similarity)))
        return torch.cat(losses).mean()

    def _link(self, x: dict[str, Tensor], edges: dict) -> Tensor:
        losses = []
        for key in self.schema.foreign_keys:
            child, parent = edges[key.edge_type]
            similarity = x[key.child] @ self.link[key.column + key.child] @ x[key.parent].T
            linked = torch.zeros(similarity.shape, dtype=torch.bool)
            linked[child, parent] = True
            for s, m, i, j in ((similarity, linked, child, parent), (similarity.T, linked.T, parent, child)):
                negatives = (~m).sum(1)[i]
                denominator = torch.where(m, -torch.inf, s.float())[i]
                denominator = torch.cat([denominator, s[i, j].unsqueeze(1).float()], dim=1).logsumexp(1)
                keep = negatives > 0
                losses.append((denominator - s[i, j].float())[keep] / (negatives[keep] + 1).log())
        return torch.cat(losses).mean()

    def _context(self, x: dict[str, Tensor], edges: dict) -> Tensor:
        mapped = {table: self.context[f"t_{table}"](v) for table, v in x.items()}
        losses = []
        for table in x:
            means, seen = [], []
            for (source, _, target), index in edges.items():
                if target == table:
                    means.append(scatter(mapped[source][index[0]], index[1], 0, len(x[table]), "mean"))
                    seen.append(torch.bincount(index[1], minlength=len(x[table])) > 0)
            if not means or len(x[table]) < 2:
                continue
            count = torch.stack(seen).sum(0)
            context = torch.stack(means).sum(0) / count.clamp(min=1).unsqueeze(1)
            loss = F.cross_entropy((context @ x[table].T).float(), torch.arange(len(context)), reduction="none")
            losses.append(loss[count > 0] / _chance(len(context)))
        return torch.cat(losses).mean()


def _chance(candidates: int) -> Tensor:
    return torch.tensor(float(candidates)).log()
