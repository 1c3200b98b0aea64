"""Images are read once, and their vectors depend on their content."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from relbench_pretrain.datasets.demo_graph import draw, write_demo_graph
from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError
from relbench_pretrain.knowledge_graph.data.images import RandomConvolutions, image_vectors, read_images


def test_images_are_read_once_and_a_bad_one_is_named(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(path)
    first = read_images([None, path], 4, str(tmp_path / "cache"))
    (kept,) = (tmp_path / "cache").iterdir()
    before = kept.stat().st_mtime_ns
    assert (read_images([None, path], 4, str(tmp_path / "cache")) == first).all()
    assert kept.stat().st_mtime_ns == before and first[1].min() == 9 and first[0].max() == 0
    path.write_text(json.dumps("no image"))
    with pytest.raises(KnowledgeGraphError, match=r"a\.png cannot be read"):
        read_images([path], 4, str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache").iterdir())) == 1  # nothing half written


@pytest.mark.parametrize("trait", [0, 1, 2])
def test_random_convolutions_tell_shape_colour_and_pattern(trait):
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 2, (400, 3))
    vectors = RandomConvolutions()(torch.from_numpy(np.stack([draw(*look, rng).transpose(2, 0, 1) for look in looks])))
    vectors = (vectors - vectors.mean(0)) / vectors.std(0)
    label = torch.from_numpy(looks[:, trait])
    middle = torch.stack([vectors[:200][label[:200] == value].mean(0) for value in (0, 1)])
    found = torch.cdist(vectors[200:], middle).argmin(1)
    assert (found == label[200:]).float().mean() > 0.8


def test_vectors_are_those_of_the_graph_or_of_the_embedder_and_zero_where_there_is_none(tmp_path):
    graph = read_knowledge_graph(write_demo_graph(tmp_path / "kg", 60, 0, 4, 2, 2))
    found = image_vectors(graph, RandomConvolutions(8), str(tmp_path / "cache"))
    present = torch.tensor([path is not None for path in graph.images])
    torch.testing.assert_close(found.norm(dim=1), present.float())
    own = np.full((60, 5), np.nan, np.float32)
    own[:50] = np.random.default_rng(0).normal(size=(50, 5))
    found = image_vectors(replace(graph, image_vectors=own), RandomConvolutions(8))
    assert found.shape == (60, 5) and (found.norm(dim=1) > 0).tolist() == [True] * 50 + [False] * 10
    assert image_vectors(replace(graph, images=[]), RandomConvolutions(8)) is None
