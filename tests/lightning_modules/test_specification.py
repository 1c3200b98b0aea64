"""What modules and callbacks get to know of the data, with a DataModule and without."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer

from callbacks import PredictionWriter
from datamodules import ContrastiveDataModule, EntityTaskDataModule, ForecastDataModule
from lightning_modules import ContrastivePretraining, FineTuning, Recommendation
from relbench_pretrain.contrastive import LinkContrast
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder
from relbench_pretrain.relational.specification import DatabaseSpecification
from relbench_pretrain.trainer.specification import SpecificationError, specification


def network() -> Backbone:
    return Backbone(LinearTableEncoder(), GraphSAGE(), channels=16)


def trainer(**options) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_steps=2,
        enable_checkpointing=False, num_sanity_val_steps=0, limit_val_batches=1, limit_test_batches=1,
        limit_predict_batches=1, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data():
    data = EntityTaskDataModule("customer-churn", "demo-small", batch_size=32, fanouts=[4], regimes=["cutoff"])
    data.setup("fit")
    return data


def test_loaders_alone_do_once_a_module_has_its_specification(data):
    def weights(given) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        module = FineTuning(network())
        run = trainer()
        if given:
            module.specification = data.specification
            run.fit(module, data.train_dataloader(), data.val_dataloader())
            assert "test/cutoff/loss" in run.test(module, data.test_dataloader(), verbose=False)[0]
        else:
            run.fit(module, EntityTaskDataModule(**data.hparams))
        return module.state_dict()

    with_loaders, with_module = weights(True), weights(False)
    assert all(torch.equal(value, with_module[name]) for name, value in with_loaders.items())


def test_loaders_alone_fail_with_what_to_do(data):
    with pytest.raises(
        SpecificationError,
        match=r"^FineTuning wants data with a TaskSpecification, and there is no "
        r"DataModule: give datamodules\.EntityTaskDataModule or .*set FineTuning\.specification to",
    ):
        trainer().fit(FineTuning(network()), data.train_dataloader())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Recommendation(network()), "Recommendation wants data with a RecommendationSpecification, and "
         "EntityTaskDataModule hands over a TaskSpecification: use datamodules.RecommendationDataModule"),
    ],
)  # fmt: skip
def test_data_of_another_kind_fail_with_what_to_use(module, message, data):
    with pytest.raises(SpecificationError) as error:
        trainer().fit(module, EntityTaskDataModule(**data.hparams))
    assert str(error.value) == message


def test_a_data_module_of_others_hands_over_none(data):
    class Own(LightningDataModule):
        def train_dataloader(self):
            return data.train_dataloader()

    with pytest.raises(SpecificationError, match="Own hands over none: give datamodules.EntityTaskDataModule"):
        trainer().fit(FineTuning(network()), Own())


def test_a_callback_asks_for_its_own(data):
    data = ContrastiveDataModule("demo-small", batch_size=8, num_rounds=1, batches_per_epoch=2, val_batches=1)
    module = ContrastivePretraining(network(), link=LinkContrast())
    run = trainer()
    run.fit(module, data)
    assert type(specification(run, DatabaseSpecification, module)) is DatabaseSpecification
    with pytest.raises(SpecificationError, match="PredictionWriter wants data with a TaskSpecification, and Contrast"):
        PredictionWriter().write_on_epoch_end(run, module, [], [])
    module.specification = ForecastDataModule  # what a module was given goes before what a DataModule hands over
    with pytest.raises(SpecificationError, match="ContrastivePretraining was given a type"):
        specification(run, DatabaseSpecification, module)
