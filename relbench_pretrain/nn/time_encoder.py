"""Encodings of how long ago a row was."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch_geometric.nn import PositionalEncoding
from torch_geometric.nn.module_dict import ModuleDict

from relbench_pretrain.relational.schema import GraphSchema
from relbench_pretrain.unix_time import SECONDS_PER_DAY


class TimeEncoder(nn.Module):
    """A vector for the age of a row, the functions of RelBench's ``HeteroTemporalEncoder``.

    Sines and cosines of the days between the row's time and the seed's (Vaswani et al. 2017,
    section 3.5), then a linear map per table. It has no parameters until :meth:`build`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps = ModuleDict()
        self._built = False

    def build(self, schema: GraphSchema, channels: int) -> None:
        """Creates one linear map for each table that has a time column; a second call does nothing."""
        if self._built:
            return
        self._built = True
        self.encoding = PositionalEncoding(channels)
        for name, table in schema.tables.items():
            if table.time_column is not None:
                self.maps[name] = nn.Linear(channels, channels)

    def forward(self, age: dict[str, Tensor]) -> dict[str, Tensor]:
        """Encodes ages.

        Args:
            age: Per table with a time column ``(num_rows,)``, in seconds.

        Returns:
            Per table ``(num_rows, channels)``.

        Raises:
            ValueError: If a table has no time column.
        """
        for name in age:
            if name not in self.maps:
                raise ValueError(f"table {name!r} has no time column; those that have one are {self.maps.keys()}")
        return {name: self.maps[name](self.encoding(seconds / SECONDS_PER_DAY)) for name, seconds in age.items()}


class AgeFeatures(nn.Module):
    """Features of an age: sines and cosines of the days at log-spaced frequencies, and log(1 + days).

    The periods go from a day to thirty years. There are no parameters.

    Args:
        num_frequencies: Number of frequencies.
    """

    def __init__(self, num_frequencies: int = 8) -> None:
        super().__init__()
        if num_frequencies < 1:
            raise ValueError(f"num_frequencies must be at least 1, got {num_frequencies}")
        self.num_frequencies = num_frequencies
        self.num_features = 2 * num_frequencies + 1
        periods = torch.logspace(0.0, math.log10(30 * 365.25), num_frequencies)  # in days
        self.frequency: Tensor
        self.register_buffer("frequency", 2 * torch.pi / periods, persistent=False)

    def forward(self, age: Tensor) -> Tensor:
        """Encodes ages in seconds of any shape ``(...)``; returns ``(..., num_features)``."""
        days = (age / SECONDS_PER_DAY).unsqueeze(-1)
        angle = days * self.frequency  # (..., num_frequencies)
        return torch.cat([angle.sin(), angle.cos(), days.clamp(min=0.0).log1p()], dim=-1)
