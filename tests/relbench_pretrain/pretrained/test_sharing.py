"""Exports of all systems, read again with the same outputs, and the Hub in the shape of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from datamodules import EntityTaskDataModule, HypergraphDataModule, RecommendationDataModule
from lightning_modules import (
    ContrastivePretraining,
    EpisodicExtrapolation,
    FineTuning,
    ForecastPretraining,
    MaskedModeling,
    Recommendation,
    RelationExtrapolation,
)
from relbench_pretrain import from_pretrained, push_to_hub
from relbench_pretrain.commands.export import export
from relbench_pretrain.contrastive import LinkContrast, RowContrast
from relbench_pretrain.hypergraph import NodeBert, Star
from relbench_pretrain.knowledge_graph import PairRanker
from relbench_pretrain.knowledge_graph.episodes import Episode, no_paths
from relbench_pretrain.knowledge_graph.features.pair_features import NUM_FEATURES
from relbench_pretrain.knowledge_graph.mre import M3AE, StructureConsolidator
from relbench_pretrain.knowledge_graph.mre.learner_weights import load_learner
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInput, ModalitySpec
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder, Subgraph, TimeEncoder
from relbench_pretrain.nn.task_network import load_backbone
from relbench_pretrain.pretrained import CheckpointError, safe_loading, save_network
from relbench_pretrain.pretrained import hub as hub_module


class Harmful:
    """What a file may hold that does something as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def network() -> Backbone:
    return Backbone(LinearTableEncoder(), GraphSAGE(), channels=8)


@pytest.fixture(scope="module")
def entities():
    data = EntityTaskDataModule("product-sales", "demo-small", batch_size=16, fanouts=[4])
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def recommendations():
    data = RecommendationDataModule("customer-products", "demo-small", batch_size=16, fanouts=[4])
    data.setup("fit")
    return data


def write(module, path: Path, data=None) -> str:
    """Writes the parts of a checkpoint that an export reads, as the Trainer does it."""
    module.trainer = SimpleNamespace(
        world_size=1, global_step=12, current_epoch=3, datamodule=data, lightning_module=module,
        callback_metrics={"val/loss": torch.tensor(0.25), "embedding/std": torch.tensor(1.0)},
    )  # fmt: skip
    checkpoint = {"state_dict": module.state_dict(), "global_step": 12}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    module.eval()
    return str(path)


def exported(module, tmp_path, data=None, **options):
    export(write(module, tmp_path / "last.ckpt", data), str(tmp_path / "shared"), **options)
    found = from_pretrained(tmp_path / "shared")
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [
        "README.md", "config.json", "model.safetensors"
    ]  # fmt: skip
    assert not any(part.training for part in found.modules())
    return found


def encoded(backbone, batch):
    tables = batch.node_types
    age = {table: batch[table].age for table in tables if "time" in batch[table]}
    return backbone({table: batch[table].tf for table in tables}, Subgraph.from_batch(batch), age)


@pytest.mark.parametrize("make", [lambda: ContrastivePretraining(network(), RowContrast(), LinkContrast()),
                                  lambda: ForecastPretraining(network())])  # fmt: skip
def test_pretraining_shares_its_backbone(make, entities, tmp_path):
    module = make()
    module.schema, module.chance = entities.schema, {"products": torch.ones(2)}
    module.configure_model()
    found = exported(module, tmp_path, entities)
    batch = next(iter(entities.val_dataloader()))
    expected, got = encoded(module.backbone, batch), encoded(found, batch)
    assert all(torch.equal(expected[table], got[table]) for table in expected)
    assert torch.equal(load_backbone(tmp_path / "shared").state_dict()[name := next(iter(found.state_dict()))],
                       module.backbone.state_dict()[name])  # fmt: skip
    data = json.loads((tmp_path / "shared/config.json").read_text())["info"]["data"]
    assert data["dataset"] == entities.dataset.manifest.name
    assert "2023" in data["rows seen, held-out ones included"]


@pytest.mark.parametrize("time_encoder", [None, TimeEncoder()])
def test_fine_tuned_networks_predict_the_same_and_lend_their_backbone(time_encoder, entities, tmp_path):
    module = FineTuning(network(), time_encoder=time_encoder)
    module.schema, module.task = entities.schema, entities.task_spec
    module.configure_model()
    found = exported(module, tmp_path, entities)
    batch = next(iter(entities.val_dataloader()))
    assert torch.equal(module(batch), found(batch))
    assert found.task == module.task
    lent = load_backbone(tmp_path / "shared").state_dict()
    assert all(torch.equal(value, lent[name]) for name, value in module.backbone.state_dict().items())
    assert "product-sales, 100.00% of the labels" in (tmp_path / "shared/README.md").read_text()


def test_recommenders_score_the_same(recommendations, tmp_path):
    module = Recommendation(network())
    module.schema, module.task = recommendations.schema, recommendations.task_spec
    module.configure_model()
    found = exported(module, tmp_path, recommendations)
    batch = next(iter(recommendations.train_dataloader()))
    store = batch.candidates["products"]
    source, destination = module.encode(batch, "customers"), module.encode(batch.candidates, "products")
    expected = module.towers(source, destination, store.n_id[: store.batch_size], module.past_interactions(batch))
    assert torch.equal(found(batch, batch.candidates), expected)


def masked_model(data=None) -> MaskedModeling:
    module = MaskedModeling(NodeBert(1, 8, 2, 8, 0.0, output_width=6))
    module.nodes, module.length, module.padded = [f"n{i}" for i in range(5)], 5, True
    module.configure_model()
    return module


def test_masked_models_have_the_same_conditionals(tmp_path):
    data = HypergraphDataModule(Star(5), 100)
    data.setup("fit")
    module = masked_model()
    found = exported(module, tmp_path, data)
    contexts = np.array([[0, -1], [3, 1]])
    assert np.array_equal(module.log_conditionals(contexts), found.log_conditionals(contexts))
    assert found.nodes == module.nodes
    assert "* dataset: Star" in (tmp_path / "shared/README.md").read_text()


def test_rankers_of_pairs_score_the_same(tmp_path):
    module = EpisodicExtrapolation(PairRanker(2, 8))
    zero = torch.zeros(3, dtype=torch.long)
    features = torch.randn(3, 4, NUM_FEATURES)
    episode = Episode(0, zero, torch.arange(4).repeat(3, 1), zero, zero.new_zeros(2, 0), no_paths(), features)
    module.encoder.prepare([episode])
    found = exported(module, tmp_path)
    assert torch.equal(module.encoder(episode, None, None), found(episode, None, None))


def extrapolation() -> RelationExtrapolation:
    module = RelationExtrapolation(M3AE(16, 1, 2, 16, 1, 2), StructureConsolidator(16, 4))
    module.specs, module.sizes = {"text": ModalitySpec("words", 6, 9, "abc")}, (7, 3)
    module.configure_model()
    return module


def test_extrapolation_generates_the_same_and_lends_its_learner(tmp_path):
    module = extrapolation()
    found = exported(module, tmp_path)
    texts = {"text": ModalityInput(torch.randint(1, 9, (3, 6)), torch.ones(3, dtype=torch.bool))}
    draws = [torch.Generator().manual_seed(5) for _ in range(2)]
    expected = module.generator(module.learner.encode_relations(texts), 4, draws[0])
    assert torch.equal(found(texts, 4, draws[1]), expected)
    assert (found.specs, found.sizes) == (module.specs, module.sizes)
    fresh = extrapolation().learner
    load_learner(fresh, str(tmp_path / "shared"))
    assert torch.equal(fresh.encode_relations(texts), module.learner.eval().encode_relations(texts))


def test_the_card_says_what_is_known_and_what_is_not(tmp_path):
    path = write(masked_model(), tmp_path / "a.ckpt")
    export(path, str(tmp_path / "bare"))
    bare = (tmp_path / "bare/README.md").read_text()
    assert "* dataset: not stated" in bare and "## Licence\n\nNot stated." in bare
    assert "license" not in yaml.safe_load(bare.split("---")[1])
    assert "| val/loss | 0.25 |" in bare and "step 12" in bare and "embedding/std" not in bare
    export(path, str(tmp_path / "full"), "apache-2.0", "a: star", "me/star", "Three words.")
    full = (tmp_path / "full/README.md").read_text()
    front = yaml.safe_load(full.split("---")[1])
    assert front["license"] == "apache-2.0" and front["library_name"] == "relbench-pretrain"
    assert "* dataset: a: star" in full and 'from_pretrained("me/star")' in full and "Three words." in full
    save_network(tmp_path / "best", masked_model().network)
    export(str(tmp_path / "best"), str(tmp_path / "again"))
    assert "## Metrics\n\nNot stated." in (tmp_path / "again/README.md").read_text()


def test_checkpoints_that_can_run_code_are_refused_and_do_not(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "model.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": Harmful(marker)}, path)
    for use in (
        lambda: export(str(path), str(tmp_path / "out")),
        lambda: load_learner(extrapolation().learner, str(path)),
    ):
        with pytest.raises(CheckpointError, match="holds more than tensors and plain values"):
            use()
    with pytest.raises(CheckpointError, match="is a file"):
        from_pretrained(path)
    path.rename(tmp_path / "model.safetensors")  # under another name
    for source in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(CheckpointError, match="no whole safetensors"):
            load_learner(extrapolation().learner, str(source))
    assert not marker.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": None}, "does not say which network"),
        ({"network": {"error": "Own does not keep its argument"}}, "does not keep"),
        ({"network": {"config": {"class_path": "os.system", "init_args": {}}, "built_for": {}, "prefix": "",
                      "info": {}}}, "not loaded"),
        ({"network": {"config": {}}}, "does not say"),
        ({"state_dict": {}}, "do not fit"),
        ({"state_dict": None}, "no state_dict"),
    ],
)  # fmt: skip
def test_checkpoints_without_a_whole_network_are_refused(change, message, tmp_path):
    path = tmp_path / "a.ckpt"
    write(masked_model(), path)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(CheckpointError, match=message):
        export(str(path), str(tmp_path / "out"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_truncated_checkpoints_and_taken_folders_are_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    write(masked_model(), path)
    with pytest.raises(CheckpointError, match="is there already"):
        export(str(path), str(tmp_path))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"a\.ckpt' is no whole checkpoint"):
        export(str(path), str(tmp_path / "out"))
    with pytest.raises(CheckpointError, match="no such folder"):
        export(str(tmp_path / "missing.ckpt"), str(tmp_path / "out"))


class Hub:
    """A Hub that is a folder, and keeps to the signatures of ``huggingface_hub``."""

    def __init__(self, root: Path) -> None:
        self.root, self.created = root, {}

    def __call__(self, token=None):
        return self

    def create_repo(self, repo_id, *, private=None, exist_ok=False):
        self.created[repo_id] = private

    def upload_folder(self, *, repo_id, folder_path, commit_message, allow_patterns):
        for name in allow_patterns:
            target = self.root / repo_id / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((Path(folder_path) / name).read_bytes())
        return f"address of {repo_id}"

    def snapshot_download(self, repo_id, *, revision=None, allow_patterns=None):
        if revision not in (None, "main") or not (self.root / repo_id).is_dir():
            raise OSError(f"404: {repo_id}\nmore")
        return str(self.root / repo_id)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(hub_module, "HfApi", hub)
    monkeypatch.setattr(safe_loading, "snapshot_download", hub.snapshot_download)
    return hub


def test_networks_go_to_the_hub_and_come_back(hub, tmp_path, caplog):
    module = masked_model()
    folder = tmp_path / "shared"
    exported(module, tmp_path, name="me/star")
    (folder / "notes.txt").write_text("mine")
    assert push_to_hub(folder, "me/star") == "address of me/star"
    assert hub.created == {"me/star": True}
    assert sorted(p.name for p in (hub.root / "me/star").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    contexts = np.array([[0], [3]])
    found = from_pretrained("me/star", revision="main")
    assert np.array_equal(found.log_conditionals(contexts), module.log_conditionals(contexts))
    assert "--name" not in caplog.text
    push_to_hub(folder, "me/other", private=False)
    assert "--name me/other" in caplog.text
    with pytest.raises(CheckpointError, match=r"no folder 'me/nothing'.*\(OSError: 404: me/nothing\)"):
        from_pretrained("me/nothing")
    (folder / "README.md").unlink()
    with pytest.raises(CheckpointError, match=r"no README\.md"):
        push_to_hub(folder, "me/star")
    with pytest.raises(CheckpointError, match="no folder"):
        push_to_hub(tmp_path / "nothing", "me/star")


def test_fine_tuning_and_data_begin_from_the_hub(hub, entities):
    torch.manual_seed(3)
    backbone = network()
    backbone.build(entities.schema)
    save_network(hub.root / "me/shop", backbone)
    data = EntityTaskDataModule("product-sales", "demo-small", checkpoint="me/shop", fanouts=[4])
    data.setup("fit")
    assert data.schema.fitted_hash == entities.schema.fitted_hash
    module = FineTuning(checkpoint="me/shop", start="fine_tuned")
    module.trainer = SimpleNamespace(datamodule=data, strategy=None, lightning_module=module)
    module.setup("fit")
    module.configure_model()
    assert all(torch.equal(value, module.backbone.state_dict()[name]) for name, value in backbone.state_dict().items())


def test_names_that_are_none_do_not_reach_the_hub(monkeypatch):
    monkeypatch.setattr(safe_loading, "snapshot_download", None)
    for name in ("./nowhere", "nowhere", "runs/run/best", "../up/down", "/etc/nothing"):
        with pytest.raises(CheckpointError, match="no such folder"):
            from_pretrained(name)
