"""Components as plain data, there and back, and what is not made of it."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest
from torch import nn

from relbench_pretrain.knowledge_graph.mre import M3AE, Concatenation, DistMult, LateFusion
from relbench_pretrain.knowledge_graph.rankers.pair_ranker import MeanRanker, PairRanker
from relbench_pretrain.nn import Backbone, LinearTableEncoder, TemporalTransformer, TimeEncoder
from relbench_pretrain.pretrained.config import TRUSTED_VARIABLE, from_config, to_config
from relbench_pretrain.pretrained.safe_loading import CheckpointError


@pytest.mark.parametrize(
    "component",
    [
        Backbone(LinearTableEncoder(), TemporalTransformer([4, 0], num_heads=2), TimeEncoder(), channels=16),
        MeanRanker([PairRanker(2, 8), PairRanker(3)]),
        LateFusion(M3AE(16, 1, 2, 8, 1, 2), M3AE(16, 2, 4, 8, 1, 2), Concatenation()),
        DistMult(),
    ],
    ids=lambda component: type(component).__name__,
)
def test_a_component_comes_again_from_its_description(component):
    again = from_config(to_config(component))
    assert to_config(again) == to_config(component)
    assert str(again) == str(component)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "torch.nn.Linear", "builtins.exec", "system", ""])
def test_classes_of_other_packages_are_not_made(path, nested, tmp_path):
    marker = tmp_path / "marker"
    config = {"class_path": path, "init_args": {"args": ["touch", str(marker)]}}
    if nested:
        config = to_config(Backbone(LinearTableEncoder(), TemporalTransformer([4]))) | {"init_args": {"x": [config]}}
    with pytest.raises(CheckpointError, match="is not loaded"):
        from_config(config)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("relbench_pretrain.pretrained.config.os.system", "no class"),  # a way round through what a module imports
        ("relbench_pretrain.pretrained.config.importlib", "no torch module"),
        ("relbench_pretrain.nn.heads.nn.Linear", "no class"),
        ("relbench_pretrain.nn.attribute_encoders.LinearEncoder", "belongs to 'torch"),
        ("relbench_pretrain.datasets.shop.database.write_demo_database", "no torch module"),
        ("relbench_pretrain.nn.Nothing", "there is no class"),
    ],
)
def test_nothing_but_networks_is_made_of_this_package(path, message):
    with pytest.raises(CheckpointError, match=message):
        from_config({"class_path": path, "init_args": {}})


@pytest.mark.parametrize("config", [{}, {"class_path": "relbench_pretrain.nn.Backbone", "init_args": {"depth": 3}}])
def test_other_arguments_are_refused(config):
    with pytest.raises(CheckpointError, match="describes no network"):
        from_config(config)


def test_a_package_can_be_trusted_by_name(monkeypatch):
    package = ModuleType("my_package")
    package.Own = type("Own", (nn.Module,), {"__module__": "my_package"})
    monkeypatch.setitem(sys.modules, "my_package", package)
    config = {"class_path": "my_package.Own", "init_args": {}}
    assert TRUSTED_VARIABLE not in os.environ
    with pytest.raises(CheckpointError, match=f"{TRUSTED_VARIABLE}=my_package$"):
        from_config(config)
    monkeypatch.setenv(TRUSTED_VARIABLE, "another, my_package")
    assert type(from_config(config)) is package.Own
