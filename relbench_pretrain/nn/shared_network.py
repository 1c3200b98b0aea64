"""What networks have in common that are written into folders and read again elsewhere."""

from __future__ import annotations

from typing import Any

from torch import nn


class SharedNetwork(nn.Module):
    """Base of the networks that can be shared.

    Their constructor's arguments are kept as attributes, see :func:`to_config`, and what their parameters depend on
    beside these is plain JSON.
    """

    def built_for(self) -> dict[str, Any] | None:
        """Returns in JSON types what the parameters were created for, None as long as there are none."""
        return {}

    def build_for(self, description: dict[str, Any]) -> None:
        """Creates the parameters for what :meth:`built_for` returned; a second call changes nothing.

        Args:
            description: What another network of the same arguments was built for.
        """
