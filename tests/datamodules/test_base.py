"""A run goes on with the data that it began with, or not at all; batches go where a GPU copies from."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from datamodules import EntityTaskDataModule, EpisodicKGDataModule, HypergraphDataModule
from datamodules.relational import RelationalDataModule
from relbench_pretrain.hypergraph import RandomHypergraph, Star
from relbench_pretrain.pretrained import CheckpointError
from relbench_pretrain.relational.database import open_dataset


def opened(module):
    module.setup("fit")
    return module


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    shutil.copytree(open_dataset("demo-small").dataset_dir, folder)
    return folder


def database(folder):
    return opened(EntityTaskDataModule("customer-churn", str(folder)))


def test_database_that_has_other_rows_or_values_is_refused(shop):
    before = database(shop).state_dict()
    assert before["data"]["rows of visits"] == len(pd.read_parquet(shop / "db/visits.parquet"))
    elsewhere = shutil.copytree(shop, shop.with_name("elsewhere"))
    database(elsewhere).load_state_dict(before)
    df = pd.read_parquet(shop / "db/visits.parquet")
    df.iloc[:-1].to_parquet(shop / "db/visits.parquet")
    with pytest.raises(CheckpointError, match=f"shop.*rows of visits: {len(df)}, now {len(df) - 1}.*Resume with"):
        database(shop).load_state_dict(before)
    df.assign(device=df["device"].to_numpy()[::-1]).to_parquet(shop / "db/visits.parquet")
    with pytest.raises(CheckpointError, match="began with.*: content of visits: ") as error:
        database(shop).load_state_dict(before)
    assert "rows of" not in str(error.value)


def test_labels_belong_to_the_data(shop):
    state = database(shop).state_dict()
    state["data"]["labels of customer-churn"] -= 1
    with pytest.raises(CheckpointError, match="labels of customer-churn"):
        database(shop).load_state_dict(state)


def test_knowledge_graph_that_has_other_triples_or_texts_is_refused(zero_shot_folder, tmp_path):
    def graph():
        options = {"validation_relations": 2, "cache_dir": str(tmp_path / "cache"), "nearest_relations": 0}
        return opened(EpisodicKGDataModule(str(zero_shot_folder), **options))

    before, train = graph().state_dict(), zero_shot_folder / "train.tsv"
    graph().load_state_dict(before)
    lines = train.read_text().splitlines()
    train.write_text("\n".join(lines[:-1]) + "\n")
    number = before["data"]["triples"]
    with pytest.raises(CheckpointError, match=f"triples: {number}, now {number - 1}"):
        graph().load_state_dict(before)
    train.write_text("\n".join(lines) + "\n")
    texts = zero_shot_folder / "entities.tsv"
    texts.write_text(texts.read_text().replace("\triver", "\tstream", 1))
    with pytest.raises(CheckpointError, match="with.*: texts: ") as error:
        graph().load_state_dict(before)
    assert "triples" not in str(error.value)


class Nothing(LightningModule):
    """A model of one weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        return (self.weight**2).sum()

    def test_step(self, batch):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_trainer_refuses_to_go_on_with_another_hypergraph_but_tests_on_it(run_in):
    def data(**options):
        return HypergraphDataModule(RandomHypergraph(8, {2: 6}), num_samples=100, batch_size=20, **options)

    def trainer(steps):
        options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return Trainer(max_steps=steps, accelerator="cpu", enable_checkpointing=False, **options)

    first = trainer(1)
    first.fit(Nothing(), data())
    first.save_checkpoint("run.ckpt")
    trainer(2).fit(Nothing(), data(), ckpt_path="run.ckpt")
    for options, named in (({"seed": 1}, "seed: 0, now 1"), ({"num_samples": 200}, "samples: 100, now 200")):
        changed = data(**options) if "seed" in options else HypergraphDataModule(RandomHypergraph(8, {2: 6}), **options)
        with pytest.raises(CheckpointError, match=named):
            trainer(2).fit(Nothing(), changed, ckpt_path="run.ckpt")
    trainer(2).test(Nothing(), data(seed=1), ckpt_path="run.ckpt", verbose=False)


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda", True)])
def test_loaders_pin_memory_where_a_gpu_trains(device, pinned):
    strategy = SimpleNamespace(root_device=torch.device(device))
    trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=1)
    data, relational = HypergraphDataModule(Star(5), 100), RelationalDataModule()
    data.setup("test")
    assert not data.pins_memory
    data.trainer = relational.trainer = trainer
    assert data.pins_memory is pinned
    assert data.test_dataloader().loader.pin_memory is pinned
    assert relational.worker_options()["pin_memory"] is pinned
