"""Heads on a pretrained backbone: an MLP for each row, and two towers that score pairs of rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from relbench_pretrain.unix_time import SECONDS_PER_DAY


class MLPHead(nn.Module):
    """Two linear maps with batch normalisation and ReLU between them (Peleška and Šír 2025, downstream head).

    Args:
        hidden_channels: Width between the maps.
        dropout: Dropout rate before the last map.
    """

    def __init__(self, hidden_channels: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.dropout = dropout
        self.layers: nn.Sequential | None = None

    def build(self, channels: int, out_channels: int) -> None:
        """Creates the parameters; a second call does nothing."""
        if self.layers is None:
            self.layers = nn.Sequential(
                nn.Linear(channels, self.hidden_channels),
                nn.BatchNorm1d(self.hidden_channels),
                nn.ReLU(),
                nn.Dropout(self.dropout),
                nn.Linear(self.hidden_channels, out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(num_rows, channels)`` to ``(num_rows, out_channels)``."""
        return self.layers(x)


class PastInteractions:
    """The past interactions of sources: the destinations in their subgraphs, how often and how long ago.

    Args:
        source: The source of each pair ``(num_pairs,)``, its place in the batch.
        row: The destination's row number ``(num_pairs,)``.
        features: ``(num_pairs, 3)``: log(1 + links in the subgraph), log(1 + days since the last), 1.
    """

    NUM_FEATURES = 3

    def __init__(self, source: Tensor, row: Tensor, features: Tensor) -> None:
        self.source, self.row, self.features = source, row, features

    @classmethod
    def of_subgraphs(cls, row: Tensor, source: Tensor, links: Tensor, age: Tensor) -> PastInteractions:
        """Collects the past interactions from the destination rows of disjoint subgraphs.

        Args:
            row: Row number of each destination row ``(num_rows,)``.
            source: The source whose subgraph it is in ``(num_rows,)``.
            links: By link that reaches a destination row, its place among these rows ``(num_links,)``.
            age: The age of each link's other end in seconds ``(num_links,)``; negative without a time.
        """
        count = torch.zeros(len(row), device=row.device).index_add_(0, links, torch.ones_like(age))
        newest = torch.full((len(row),), float("inf"), device=row.device)
        newest = newest.scatter_reduce_(0, links, torch.where(age < 0, torch.inf, age), "amin")
        days = torch.where(newest.isinf(), 36_525.0, newest / SECONDS_PER_DAY)  # a century stands for never
        return cls(source, row, torch.stack([count.log1p(), days.log1p(), torch.ones_like(days)], dim=1))


class TwoTower(nn.Module):
    """Scores pairs of a source and a destination.

    score(u, v) = f(x_u)·g(x_v) / √channels + b(x_v) + m(u, v): two towers over the backbone's vectors, an MLP of the
    destination's vector for its popularity, and for destinations in the source's own subgraph an MLP of how often and
    how long ago the two interacted, the pairwise part that ContextGNN (Yuan et al. 2024) has a network for. No
    row has parameters of its own, so destinations that are new after training are ranked like the others.

    Args:
        hidden_channels: Width within the towers.
    """

    def __init__(self, hidden_channels: int = 128) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.source_tower, self.destination_tower = MLPHead(hidden_channels), MLPHead(hidden_channels)
        self.meeting: nn.Sequential | None = None  # the name of m in stored weights

    def build(self, channels: int) -> None:
        """Creates the parameters; a second call does nothing."""
        if self.meeting is not None:
            return
        self.source_tower.build(channels, channels)
        self.destination_tower.build(channels, channels + 1)
        self.meeting = nn.Sequential(nn.Linear(PastInteractions.NUM_FEATURES, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, source: Tensor, destination: Tensor, row: Tensor, past: PastInteractions) -> Tensor:
        """Scores all pairs of a batch.

        Args:
            source: The backbone's vectors ``(num_sources, channels)``.
            destination: The same of destinations ``(num_destinations, channels)``.
            row: Their row numbers ``(num_destinations,)``; one may come more than once.
            past: The past interactions of the sources.

        Returns:
            Scores ``(num_sources, num_destinations)``.
        """
        return self.score(self.source_tower(source), self.destination_tower(destination), row, past)

    def score(self, source: Tensor, destination: Tensor, row: Tensor, past: PastInteractions) -> Tensor:
        """Scores pairs from the towers' outputs, popularity last; see :meth:`forward`."""
        scores = source @ destination[:, :-1].T / source.size(1) ** 0.5 + destination[:, -1]
        order = row.argsort(stable=True)
        ordered = row[order].contiguous()
        first = torch.searchsorted(ordered, past.row)
        number = torch.searchsorted(ordered, past.row, right=True) - first
        # An interaction counts in all places where its destination stands.
        pair = torch.repeat_interleave(torch.arange(len(number), device=row.device), number)
        offset = torch.arange(len(pair), device=row.device) - torch.repeat_interleave(number.cumsum(0) - number, number)
        place = order[first[pair] + offset]
        bonus = self.meeting(past.features).squeeze(-1)[pair]
        return scores.index_put((past.source[pair], place), bonus.to(scores.dtype), accumulate=True)
