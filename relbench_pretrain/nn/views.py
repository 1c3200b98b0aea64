"""Several views of the same rows as one set of features."""

from __future__ import annotations

from typing import Any

import torch
import torch_frame
from torch import Tensor
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiEmbeddingTensor, MultiNestedTensor

Features = dict[stype, Any]
"""A TensorFrame's ``feat_dict``."""


def interleave(views: list[TensorFrame]) -> Features:
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
