"""Supervised training on a recommendation task: with which rows of one table will a row of another be linked?"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from lightning_modules.downstream import Downstream
from relbench_pretrain.evaluation.metrics import average_precisions
from relbench_pretrain.nn.heads import PastInteractions, TwoTower
from relbench_pretrain.nn.task_network import RecommendationNetwork, past_interactions_of
from relbench_pretrain.relational.specification import RecommendationSpecification
from relbench_pretrain.relational.tasks import Regime, Split
from relbench_pretrain.trainer.specification import specification


class Recommendation(Downstream):
    """Two towers on one backbone, trained by a softmax over the batch's destinations and random ones.

    The loss of a seed is −log of the probability that its true destinations have together, among one true destination
    of every seed of the batch and as many drawn evenly from the table. MAP@k ranks all rows of the destination table.

    See :class:`Downstream` for the arguments.
    """

    network_class = RecommendationNetwork

    def default_head(self) -> TwoTower:
        """Two towers."""
        return TwoTower()

    def data(self) -> RecommendationSpecification:
        """Returns what is known of the data at hand."""
        return specification(self.trainer, RecommendationSpecification, self)

    @property
    def towers(self) -> TwoTower:
        """The head."""
        return cast(TwoTower, self.head)

    def setup(self, stage: str) -> None:
        """Takes schema and task of the data at hand."""
        super().setup(stage)
        self.found: list[tuple[Tensor, Tensor]] = []
        self.destinations: dict[tuple[str, int], Tensor] = {}

    def build_head(self) -> None:
        """Creates the towers."""
        self.towers.build(self.backbone.channels)

    def past_interactions(self, batch: HeteroData) -> PastInteractions:
        """Returns which destinations the subgraph of each source holds; its own row is none."""
        return past_interactions_of(batch, self.task)

    def training_step(self, batch: HeteroData, batch_idx: int) -> Tensor:
        """Returns the loss, the mean over seeds."""
        table = self.task.destination_table
        candidates, linked = batch.candidates, batch.linked
        store = candidates[table]
        rows = store.n_id[: store.batch_size]
        source, destination = self.encode(batch, self.task.entity_table), self.encode(candidates, table)
        scores = self.towers(source, destination, rows, self.past_interactions(batch)).float()
        # A row that stands among the candidates several times has to share its probability.
        copies = (rows.unsqueeze(0) == rows.unsqueeze(1)).sum(1)
        scores = scores - copies.log()
        positive = scores.masked_fill(~linked, -1e30).logsumexp(1)
        known = linked.any(1)  # a destination that is not there yet is no candidate
        loss = torch.where(known, scores.logsumexp(1) - positive, 0.0).sum() / known.sum().clamp(min=1)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(scores))
        return loss * batch.weight

    def top(self, batch: HeteroData, split: Split, regime: Regime) -> Tensor:
        """Returns the best destinations of each seed, ``(num_seeds, num_recommended)``, the best first.

        Places beyond the number of destinations that are there are −1.
        """
        source = self.towers.source_tower(self.encode(batch, self.task.entity_table))
        past, times = self.past_interactions(batch), batch[self.task.entity_table].seed_time
        result = torch.full((len(source), self.task.num_recommended), -1, device=source.device)
        for time in times.unique().tolist():  # one in all splits of RelBench
            at = times == time
            destination = self.all_destinations(split, time, regime)
            rows = torch.arange(len(destination), device=source.device)
            k = min(self.task.num_recommended, len(rows))
            result[at, :k] = self.towers.score(source, destination, rows, past)[at].topk(k).indices
        return result

    def all_destinations(self, split: Split, time: int, regime: Regime) -> Tensor:
        """Returns the tower's vectors of all destinations at a time; they are kept until the epoch's end."""
        if (regime, time) not in self.destinations:
            table = self.task.destination_table
            loader = self.data().destinations(split, time, regime)
            parts = [self.towers.destination_tower(self.encode(part.to(self.device), table)) for part in loader]
            self.destinations[regime, time] = torch.cat(parts)
        return self.destinations[regime, time]

    def on_validation_epoch_start(self) -> None:
        """Forgets the destinations of other weights."""
        self.destinations, self.found = {}, []

    def validation_step(self, batch: HeteroData, batch_idx: int) -> None:
        """Keeps the recommendations for the validation rows."""
        ids = batch[self.task.entity_table].input_id
        self.found.append((ids, self.top(batch, "val", "rolling")))

    def on_validation_epoch_end(self) -> None:
        """Logs MAP@k of the rows seen."""
        if self.trainer.sanity_checking:
            return
        ids = self.in_order([(places, places) for places, _ in self.found]).cpu().numpy()
        task = self.data().labels
        true = task.get_table("val", mask_input_cols=False).df[task.dst_entity_col].iloc[ids].to_list()
        value = average_precisions(self.readable(self.in_order(self.found)), true).mean()
        self.log_validation({"map": torch.tensor(value, dtype=torch.float32, device=self.device)})

    def on_test_epoch_start(self) -> None:
        """Forgets the destinations of other weights."""
        super().on_test_epoch_start()
        self.destinations = {}

    def test_step(self, batch: HeteroData, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keeps the recommendations for test rows."""
        regime = self.data().regimes[dataloader_idx]
        self.keep_prediction(regime, batch[self.task.entity_table].input_id, self.top(batch, "test", regime))

    def on_predict_epoch_start(self) -> None:
        """Forgets the destinations of other weights."""
        self.destinations = {}

    def readable(self, prediction: Tensor) -> Any:
        """Returns row numbers as NumPy's."""
        return prediction.cpu().numpy()

    def predict_step(self, batch: HeteroData, batch_idx: int) -> dict[str, Tensor]:
        """Returns source rows, seed times, places in the split and the best destinations."""
        store, data = batch[self.task.entity_table], self.data()
        return {
            "row": store.n_id[: store.batch_size],
            "time": store.seed_time,
            "input_id": store.input_id,
            "prediction": self.top(batch, data.predict_split, data.regimes[0]),
        }
