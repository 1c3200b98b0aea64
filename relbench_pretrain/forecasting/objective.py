"""The loss of forecasting."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.module_dict import ModuleDict

from relbench_pretrain.distributed import process_mean
from relbench_pretrain.forecasting.targets import NUM_CLASSES


class ForecastObjective(nn.Module):
    """Cross-entropy of every target from a linear map of the row's vector, over the loss of guessing by frequency.

    So 1 is guessing and 0 is perfect, for every target. A linear map, so that what it needs is in the vector.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps = ModuleDict()
        self.chance: dict[str, Tensor] = {}

    def build(self, chance: dict[str, Tensor], channels: int) -> None:
        """Creates the parameters; a second call changes nothing.

        Args:
            chance: The loss of guessing, per table and target ``(num_targets,)``.
            channels: Width of the vectors.
        """
        for table, cost in chance.items() if not self.chance else ():
            self.maps[table] = nn.Linear(channels, NUM_CLASSES * len(cost))
        self.chance = self.chance or chance

    def forward(self, x: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
        """Computes the mean normalised loss of all known targets.

        Args:
            x: Vectors of the rows by table ``(num_rows, channels)``.
            target: Their targets, −1 for those not known ``(num_rows, num_targets)``.

        Returns:
            The loss, a scalar.
        """
        # Data parallel training waits for the gradients of all parameters.
        losses = [torch.stack([p.sum() for p in self.parameters()]).sum() * 0.0]
        number = [losses[0].detach().long()]
        tables = list(self.maps.keys())  # in an order that is always the same, as that of sums should be
        for table in tables:
            if table not in x:
                continue
            loss, known = self.by_target(x[table], target[table], table)
            losses.append(loss.sum())
            number.append(known.sum())
        total = torch.stack(number).sum()
        if self.training:  # each target weighs the same, on whichever process it is
            total = process_mean(total)
        return torch.stack(losses).sum() / torch.where(total > 0, total, 1)

    def by_target(self, x: Tensor, target: Tensor, table: str) -> tuple[Tensor, Tensor]:
        """Computes the normalised loss of every target of a table.

        Args:
            x: Vectors of its rows ``(num_rows, channels)``.
            target: See :meth:`forward`.
            table: The table.

        Returns:
            The losses, 0 where a target is not known or not to be forecast, and where it is
            ``(num_rows, num_targets)`` each.
        """
        cost = self.chance[table].to(x.device, non_blocking=True)
        logits = self.maps[table](x).float().unflatten(1, (-1, NUM_CLASSES)).transpose(1, 2)
        loss = F.cross_entropy(logits, target.long(), ignore_index=-1, reduction="none")
        return loss / cost, (target >= 0) & cost.isfinite()
