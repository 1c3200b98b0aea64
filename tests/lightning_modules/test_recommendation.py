"""Two-tower training and ranking."""

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from callbacks import PredictionWriter
from datamodules import RecommendationDataModule
from lightning_modules import Recommendation
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder, TwoTower


def network():
    return Backbone(LinearTableEncoder(), GraphSAGE(), channels=16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recommendation")
    torch.manual_seed(0)
    data = RecommendationDataModule("customer-products", "demo-small", batch_size=64, fanouts=[8, 4], strategy="last")
    module = Recommendation(network(), optimizer=lambda p: torch.optim.Adam(p, lr=1e-2))
    trainer = Trainer(
        accelerator="cpu", logger=CSVLogger(folder, name="run"), max_epochs=4, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
        callbacks=[ModelCheckpoint(folder, "best"), PredictionWriter(str(folder / "p.parquet"), leaderboard=True)],
    )  # fmt: skip
    trainer.fit(module, data)
    return trainer, module, data, folder


def test_it_beats_random_recommendations_and_names_the_regimes(trained):
    trainer, module, data, _ = trained
    (metrics, _) = trainer.test(module, data, verbose=False)
    size = len(data.labels("test"))
    rng = np.random.default_rng(0)
    guess = np.stack([rng.permutation(data.graph.num_rows["products"])[:10] for _ in range(size)])
    chance = data.task.evaluate(guess)["map"]
    assert metrics["test/rolling/map"] > 1.5 * chance
    assert "test/cutoff/map" in metrics


def test_ranking_is_that_of_all_scores(trained):
    _, module, data, _ = trained
    module.eval()
    module.destinations = {}
    batch = next(iter(data.val_dataloader()))
    top = module.top(batch, "val", "rolling")
    source = module.encode(batch, "customers")
    time = int(batch["customers"].seed_time[0])
    vectors = torch.cat([module.encode(part, "products") for part in data.destination_loader("val", time)])
    scores = module.head(source, vectors, torch.arange(len(vectors)), module.past_interactions(batch))
    assert torch.allclose(scores.gather(1, top), scores.topk(10).values, atol=1e-5)


def test_predictions_are_written_with_keys_and_as_a_leaderboard_table(trained, monkeypatch):
    trainer, module, data, folder = trained
    with pytest.raises(ValueError, match=r"\[cutoff\]"):
        trainer.predict(module, data)
    monkeypatch.setitem(data.hparams, "regimes", ["cutoff"])
    trainer.predict(module, data)
    frame, truth = pd.read_parquet(folder / "p.parquet"), data.task.get_table("test", mask_input_cols=False).df
    task = data.task
    assert frame[task.src_entity_col].tolist() == truth[task.src_entity_col].tolist()
    assert (pd.to_datetime(frame[task.time_col]) == truth[task.time_col].to_numpy()).all()
    score = task.evaluate(np.stack(frame[task.dst_entity_col]))["map"]
    assert score == pytest.approx(trainer.test(module, data, verbose=False)[0]["test/cutoff/map"], abs=1e-6)
    (table,) = folder.glob("*__customer-products.csv")
    from relbench.submit import evaluate_task

    name = f"{data.dataset.manifest.name}/customer-products"
    assert evaluate_task(name, str(table), data.dataset)["map"] == pytest.approx(score)


def test_checkpoints_load_without_the_data(trained):
    _, module, _, folder = trained
    loaded = Recommendation.load_from_checkpoint(folder / "best.ckpt", backbone=network(), weights_only=False)
    assert torch.equal(loaded.head.meeting[0].weight, module.head.meeting[0].weight)


def test_towers_can_be_given():
    assert Recommendation(network(), head=TwoTower(8)).head.hidden_channels == 8
