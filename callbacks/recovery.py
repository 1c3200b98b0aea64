"""Recovery of the hypergraph that a masked model has learned, at every validation and at the test."""

from __future__ import annotations

import json
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from relbench_pretrain.evaluation.hypergraph_plots import plot_recovery
from relbench_pretrain.hypergraph.conversion import write_hypergraph
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.recovery.conditionals import (
    Conditionals,
    MaskedModel,
    counted_conditionals,
    observed_contexts,
    read_conditionals,
)
from relbench_pretrain.hypergraph.recovery.dissimilarity import counting_error, dissimilarity, recovery_bound
from relbench_pretrain.hypergraph.recovery.readout import Chaining, LeastSquares, ReadOut, Stationary
from relbench_pretrain.hypergraph.recovery.recover import ComponentMass, CorpusMass, recover
from relbench_pretrain.hypergraph.specification import HypergraphSpecification
from relbench_pretrain.trainer.media import log_image
from relbench_pretrain.trainer.run_folder import run_folder
from relbench_pretrain.trainer.specification import specification

DIAMETER_SOURCES = 500
"""Hyperedges from which L is measured; from so many it is nearly always exact."""


class Recovery(Callback):
    """Reads the hypergraph out of the model, logs how far it is from the truth, and writes it.

    At every validation it logs ``val/error`` by the first read-out. At the test it logs the error by each,
    ``test/error_<name>``, that of counting the training samples (the held-out ones where training samples are made
    anew), the error that counting is expected to have, the bound on recovery without its constant, wrong hyperedges,
    precision and recall; it writes ``recovered.json`` and ``truth.json`` into the run's folder and plots both side by
    side.

    Args:
        read_outs: Ways to get weights from conditionals; the first is the one that is validated, plotted and written.
        threshold: A hyperedge is found where from one context its node has more than this share of the most likely
            one's probability.
        component_mass: Gives the masses of components; the corpus by default.
        count_masks: Whether to log too, by each read-out, the error that exact counting of the masked training samples
            would have: ``test/counts_<name>``.
        plot: Whether the true and the recovered hypergraph are plotted.
    """

    def __init__(
        self,
        read_outs: list[ReadOut] | None = None,
        threshold: float = 0.02,
        component_mass: ComponentMass | None = None,
        count_masks: bool = False,
        plot: bool = True,
    ) -> None:
        if not 0 < threshold < 1:
            raise HypergraphError(f"threshold must be between 0 and 1, got {threshold}")
        self.read_outs = read_outs or [Stationary(), LeastSquares(), Chaining()]
        self.threshold = threshold
        self.component_mass = component_mass or CorpusMass()
        self.count_masks = count_masks
        self.plot = plot

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the error so far."""
        if trainer.sanity_checking:
            return
        model, data = _masked_model(pl_module), specification(trainer, HypergraphSpecification, self)
        found = self._recover(self._read(model, data.counts), self.read_outs[0], model, data)
        error = dissimilarity(data.truth, found)
        values = {"val/error": error.error, "val/wrong_edges": float(error.wrong_edges)}
        pl_module.log_dict(values, prog_bar=True, batch_size=1, rank_zero_only=True)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs errors by all read-outs, beside the baselines, and writes what was recovered."""
        model, data = _masked_model(pl_module), specification(trainer, HypergraphSpecification, self)
        conditionals = self._read(model, data.counts)
        found = [self._recover(conditionals, read_out, model, data) for read_out in self.read_outs]
        best = dissimilarity(data.truth, found[0])
        values = {f"error_{_name(r)}": dissimilarity(data.truth, f).error for r, f in zip(self.read_outs, found,
                                                                                         strict=True)}  # fmt: skip
        values["error_counting"] = dissimilarity(data.truth, data.counts).error
        values["over_counting"] = best.error / max(values["error_counting"], 1e-12)
        values |= {"wrong_edges": float(best.wrong_edges), "precision": best.precision, "recall": best.recall}
        number = len(data.counted)
        values["expected_counting"] = counting_error(data.truth.weights, number)
        values["bound"] = recovery_bound(data.truth, number, data.truth.diameter(DIAMETER_SOURCES))
        if self.count_masks:
            values |= self._counted(model, data)
        pl_module.log_dict({f"test/{k}": v for k, v in values.items()}, batch_size=1, rank_zero_only=True)
        folder = run_folder(trainer)  # all processes take part
        if trainer.is_global_zero:
            self._write(data, found[0], best.error, folder)
            if self.plot:
                log_image(trainer, "test/recovery", folder / "recovery.png")

    def _read(self, model: MaskedModel, counts: Hypergraph) -> Conditionals:
        # Twice as many nodes as were sampled with any context are never true.
        most = 2 * int(counts.adjacency.incidence.sum(0).max()) + 8
        return read_conditionals(model, observed_contexts(counts), counts.num_nodes, self.threshold, most)

    def _recover(
        self, conditionals: Conditionals, read_out: ReadOut, model: MaskedModel, data: HypergraphSpecification
    ) -> Hypergraph:
        return recover(conditionals, read_out, data.counts, model, self.component_mass)

    def _counted(self, model: MaskedModel, data: HypergraphSpecification) -> dict[str, float]:
        """Returns the errors where a model would know the masked training samples exactly."""
        rows, masked = data.masked_training()
        if (masked.sum(1) != 1).any():
            raise HypergraphError("count_masks needs masks of one node at a time")
        conditionals = counted_conditionals(rows, masked)
        return {
            f"counts_{_name(read_out)}": dissimilarity(
                data.truth, self._recover(conditionals, read_out, model, data)
            ).error
            for read_out in self.read_outs
        }

    def _write(self, data: HypergraphSpecification, found: Hypergraph, error: float, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_hypergraph(found, folder / "recovered.json")
        write_hypergraph(data.truth, folder / "truth.json")
        if data.names is not None:
            names = dict(zip(data.truth.nodes, data.names, strict=True))
            (folder / "names.json").write_text(json.dumps(names, indent=1))
        if self.plot:
            plot_recovery(data.truth, found, folder / "recovery", f"error {error:.4f}")
        rank_zero_info(f"recovered {found.num_edges} hyperedges, error {error:.4f}: {folder / 'recovered.json'}")


def _masked_model(module: LightningModule) -> MaskedModel:
    if not isinstance(module, MaskedModel):
        raise HypergraphError(
            f"Recovery reads a masked model, and {type(module).__name__} has no log_conditionals: train "
            "lightning_modules.MaskedModeling, or leave the callback out"
        )
    return module


def _name(read_out: ReadOut) -> str:
    """LeastSquares becomes least_squares."""
    name = type(read_out).__name__
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
