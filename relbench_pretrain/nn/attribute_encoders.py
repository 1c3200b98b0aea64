"""PyTorch Frame's attribute encoders, made safe for any cell and foldable into the map that follows.

Every encoder here has the parameters, the buffers and, for cells that the original can encode, the
values of its PyTorch Frame base class. Two things are added.

*Any cell.* A missing number makes the original's weight gradient NaN, and after a step of the optimiser
its column is zero for good; an infinite number, a year before the first training year or a timestamp
column without statistics make it fail. Here a missing number or vector is encoded as zeros, and
so is any cell of a column that had no value in training.

*Folding.* A tabular network starts with a linear map W of the flattened encodings (num_rows,
num_columns * channels), the largest product of the whole network. But an encoding is itself features
times a matrix M, with few features, and W(Mx) = (WM)x. ``project`` returns the same values from
the cheaper of the two orders, without the encodings of the columns where it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch_frame import stype
from torch_frame.data import MultiEmbeddingTensor, MultiNestedTensor
from torch_frame.data.stats import StatType
from torch_frame.nn import (
    EmbeddingEncoder,
    LinearEmbeddingEncoder,
    LinearEncoder,
    MultiCategoricalEmbeddingEncoder,
    TimestampEncoder,
)

from relbench_pretrain.nn.sparse_matrix import SparseMatrix

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


class TextEncoder(LinearEmbeddingEncoder):
    """Vectors of texts, which are not trained, times a matrix per column, plus a bias.

    They are wider than the channels, so folding would cost more; but they repeat, within a column
    (countries, nationalities) and between the views of a row, and then each is encoded once.
    """

    def init_modules(self) -> None:
        """A column without any text in training has no known width, and then no weights."""
        dims = [max(stats[StatType.EMB_DIM], 0) for stats in self.stats_list]
        self.stats_list: list[dict[StatType, Any]] = [{StatType.EMB_DIM: dim} for dim in dims]
        super().init_modules()

    def encode_forward(self, feat: MultiEmbeddingTensor, col_names: list[str] | None = None) -> Tensor:
        """Returns the encodings ``(num_rows, num_columns, channels)``."""
        return torch.stack([self._encode(c, values) for c, values in enumerate(self._columns(feat))], dim=1)

    def project(self, feat: MultiEmbeddingTensor, weights: Sequence[Tensor]) -> list[Tensor]:
        """Returns ``(num_rows, out_channels)`` for each weight ``(out_channels, num_columns, channels)``."""
        by_column = list(zip(*[weight.unbind(1) for weight in weights], strict=True))
        out: list[Any] = [0.0] * len(weights)
        for c, values in enumerate(self._columns(feat)):
            distinct, inverse = _distinct(values)
            encoded = self._encode(c, distinct)
            parts = [encoded @ weight.t() for weight in by_column[c]]
            if inverse is not None:
                lookup = SparseMatrix.lookup(inverse, len(distinct))
                parts = [lookup @ part for part in parts]
            out = [total + part for total, part in zip(out, parts, strict=True)]
        return out

    def _columns(self, feat: MultiEmbeddingTensor) -> tuple[Tensor, ...]:
        values = feat.values.reshape(feat.num_rows, sum(self.emb_dim_list)).to(self.biases.dtype)
        return values.split(self.emb_dim_list, dim=1)

    def _encode(self, column: int, values: Tensor) -> Tensor:
        bias, matrix = self.biases[column], self.weight_list[column]
        # The sum shows whether there is a NaN or an infinity anywhere; a GPU would wait for it.
        if values.device.type == "cpu" and values.sum().isfinite():
            return torch.addmm(bias, values, matrix)
        valid = values.isfinite().all(dim=1, keepdim=True)
        return torch.addmm(bias, torch.where(valid, values, 0.0), matrix) * valid


class CategoryEncoder(EmbeddingEncoder):
    """A vector per category. The embeddings of a column with fewer categories than rows are folded."""

    def init_modules(self) -> None:
        """Keeps the number of categories of each column."""
        super().init_modules()
        self.num_categories = [len(stats[StatType.COUNT][0]) for stats in self.stats_list]

    def project(self, feat: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
        """Returns ``(num_rows, out_channels)`` for each weight ``(out_channels, num_columns, channels)``."""
        tables = self.emb.weight[1:].split(self.num_categories)
        folded = [c for c, n in enumerate(self.num_categories) if n < len(feat)]
        plain = [c for c in range(len(tables)) if c not in folded]
        out: list[Any] = [0.0] * len(weights)
        if folded:
            lookup = self._lookup(feat[:, folded], [self.num_categories[c] for c in folded])
            with full_precision(feat):
                for i, weight in enumerate(weights):
                    out[i] = lookup @ torch.cat([tables[c] @ weight[:, c].t() for c in folded])
        if plain:
            encoded = self.emb(torch.where(feat < 0, 0, feat + self.offset + 1)[:, plain]).flatten(1)
            parts = [encoded @ weight[:, plain].flatten(1).t() for weight in weights]
            out = [total + part for total, part in zip(out, parts, strict=True)]
        return out

    @staticmethod
    def _lookup(codes: Tensor, sizes: list[int]) -> SparseMatrix:
        """The matrix (num_rows, all categories) with a one for each cell that is not missing."""
        row, column = (codes >= 0).nonzero(as_tuple=True)
        start = codes.new_tensor([0, *accumulate(sizes)][:-1])
        col = codes[row, column] + start[column]
        return SparseMatrix(row, col, torch.ones(len(row), device=codes.device), len(codes), sum(sizes))


class CategorySetEncoder(MultiCategoricalEmbeddingEncoder):
    """The mean of the vectors of a cell's categories, folded as a single category is."""

    def encode_forward(self, feat: MultiNestedTensor, col_names: list[str] | None = None) -> Tensor:
        """Returns the encodings ``(num_rows, num_columns, channels)``."""
        return torch.stack([self._mean(feat, c) @ emb.weight for c, emb in enumerate(self.embs)], dim=1)

    def project(self, feat: MultiNestedTensor, weights: Sequence[Tensor]) -> list[Tensor]:
        """Returns ``(num_rows, out_channels)`` for each weight ``(out_channels, num_columns, channels)``."""
        out: list[Any] = [0.0] * len(weights)
        for c, emb in enumerate(self.embs):
            mean = self._mean(feat, c)
            if emb.num_embeddings - 1 < feat.num_rows:
                with full_precision(emb.weight):
                    parts = [mean @ (emb.weight @ weight[:, c].t()) for weight in weights]
            else:
                parts = [(mean @ emb.weight) @ weight[:, c].t() for weight in weights]
            out = [total + part for total, part in zip(out, parts, strict=True)]
        return out

    def _mean(self, feat: MultiNestedTensor, column: int) -> SparseMatrix:
        """The matrix (num_rows, 1 + num_categories) that takes the mean over each cell's categories."""
        cells = feat[:, column]
        row = torch.repeat_interleave(cells.offset.diff())
        row, code = row[cells.values >= 0], cells.values[cells.values >= 0]
        share = 1.0 / torch.bincount(row, minlength=feat.num_rows)[row]
        return SparseMatrix(row, code + 1, share, feat.num_rows, self.embs[column].num_embeddings)


def _distinct(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """Returns the distinct rows and, if they are clearly fewer than all, which of them each row is.

    Rows are equal if their products with a random vector are, in double precision.
    A GPU multiplies faster than it sorts, so there all rows are returned.
    """
    num_rows, width = values.shape
    if values.device.type != "cpu" or num_rows == 0:
        return values, None
    probe = torch.rand(width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    key, inverse = torch.unique(values.double() @ probe, return_inverse=True)
    if len(key) > 0.6 * num_rows:
        return values, None
    return values[torch.empty_like(key, dtype=torch.long).scatter_(0, inverse, torch.arange(num_rows))], inverse


ENCODERS = {
    stype.numerical: NumericalEncoder,
    stype.categorical: CategoryEncoder,
    stype.multicategorical: CategorySetEncoder,
    stype.timestamp: CalendarEncoder,
    stype.embedding: TextEncoder,
}
"""The encoder of each column type."""
