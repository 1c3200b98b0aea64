"""The hypergraph that a masked model has learned, read out while it trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from relbench_pretrain.evaluation.hypergraph_plots import draw_recovery
from relbench_pretrain.hypergraph.conversion import write_hypergraph
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.recovery.conditionals import (
    Conditionals,
    Reader,
    counted_conditionals,
    observed_contexts,
    read_conditionals,
)
from relbench_pretrain.hypergraph.recovery.dissimilarity import dissimilarity
from relbench_pretrain.hypergraph.recovery.readout import Chaining, LeastSquares, ReadOut, Stationary
from relbench_pretrain.hypergraph.recovery.recover import ComponentMass, CorpusMass, recover
from relbench_pretrain.hypergraph.recovery.theory import counting_error, recovery_bound
from relbench_pretrain.trainer.media import log_image
from relbench_pretrain.trainer.run_folder import run_folder

DIAMETER_SOURCES = 500
"""Hyperedges from which L is measured; from so many it is nearly always exact."""


class Recovery(Callback):
    """Reads the hypergraph out of the model, and says how far it is from the truth.

    At every validation it logs ``val/error`` by the first read-out. At the test it logs the error by each,
    ``test/error_<name>``, that of counting the training draws (the held-out ones where training draws are made anew),
    the error that counting is expected to have, the bound on recovery without its constant, wrong hyperedges, precision
    and recall; it writes ``recovered.json`` and ``truth.json`` into the run's folder and draws both side by side.

    Args:
        read_outs: Ways to get weights from conditionals; the first is the one that is validated, drawn and written.
        threshold: A hyperedge is found where from one context its node has more than this share of the most likely
            one's probability.
        component_mass: Says what components weigh; the corpus by default.
        count_masks: Whether what exact counting of masked training draws would give, by each read-out, is tested too:
            ``test/counts_<name>``.
        draw: Whether the truth and what is recovered are drawn.
    """

    def __init__(
        self,
        read_outs: list[ReadOut] | None = None,
        threshold: float = 0.02,
        component_mass: ComponentMass | None = None,
        count_masks: bool = False,
        draw: bool = True,
    ) -> None:
        if not 0 < threshold < 1:
            raise HypergraphError(f"threshold must be between 0 and 1, got {threshold}")
        self.read_outs = read_outs or [Stationary(), LeastSquares(), Chaining()]
        self.threshold = threshold
        self.component_mass = component_mass or CorpusMass()
        self.count_masks = count_masks
        self.draw = draw

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the error so far."""
        if trainer.sanity_checking:
            return
        data = trainer.datamodule
        found = self._recover(self._views(trainer, pl_module), self.read_outs[0], trainer, pl_module)
        error = dissimilarity(data.truth, found)
        values = {"val/error": error.error, "val/wrong_edges": float(error.wrong_edges)}
        pl_module.log_dict(values, prog_bar=True, batch_size=1, rank_zero_only=True)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs errors by all read-outs, beside the baselines, and writes what was recovered."""
        data = trainer.datamodule
        views = self._views(trainer, pl_module)
        found = [self._recover(views, read_out, trainer, pl_module) for read_out in self.read_outs]
        best = dissimilarity(data.truth, found[0])
        values = {f"error_{_name(r)}": dissimilarity(data.truth, f).error for r, f in zip(self.read_outs, found,
                                                                                         strict=True)}  # fmt: skip
        values["error_counting"] = dissimilarity(data.truth, data.counts).error
        values["over_counting"] = best.error / max(values["error_counting"], 1e-12)
        values |= {"wrong_edges": float(best.wrong_edges), "precision": best.precision, "recall": best.recall}
        values["expected_counting"] = counting_error(data.truth.weights, data.num_counted)
        values["bound"] = recovery_bound(data.truth, data.num_counted, data.truth.diameter(DIAMETER_SOURCES))
        if self.count_masks:
            values |= self._counted(trainer, pl_module)
        pl_module.log_dict({f"test/{k}": v for k, v in values.items()}, batch_size=1, rank_zero_only=True)
        folder = run_folder(trainer)  # all processes take part
        if trainer.is_global_zero:
            self._write(data.truth, found[0], best.error, folder, getattr(data, "hidden_names", None))
            if self.draw:
                log_image(trainer, "test/recovery", folder / "recovery.png")

    def _views(self, trainer: Trainer, pl_module: LightningModule) -> Conditionals:
        counts = trainer.datamodule.counts
        # Twice as many as were drawn with any context are never true.
        most = 2 * int(counts.adjacency.incidence.sum(0).max()) + 8
        return read_conditionals(
            cast(Reader, pl_module), observed_contexts(counts), counts.num_nodes, self.threshold, most
        )

    def _recover(
        self, views: Conditionals, read_out: ReadOut, trainer: Trainer, pl_module: LightningModule
    ) -> Hypergraph:
        return recover(views, read_out, trainer.datamodule.counts, cast(Reader, pl_module), self.component_mass)

    def _counted(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """Returns the errors where a model would know the masked training draws exactly."""
        data = trainer.datamodule
        rows = np.asarray(data.rows[: data.num_training])
        draw, masked = data.masking.mask(rows, np.arange(len(rows)), np.random.default_rng(data.seed))
        if (masked.sum(1) != 1).any():
            raise HypergraphError("count_masks needs masks of one node at a time")
        views = counted_conditionals(rows[draw], masked)
        return {
            f"counts_{_name(read_out)}": dissimilarity(
                data.truth, self._recover(views, read_out, trainer, pl_module)
            ).error
            for read_out in self.read_outs
        }

    def _write(self, truth: Hypergraph, found: Hypergraph, error: float, folder: Path, names: list[str] | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_hypergraph(found, folder / "recovered.json")
        write_hypergraph(truth, folder / "truth.json")
        if names is not None:
            (folder / "names.json").write_text(json.dumps(dict(zip(truth.nodes, names, strict=True)), indent=1))
        if self.draw:
            draw_recovery(truth, found, folder / "recovery", f"error {error:.4f}")
        rank_zero_info(f"recovered {found.num_edges} hyperedges, error {error:.4f}: {folder / 'recovered.json'}")


def _name(read_out: ReadOut) -> str:
    """LeastSquares becomes least_squares."""
    name = type(read_out).__name__
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
