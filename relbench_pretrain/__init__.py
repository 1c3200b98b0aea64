"""Pretraining on relational data: the library, without Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relbench_pretrain.pretrained import from_pretrained, push_to_hub

__all__ = ["from_pretrained", "push_to_hub"]


def __getattr__(name: str) -> Any:
    """Imports what reads and writes networks when it is asked for, since all other modules import this one."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from relbench_pretrain import pretrained

    return getattr(pretrained, name)
