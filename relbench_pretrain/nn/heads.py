"""What sits on top of a pretrained backbone."""

from __future__ import annotations

from torch import Tensor, nn


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
