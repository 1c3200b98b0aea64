"""Pretraining on relational data: the library, without Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relbench_pretrain.lazy import lazy_exports

if TYPE_CHECKING:
    from relbench_pretrain.pretrained import from_pretrained, push_to_hub

__all__ = ["from_pretrained", "push_to_hub"]

__getattr__ = lazy_exports(__name__, __file__)  # every other module imports this one first
