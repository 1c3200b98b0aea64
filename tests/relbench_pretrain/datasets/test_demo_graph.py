"""The demo graph: the same for a seed, and what it shows belongs to what it says."""

from __future__ import annotations

import numpy as np
from PIL import Image

from relbench_pretrain.datasets.demo_graph import demo_graph_folder, write_demo_graph
from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import Role


def test_a_seed_gives_the_same_files_and_another_one_others(tmp_path):
    first, same, other = (write_demo_graph(tmp_path / n, 200, seed) for n, seed in (("a", 0), ("b", 0), ("c", 1)))
    names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(same) for p in same.rglob("*") if p.is_file())
    assert all((first / n).read_bytes() == (same / n).read_bytes() for n in names)
    assert (first / "train.tsv").read_bytes() != (other / "train.tsv").read_bytes()


def test_tails_have_the_colour_the_topic_and_the_region_that_the_sentence_names():
    graph = read_knowledge_graph(demo_graph_folder())
    assert [len(graph.relations_of(role)) for role in Role] == [164, 20, 20]
    region = {}
    for head, relation, tail in graph.triples.tolist():
        if graph.relations[relation].startswith("near"):
            region[head] = region[tail] = graph.relations[relation].split("_")[1]
    checked = 0
    for head, relation, tail in graph.triples_of(Role.UNSEEN).tolist():
        source, target = graph.relation_texts[relation].removeprefix("From ").rstrip(".").split(" to ")
        assert source.endswith(region[head]) and target.endswith(region[tail])
        assert not graph.descriptions[head] or source.split()[0] in graph.descriptions[head]
        assert not graph.descriptions[tail] or target.split()[3] in graph.descriptions[tail]
        if graph.images[tail] is not None:
            red, _, blue = np.asarray(Image.open(graph.images[tail]), dtype=int).transpose(2, 0, 1)
            assert ((red - blue).clip(60).sum() > (blue - red).clip(60).sum()) == ("red" in target)
            checked += 1
    assert checked > 100
    assert 0.05 < np.mean([image is None for image in graph.images]) < 0.15
    assert 0.05 < np.mean([not text for text in graph.descriptions]) < 0.15
