"""Names of earlier versions, in configurations and on the command line."""

from __future__ import annotations

import warnings

import pytest
import yaml

from relbench_pretrain.renamed import RenamedWarning, metric_name, public_path, translated, translated_arguments


def arguments(*typed: str, classes: dict[str, str] | None = None, given: tuple[str, ...] = ()) -> list[str]:
    return translated_arguments(typed, classes or {}, given, yaml.safe_load)


def test_class_paths_options_values_and_metrics_of_a_configuration():
    old = {
        "data": {
            "class_path": "datamodules.HypergraphDataModule",
            "init_args": {
                "num_draws": 5,
                "draws": {"class_path": "relbench_pretrain.hypergraph.draws.NoisyDraws", "init_args": {"draws": None}},
                "regimes": ["frozen", "rolling"],
            },
        },
        "model": {"init_args": {"start": "frozen"}},
        "trainer": {"callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"monitor": "test/frozen/mae"}}]},
    }
    with pytest.warns(RenamedWarning) as told:
        new = translated(old)
    assert new == {
        "data": {
            "class_path": "datamodules.HypergraphDataModule",
            "init_args": {
                "num_samples": 5,
                "sampling": {
                    "class_path": "relbench_pretrain.hypergraph.NoisySampling",
                    "init_args": {"sampling": None},
                },
                "regimes": ["cutoff", "rolling"],
            },
        },
        "model": {"init_args": {"start": "frozen"}},
        "trainer": {"callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"monitor": "test/cutoff/mae"}}]},
    }
    texts = [str(warning.message) for warning in told]
    assert "the option 'num_draws' is called 'num_samples' now; the old name goes with the next release" in texts
    assert any("NoisyDraws' is called" in text for text in texts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert translated(new) == new


@pytest.mark.filterwarnings("ignore::relbench_pretrain.renamed.RenamedWarning")
def test_typed_options_take_the_class_of_their_section():
    hypergraphs = {"data": "datamodules.HypergraphDataModule"}
    assert arguments("fit", "--data.num_draws=5", classes=hypergraphs) == ["fit", "--data.num_samples=5"]
    assert arguments("fit", "--data.init_args.num_draws", "5", classes=hypergraphs) == [
        "fit", "--data.init_args.num_samples", "5"]  # fmt: skip
    assert arguments("--data.num_draws=5", classes={"data": "somebodys.DataModule"}) == ["--data.num_draws=5"]
    assert arguments("--data=HypergraphDataModule", "--data.draws=NoisyDraws", "--data.draws.draws=BiasedDraws") == [
        "--data=HypergraphDataModule",
        "--data.sampling=relbench_pretrain.hypergraph.NoisySampling",
        "--data.sampling.sampling=relbench_pretrain.hypergraph.BiasedSampling",
    ]
    assert arguments("--data.regimes=[frozen, rolling]", "--data.regimes+", "frozen", "--model.start", "frozen") == [
        "--data.regimes=[cutoff, rolling]", "--data.regimes+", "cutoff", "--model.start", "frozen"]  # fmt: skip
    assert arguments("--output_dir=test/frozen/a", "--trainer.callbacks.monitor=test/frozen/mae") == [
        "--output_dir=test/frozen/a", "--trainer.callbacks.monitor=test/cutoff/mae"]  # fmt: skip
    assert arguments("--data.name=Together", "--trainer.logger", "callbacks.loggers.CSVLogger") == [
        "--data.name=Together", "--trainer.logger", "relbench_pretrain.trainer.CSVLogger"]  # fmt: skip


@pytest.mark.filterwarnings("ignore::relbench_pretrain.renamed.RenamedWarning")
def test_a_class_that_was_split_is_chosen_by_its_arguments():
    def data(given=(), **arguments):
        return translated({"class_path": "datamodules.ZeroShotKGDataModule", "init_args": arguments}, given)

    episodic, multimodal = "datamodules.EpisodicKGDataModule", "datamodules.MultimodalKGDataModule"
    common = {"folder": "demo", "seed": 1, "leak_unseen": False, "pool_wrong": 9}
    assert data(training=None, **common) == {
        "class_path": episodic, "init_args": {"folder": "demo", "seed": 1, "pool_negatives": 9}}  # fmt: skip
    training = {"class_path": "MultimodalTraining", "init_args": {"picture_size": 0}}
    assert data(training=training, **common) == {
        "class_path": multimodal,
        "init_args": {"training": {"class_path": "MultimodalTraining", "init_args": {"image_size": 0}},
                      "folder": "demo", "seed": 1, "leak_unseen": False},
    }  # fmt: skip
    assert data(["training"])["class_path"] == multimodal
    new = {"class_path": episodic, "init_args": {"training": None}}
    assert translated(new) == new  # what never was right stays wrong
    assert arguments("--data", "ZeroShotKGDataModule", given=("training",)) == ["--data", multimodal]
    old = {"data": "datamodules.ZeroShotKGDataModule"}
    assert arguments("--data.pool_wrong=5", classes=old) == ["--data.pool_negatives=5"]


def test_public_paths_and_metrics():
    assert public_path("callbacks.loggers.CSVLogger") == "relbench_pretrain.trainer.CSVLogger"
    assert public_path("somebodys.Class") == "somebodys.Class"
    assert metric_name("test/frozen/roc_auc") == "test/cutoff/roc_auc"
    assert [metric_name(name) for name in ("test/frozen", "frozen/a/b")] == ["test/frozen", "frozen/a/b"]
