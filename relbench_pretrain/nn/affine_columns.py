"""Attribute encoders of numbers and timestamps: a few features times a matrix per column."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_frame.data.stats import StatType
from torch_frame.nn import LinearEncoder, TimestampEncoder

MAX_DEVIATION = 10.0
"""Standard deviations from the mean beyond which a number is cut, unless training rows went further."""


class AffineColumns:
    """Columns whose encoding is features, the same number for each column, times a matrix per column."""

    def features(self, feat: Tensor) -> Tensor:
        """Returns ``(num_rows, num_columns, num_features)``, all zeros for a missing cell."""
        raise NotImplementedError

    def maps(self) -> Tensor:
        """Returns ``(num_columns, num_features, channels)``."""
        raise NotImplementedError

    def encode_forward(self, feat: Tensor, col_names: list[str] | None = None) -> Tensor:
        """Returns the encodings ``(num_rows, num_columns, channels)``."""
        return torch.einsum("rnf,nfc->rnc", self.features(feat), self.maps())

    def project(self, feat: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
        """Returns ``(num_rows, out_channels)`` for each weight ``(out_channels, num_columns, channels)``."""
        features, maps = self.features(feat), self.maps()
        _, num_features, channels = maps.shape
        if not folding_pays(len(features), num_features, channels, sum(len(weight) for weight in weights)):
            encoded = torch.einsum("rnf,nfc->rnc", features, maps).flatten(1)
            return [encoded @ weight.flatten(1).t() for weight in weights]
        features = features.flatten(1)  # (num_rows, num_columns * num_features)
        with full_precision(features):
            # (num_columns, num_features, channels) @ (num_columns, channels, out_channels)
            return [features @ (maps @ weight.permute(1, 2, 0)).flatten(0, 1) for weight in weights]


class NumericalEncoder(AffineColumns, LinearEncoder):
    """Standardised numbers times a vector per column, plus a bias."""

    def init_modules(self) -> None:
        """Adds the limits of the standardised numbers, ``(num_columns,)`` each."""
        super().init_modules()
        quantiles = torch.tensor([stats[StatType.QUANTILES] for stats in self.stats_list])  # (columns, 5)
        seen = (quantiles - self.mean[:, None]) / self.std[:, None]
        limit = torch.full_like(self.mean, MAX_DEVIATION)
        self.register_buffer("low", torch.fmin(seen[:, 0], -limit), persistent=False)
        self.register_buffer("high", torch.fmax(seen[:, -1], limit), persistent=False)

    def features(self, feat: Tensor) -> Tensor:
        """The standardised number and the 1 that the bias is multiplied with."""
        feat = ((feat - self.mean) / self.std).clamp(self.low, self.high)
        present = ~feat.isnan()  # a column without statistics has a NaN mean
        return torch.stack([feat.nan_to_num(0.0), present.to(feat.dtype)], dim=-1)  # (rows, columns, 2)

    def maps(self) -> Tensor:
        """The vectors and biases."""
        return torch.stack([self.weight, self.bias], dim=1)  # (columns, 2, channels)


class CalendarEncoder(AffineColumns, TimestampEncoder):
    """Sines and cosines of year, month, day, weekday, hour, minute and second, times a matrix per column."""

    def features(self, feat: Tensor) -> Tensor:
        """The sines and cosines, and the 1 that the bias is multiplied with."""
        missing = (feat < 0).any(dim=-1, keepdim=True)
        feat = torch.where(missing, self.fill_values, feat).to(torch.float32)
        # The modules of PyTorch Frame refuse years before the first one; their formulas do not.
        year = (feat[..., :1] - self.min_year.view(1, -1, 1)).unsqueeze(-1) * self.positional_encoding.mult_term
        rest = (feat[..., 1:] / self.max_values).unsqueeze(-1) * self.cyclic_encoding.mult_term  # (rows, columns, 6, 4)
        year = torch.cat([year.sin(), year.cos()], dim=-1)
        rest = torch.cat([(rest * torch.pi).sin(), (rest * (2 * torch.pi)).cos()], dim=-1)
        known = (self.min_year >= 0).to(year.dtype).view(1, -1, 1).expand(len(feat), -1, 1)
        waves = torch.cat([year, rest.to(year.dtype)], dim=2).flatten(2)  # (rows, columns, 7 * 8)
        return torch.cat([waves * known, known], dim=-1)

    def maps(self) -> Tensor:
        """The matrices and biases."""
        return torch.cat([self.weight.flatten(1, 2), self.bias.unsqueeze(1)], dim=1)  # (columns, 7 * 8 + 1, channels)


def folding_pays(rows: int, features: int, channels: int, out_channels: int) -> bool:
    """Compares the multiplications of both orders, gradients included; the features need none."""
    plain = rows * (2 * features * channels + 3 * channels * out_channels)
    folded = rows * 2 * features * out_channels + 3 * features * channels * out_channels
    return folded < plain


def full_precision(like: Tensor) -> torch.autocast:
    """Leaves an autocast region: folded products are so small that casting the weights costs more."""
    return torch.autocast(like.device.type, enabled=False)
