"""Table encoders: one vector for each row of each table, from PyTorch Frame's networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch_frame
from torch import Tensor, nn
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiEmbeddingTensor, MultiNestedTensor
from torch_frame.nn import FTTransformerConvs, ResNet, StypeWiseFeatureEncoder
from torch_geometric.nn.module_dict import ModuleDict

from relbench_pretrain.nn.attribute_encoders import ENCODERS
from relbench_pretrain.nn.grouped_layers import grouped_layer, to_autocast
from relbench_pretrain.relational.schema import GraphSchema, TableSchema

Features = dict[stype, Any]
"""A TensorFrame's ``feat_dict``."""


class TableEncoder(nn.Module, ABC):
    """Encodes the rows of every table; has no parameters until :meth:`build`."""

    def __init__(self) -> None:
        super().__init__()
        self.models = ModuleDict()
        self.channels = 0
        self._columns: dict[str, dict[stype, list[str]]] = {}

    def build(self, schema: GraphSchema, channels: int) -> None:
        """Creates one network per table; a second call does nothing.

        Raises:
            ValueError: If a table has no columns or a column type that has no encoder.
        """
        if self._columns:
            return
        self.channels = channels
        for name, table in schema.tables.items():
            columns = table.columns_by_stype()
            if not columns or (unknown := set(columns) - set(ENCODERS)):
                what = f"column types {sorted(s.value for s in unknown)}" if columns else "no columns"
                known = sorted(s.value for s in ENCODERS)
                raise ValueError(f"table {name!r} has {what}; give it at least one column, of the types {known}")
            self._columns[name] = columns
            self.models[name] = self.build_table(table, channels)

    def forward(self, frames: Mapping[str, TensorFrame | Sequence[TensorFrame]]) -> dict[str, Tensor]:
        """Encodes rows, or several views of the same rows in one pass.

        Args:
            frames: Per table a frame, or a list of frames with the same rows: its views.

        Returns:
            Per table ``(num_rows, channels)``, or ``(num_rows, num_views, channels)`` for a list.
        """
        views = {name: [f] if isinstance(f, TensorFrame) else list(f) for name, f in frames.items()}
        for name, table_views in views.items():
            self._check(name, table_views)
        rows = self.encode({name: _interleave(table_views) for name, table_views in views.items()})
        return {
            name: x if isinstance(frames[name], TensorFrame) else x.unflatten(0, (-1, len(views[name])))
            for name, x in rows.items()
        }

    def _check(self, name: str, views: list[TensorFrame]) -> None:
        if name not in self._columns:
            raise ValueError(f"no encoder for table {name!r}; build() was called for {list(self._columns)}")
        for frame in views:
            if frame.col_names_dict != self._columns[name]:
                raise ValueError(
                    f"table {name!r} has the columns {frame.col_names_dict}, its encoder expects "
                    f"{self._columns[name]}; materialise the data with the schema that the encoder was built from"
                )

    @abstractmethod
    def build_table(self, table: TableSchema, channels: int) -> nn.Module:
        """Returns the network of one table."""

    @abstractmethod
    def encode(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """Returns ``(num_rows, channels)`` for the features of each table."""


class LinearTableEncoder(TableEncoder):
    """Flattens the encodings of a row's columns and applies one linear map."""

    def build_table(self, table: TableSchema, channels: int) -> nn.Module:
        """The attribute encoders and the linear map."""
        encoder = _attribute_encoder(table, channels)
        return nn.ModuleDict({"encoder": encoder, "linear": nn.Linear(len(table.columns) * channels, channels)})

    def encode(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """Returns ``(num_rows, channels)`` for the features of each table."""
        return {
            name: _project(self.models[name]["encoder"], feats, [self.models[name]["linear"]])[0]
            for name, feats in features.items()
        }


class ResNetTableEncoder(TableEncoder):
    """PyTorch Frame's ResNet (Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data").

    Args:
        num_layers: Number of residual blocks.
        dropout: Probability of a zero after each ReLU of a block.
    """

    def __init__(self, num_layers: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        if num_layers < 1 or not 0.0 <= dropout < 1.0:
            raise ValueError(f"num_layers must be at least 1 and dropout in [0, 1), got {num_layers} and {dropout}")
        self.num_layers = num_layers
        self.dropout = dropout

    def build_table(self, table: TableSchema, channels: int) -> nn.Module:
        """PyTorch Frame's network, which also owns the attribute encoders."""
        columns = table.columns_by_stype()
        return ResNet(
            channels,
            out_channels=channels,
            num_layers=self.num_layers,
            col_stats=table.column_stats(),
            col_names_dict=columns,
            stype_encoder_dict={kind: ENCODERS[kind]() for kind in columns},
            dropout_prob=self.dropout,
        )

    def encode(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """Returns ``(num_rows, channels)`` for the features of each table."""
        models = [self.models[name] for name in features]
        dropout = self.dropout if self.training else 0.0
        first = [_first_maps(model, feats) for model, feats in zip(models, features.values(), strict=True)]
        hidden, x = [pair[0] for pair in first], [pair[1] for pair in first]
        for depth, blocks in enumerate(zip(*[model.backbone for model in models], strict=True)):
            linears = [block.lin1 for block in blocks] if depth > 0 else None
            hidden = grouped_layer(hidden, linears, [block.norm1 for block in blocks], dropout=dropout)
            linears, norms = [block.lin2 for block in blocks], [block.norm2 for block in blocks]
            x = hidden = grouped_layer(hidden, linears, norms, shortcuts=x, dropout=dropout)
        x = grouped_layer(x, None, [model.decoder[0] for model in models])
        return {name: model.decoder[2](rows) for name, model, rows in zip(features, models, x, strict=True)}


class TransformerTableEncoder(TableEncoder):
    """PyTorch Frame's FT-Transformer: self-attention over the columns of a row and a class token.

    Args:
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; must divide the channels.
        dropout: Probability of a zero in the attention and after each layer.
    """

    def __init__(self, num_layers: int = 3, num_heads: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout

    def build_table(self, table: TableSchema, channels: int) -> nn.Module:
        """The attribute encoders, the transformer and the decoder of the class token."""
        if channels % self.num_heads:
            raise ValueError(f"num_heads={self.num_heads} must divide the {channels} channels")
        convs = FTTransformerConvs(channels, num_layers=self.num_layers, nhead=self.num_heads, dropout=self.dropout)
        decoder = nn.Sequential(nn.LayerNorm(channels), nn.ReLU(), nn.Linear(channels, channels))
        return nn.ModuleDict({"encoder": _attribute_encoder(table, channels), "backbone": convs, "decoder": decoder})

    def encode(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """Returns ``(num_rows, channels)`` for the features of each table."""
        out = {}
        for name, feats in features.items():
            model = self.models[name]
            x = torch.cat([model["encoder"].encoder_dict[kind.value](feats[kind]) for kind in _ordered(feats)], dim=1)
            out[name] = model["decoder"](model["backbone"](x)[1])  # (num_rows, channels), of the class token
        return out


def _attribute_encoder(table: TableSchema, channels: int) -> StypeWiseFeatureEncoder:
    columns = table.columns_by_stype()
    encoders = {kind: ENCODERS[kind]() for kind in columns}
    return StypeWiseFeatureEncoder(channels, table.column_stats(), columns, encoders)


def _first_maps(model: ResNet, features: Features) -> list[Tensor]:
    """The first linear map and the shortcut of the first block, from one pass over the features."""
    block = model.backbone[0]
    if block.shortcut is not None:
        return _project(model.encoder, features, [block.lin1, block.shortcut])
    # A table with one column needs no shortcut: the encoding has the width of the block already.
    kind = next(iter(features))
    encoded = model.encoder.encoder_dict[kind.value](features[kind]).flatten(1)
    return [block.lin1(encoded), to_autocast(encoded)]


def _project(encoder: StypeWiseFeatureEncoder, features: Features, layers: list[nn.Linear]) -> list[Tensor]:
    """Applies linear layers to the flattened encodings, folded with the attribute encoders."""
    order = _ordered(features)
    counts = [len(encoder.col_names_dict[kind]) for kind in order]
    out: list[Tensor] = [layer.bias for layer in layers]
    # (out_channels, columns * channels) -> one (out_channels, columns, channels) for each column type
    splits = [layer.weight.unflatten(1, (sum(counts), -1)).split(counts, dim=1) for layer in layers]
    for kind, *weights in zip(order, *splits, strict=True):
        parts = encoder.encoder_dict[kind.value].project(features[kind], weights)
        out = [total + part for total, part in zip(out, parts, strict=True)]
    return [to_autocast(total) for total in out]


def _ordered(features: Features) -> list[stype]:
    """PyTorch Frame concatenates the column types in the order of their enumeration."""
    return [kind for kind in stype if kind in features]


def _interleave(views: list[TensorFrame]) -> Features:
    """Puts the views of a row next to each other, so that the rows' first dimension can be split again."""
    if len(views) == 1:
        return views[0].feat_dict
    return {kind: _interleave_type([view.feat_dict[kind] for view in views]) for kind in views[0].feat_dict}


def _interleave_type(feats: list[Any]) -> Any:
    if isinstance(feats[0], Tensor):
        return torch.stack(feats, dim=1).flatten(0, 1)  # (num_rows * num_views, num_columns, ...)
    if isinstance(feats[0], MultiEmbeddingTensor):
        values = torch.stack([feat.values for feat in feats], dim=1).flatten(0, 1)
        return MultiEmbeddingTensor(len(values), feats[0].num_cols, values, feats[0].offset)
    assert isinstance(feats[0], MultiNestedTensor)
    rows = torch.arange(len(feats) * len(feats[0]), device=feats[0].device)
    return torch_frame.cat(feats, dim=0)[rows.view(len(feats), -1).t().flatten()]
