"""Folders of networks: whole or not at all, and nothing in them that runs."""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
from pathlib import Path

import pytest
import torch

from relbench_pretrain.hypergraph import NodeBert
from relbench_pretrain.knowledge_graph import PairRanker, mre
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder
from relbench_pretrain.nn.task_network import load_backbone
from relbench_pretrain.pretrained import CheckpointError, SharedNetwork, load_network, read_network, save_network
from relbench_pretrain.pretrained import network as checkpoints
from relbench_pretrain.pretrained.config import class_path
from relbench_pretrain.relational.schema import ColumnSchema, GraphSchema, TableSchema, stored_schema

STATS = {"MEAN": 0.0, "STD": 1.0, "QUANTILES": [0.0, 0.2, 0.5, 0.8, 1.0]}
FILES = ["config.json", "model.safetensors"]


class Harmful:
    """What a file may hold that does something as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def bert(nodes=5) -> NodeBert:
    network = NodeBert(1, 8, 2, 8, 0.0)
    network.build_for({"nodes": [f"n{i}" for i in range(nodes)], "length": 4, "padded": True})
    return network


@pytest.fixture
def network():
    return bert().eval()


@pytest.fixture
def folder(network, tmp_path):
    return save_network(tmp_path / "network", network, {"step": 3, "metrics": {"val/loss": float("nan")}})


def test_a_network_comes_again_with_its_weights_and_what_is_known_of_it(network, folder):
    again, fresh = load_network(folder).eval(), load_network(folder, weights=False)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert again.nodes == network.nodes
    tokens, place = torch.tensor([[6, 0, 8, 7]]), torch.tensor([0])
    assert torch.equal(again(tokens, place, place + 2), network(tokens, place, place + 2))
    assert not torch.equal(fresh.last.output.dense.weight, network.last.output.dense.weight)
    assert read_network(folder).info == {"step": 3, "metrics": {"val/loss": None}}  # JSON knows no NaN


def test_backbones_of_earlier_versions_are_read(tmp_path):
    schema = GraphSchema({"t": TableSchema({"c": ColumnSchema("numerical", STATS)}, "id")})
    backbone = Backbone(LinearTableEncoder(), GraphSAGE(), channels=4)
    backbone.build(schema)
    folder = save_network(tmp_path / "best", backbone, {"step": 7})
    description = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    earlier = {"config": description["network"], "schema": description["built_for"]["schema"], "info": {"step": 7}}
    (folder / "backbone.json").write_text(json.dumps(earlier))
    (folder / "model.safetensors").rename(folder / "backbone.safetensors")
    assert stored_schema(folder) == schema and read_network(folder).info == {"step": 7}
    again = load_backbone(folder)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in backbone.state_dict().items())
    save_network(folder, backbone)  # and replaced
    assert sorted(path.name for path in folder.iterdir()) == FILES


@pytest.mark.parametrize("name", FILES)
def test_missing_files_are_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing.*export"):
        load_network(folder)


@pytest.mark.parametrize("name", FILES)
def test_truncated_files_are_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=rf"{name}' is .*again"):
        load_network(folder)


def test_weights_of_another_network_are_refused(folder, tmp_path):
    (save_network(tmp_path / "other", bert(6)) / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors' do not fit"):
        load_network(folder)
    with pytest.raises(CheckpointError, match="no network of databases"):
        load_backbone(folder)


@pytest.mark.parametrize("change", [{"network": {"class_path": "os.system", "init_args": {"command": "true"}}},
                                    {"network": {"class_path": "relbench_pretrain.nn.MLPHead", "init_args": {}}},
                                    {"built_for": {"nodes": 3}}, {"built_for": []}, {"info": "much"}])  # fmt: skip
def test_descriptions_that_make_no_network_are_refused(folder, change):
    description = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(description | change))
    with pytest.raises(CheckpointError):
        load_network(folder)


def test_pickles_are_not_read_as_weights(folder, tmp_path):
    marker = tmp_path / "marker"
    harmful = pickle.dumps({"weight": Harmful(marker)})
    (folder / "model.safetensors").write_bytes(harmful)
    with pytest.raises(CheckpointError, match="no whole safetensors file.*can hold code"):
        load_network(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(harmful)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_network(folder)
    assert not marker.exists()
    pickle.loads(harmful)
    assert marker.exists()  # so it would have been seen


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", ["save_file", "rename"])
def test_an_interruption_leaves_what_was_there(step, before, tmp_path, monkeypatch):
    place = tmp_path / "there" / "network"
    kept = bert()
    if before:
        save_network(place, kept)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    if step == "save_file":
        monkeypatch.setattr(checkpoints, "save_file", interrupted)
    else:
        rename, moved = Path.rename, []

        def once_interrupted(source, target):
            moved.append(target)
            return interrupted() if moved.count(place) == 1 and target == place else rename(source, target)

        monkeypatch.setattr(Path, "rename", once_interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_network(place, bert())
    monkeypatch.undo()
    assert [path.name for path in place.parent.iterdir()] == (["network"] if before else [])
    if before:
        assert torch.equal(load_network(place).bias, kept.bias)


def test_folders_with_other_files_are_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(CheckpointError, match=r"'thesis\.tex'"):
        save_network(tmp_path, bert())
    with pytest.raises(CheckpointError, match="build it first"):
        save_network(tmp_path / "new", NodeBert())
    with pytest.raises(CheckpointError, match="not all plain"):
        save_network(tmp_path / "new", bert(), {"graph": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_networks_have_the_methods_that_users_of_the_hub_know(tmp_path):
    network = PairRanker(2, 8)
    network.training_info = {"system": "EpisodicExtrapolation", "metrics": {"val/score": 0.5}}
    network.save_pretrained(tmp_path / "ranker")
    assert sorted(path.name for path in (tmp_path / "ranker").iterdir()) == [
        "README.md", "config.json", "model.safetensors"
    ]  # fmt: skip
    assert "| val/score | 0.5 |" in (tmp_path / "ranker" / "README.md").read_text()
    again = PairRanker.from_pretrained(tmp_path / "ranker")
    assert not again.training and again.training_info == network.training_info
    assert str(again.state_dict()) == str(network.state_dict())
    with pytest.raises(CheckpointError, match="holds a PairRanker, not a Backbone"):
        Backbone.from_pretrained(tmp_path / "ranker")


def test_the_networks_of_this_package_are_named_by_the_package_that_exports_them():
    kinds, found = [SharedNetwork], []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("relbench_pretrain.") and not inspect.isabstract(kind):
            found.append(class_path(kind))
    assert {"relbench_pretrain.nn.Backbone", class_path(mre.ExtrapolationNetwork)} <= set(found)
    packages = [path.rpartition(".")[0] for path in found]
    assert all(hasattr(importlib.import_module(package), "__path__") for package in packages), found
