"""Images and texts of a graph as tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from relbench_pretrain.datasets.demo_graph import write_demo_graph
from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError
from relbench_pretrain.knowledge_graph.mre.inputs import GraphInputs, GraphWords, PretrainedTokenizer


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return read_knowledge_graph(write_demo_graph(tmp_path_factory.mktemp("demo") / "kg", 60, 0, 4, 2, 2))


def inputs(graph, cache, **options):
    entity, relation = torch.randn(graph.num_entities, 8), torch.randn(graph.num_relations + 1, 8)
    return GraphInputs.of(graph, entity, relation, ["a new one"], cache_dir=str(cache), **options)


def test_images_and_words_of_entities_chosen(graph, tmp_path):
    found = inputs(graph, tmp_path, tokenizer=GraphWords(20), image_size=16)
    chosen = torch.tensor([3, 0, 59])
    batch = found.of_entities(chosen)
    assert batch["image"].present.tolist() == [graph.images[i] is not None for i in chosen]
    for row, i in zip(batch["image"].values, chosen.tolist(), strict=True):
        if graph.images[i] is not None:
            with Image.open(graph.images[i]) as image:
                expected = np.asarray(image.convert("RGB").resize((16, 16))).transpose(2, 0, 1)
            assert (row.numpy() == expected).all()
    assert batch["text"].values.size(1) == max(int((row > 0).sum()) for row in batch["text"].values) < 20
    assert found.specs["text"].vocabulary > int(batch["text"].values.max())
    relation = found.of_relations(torch.arange(graph.num_relations + 1))["text"].values
    assert len(relation) == graph.num_relations + 1 and (relation[0] > 0).any()


def test_the_same_word_has_the_same_number_and_new_relations_make_no_words(graph, tmp_path):
    tokenizer = GraphWords(20)
    known = ["blue and red", "red and blue", "of of"]
    numbers, vocabulary, digest = tokenizer(["red blue zebra", "", *known], known)
    assert numbers.shape == (5, 20) and (numbers[1] == 0).all()
    assert numbers[0, 0] == numbers[3, 0] and numbers[0, 1] == numbers[2, 0]
    assert digest == tokenizer(["other"], known)[2] != tokenizer(["other"], [*known, "more more"])[2]
    assert vocabulary == 6 and numbers[0, 2] == 1  # unknown, red, blue, and, of; and 0 for none


def test_a_pretrained_tokenizer_comes_from_a_folder(tmp_path):
    GraphWords(8).prepare(["one two", "two one"]).save(str(tmp_path / "tokenizer.json"))
    numbers, vocabulary, _ = PretrainedTokenizer(str(tmp_path), 8)(["two two three"], [])
    assert numbers[0, 0] == numbers[0, 1] != numbers[0, 2] and vocabulary == 4
    with pytest.raises(KnowledgeGraphError, match="tokenizer.json"):
        PretrainedTokenizer(str(tmp_path / "nothing"))(["x"], [])


def test_without_a_tokenizer_texts_are_vectors_and_modalities_can_be_left_out(graph, tmp_path):
    found = inputs(graph, tmp_path, use_images=False)
    assert set(found.entity) == {"text"} and found.specs["text"].kind == "vector"
    assert set(inputs(graph, tmp_path, use_texts=False, image_size=16).entity) == {"image"}
    with pytest.raises(KnowledgeGraphError, match="image_size"):
        inputs(graph, tmp_path, image_size=0)  # the demo has no vectors of images
    present = inputs(graph, tmp_path, image_size=16).entity["text"].present
    assert present.tolist() == [bool(text) for text in graph.descriptions] and not present.all()


def test_rewritten_descriptions_of_unseen_relations_leave_the_vocabulary_as_it_is(graph, tmp_path):
    options = {"tokenizer": GraphWords(20), "use_images": False}
    before = inputs(graph, tmp_path, **options).specs
    assert inputs(graph.with_unseen_texts(lambda r, t: f"{t} again again"), tmp_path, **options).specs == before
