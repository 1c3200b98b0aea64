"""Folders in every form, and the messages on bad ones."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError, Role

TRAIN = "a\tlikes\tb\na\tlikes\tc\nb\tknows\td\n"
TEST = "d\towns\ta\n"


def names_of(graph):
    return {(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in graph.triples.tolist()}


ALL = {("a", "likes", "b"), ("a", "likes", "c"), ("b", "knows", "d"), ("d", "owns", "a")}


def test_tab_separated_files_need_nothing_beside_them(tmp_path):
    (tmp_path / "train.txt").write_text(TRAIN)
    (tmp_path / "test.tsv").write_text(TEST)
    graph = read_knowledge_graph(tmp_path)
    assert names_of(graph) == ALL
    assert [graph.relations[r] for r in graph.relations_of(Role.UNSEEN)] == ["owns"]
    assert graph.names == graph.entities and graph.relation_texts == ["", "", ""]


def test_parquet_with_everything(tmp_path):
    home = tmp_path / "triples"
    home.mkdir()
    rows = [line.split("\t") for line in (TRAIN + TEST).splitlines()]
    table = pd.DataFrame(rows, columns=["head", "relation", "tail"])
    table[:3].to_parquet(home / "train.parquet")
    table[3:].to_parquet(home / "test.parquet")
    relations = {"relation": ["likes", "knows", "owns"], "description": ["L", None, "O"],
                 "split": ["seen", "validation", "unseen"]}  # fmt: skip
    pd.DataFrame(relations).to_parquet(tmp_path / "relations.parquet")
    (tmp_path / "entities.tsv").write_text("entity\tname\tdescription\nd\tDan\t\na\tAnn\tA cat.\ne\tEve\t\n")
    pd.DataFrame({"relation": ["owns"], "candidates": [["a", "b", "nobody"]]}).to_parquet(
        tmp_path / "candidates.parquet"
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    pd.DataFrame({"entity": ["d"], "vector": [[1.0, 2.0]]}).to_parquet(tmp_path / "image_vectors.parquet")
    graph = read_knowledge_graph(tmp_path)
    assert names_of(graph) == ALL
    assert graph.role.tolist() == [Role.SEEN, Role.VALIDATION, Role.UNSEEN]
    assert graph.relation_texts == ["L", "", "O"]
    texts = dict(zip(graph.entities, graph.entity_texts(), strict=True))
    assert texts == {"a": "Ann. A cat.", "b": "b", "c": "c", "d": "Dan", "e": "Eve"}
    assert [graph.entities[e] for e in graph.candidates[2]] == ["a", "b"]
    assert [path and path.name for path in graph.images] == [None, "a.png", None, None, None]
    assert np.isnan(graph.image_vectors).any(1).tolist() == [False, True, True, True, True]


def test_numbers_are_names_too(tmp_path):
    pd.DataFrame({"head": [1, 1], "relation": [7, 8], "tail": [2, 3]}).to_parquet(tmp_path / "train.parquet")
    pd.DataFrame({"relation": [7, 8], "description": ["Seven.", "Eight."], "split": ["seen", "seen"]}).to_parquet(
        tmp_path / "relations.parquet"
    )
    pd.DataFrame({"entity": [1, 2, 3], "name": ["one", "two", "three"]}).to_parquet(tmp_path / "entities.parquet")
    pd.DataFrame({"relation": [7, 8], "candidates": [[2, 3], [99]]}).to_parquet(tmp_path / "candidates.parquet")
    graph = read_knowledge_graph(tmp_path)
    assert graph.names == ["one", "two", "three"] and graph.relation_texts == ["Seven.", "Eight."]
    assert {r: listed.tolist() for r, listed in graph.candidates.items()} == {0: [1, 2]}


def test_the_published_form_of_tasks(tmp_path):
    (tmp_path / "train_tasks.json").write_text(json.dumps({"likes": [["a", "likes", "b"], ["a", "likes", "c"]]}))
    (tmp_path / "dev_tasks.json").write_text(json.dumps({"knows": [["b", "knows", "d"]]}))
    (tmp_path / "test_tasks.json").write_text(json.dumps({"owns": [["d", "owns", "a"]]}))
    (tmp_path / "path_graph").write_text("c\tsees\td\n")
    (tmp_path / "rel2candidates_all.json").write_text(json.dumps({"owns": ["a", "b"]}))
    (tmp_path / "rel_description.txt").write_text("owns\tWhat one owns.\n")
    graph = read_knowledge_graph(tmp_path)
    assert names_of(graph) == ALL | {("c", "sees", "d")}
    roles = dict(zip(graph.relations, graph.role.tolist(), strict=True))
    assert roles == {"likes": Role.SEEN, "sees": Role.SEEN, "knows": Role.VALIDATION, "owns": Role.UNSEEN}
    assert graph.relation_texts[graph.relations.index("owns")] == "What one owns."
    assert len(graph.candidates[graph.relations.index("owns")]) == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no triples"),
        ({"train.txt": "a\tb\tc\na\tb\n"}, r"train.txt, line 2: 2 fields"),
        ({"train.txt": "a\tb\tc\na\t\tc\n"}, r"train.txt, line 2"),
        ({"train.txt": TRAIN, "train.tsv": TRAIN}, "2 files of train"),
        ({"train.txt": TRAIN, "relations.tsv": "relation\tsplit\nlikes\tsometimes\nknows\tseen\n"}, "sometimes"),
        ({"train.txt": TRAIN, "relations.tsv": "relation\tsplit\nlikes\tseen\n"}, "no split for .'knows'"),
        ({"train.txt": TRAIN, "entities.tsv": "name\tdescription\na\tb\n"}, "lacks the columns .'entity'"),
        ({"train_tasks.json": "{"}, "train_tasks.json, line 1"),
        ({"train_tasks.json": '{"r": [["a", "s", "b"]]}'}, "relation 'r' holds"),
    ],
)
def test_bad_files_are_named(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(KnowledgeGraphError, match=message):
        read_knowledge_graph(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(KnowledgeGraphError, match="nowhere"):
        read_knowledge_graph(tmp_path / "nowhere")


def test_fb15k237_zs_has_the_published_numbers(shared_data):
    graph = read_knowledge_graph(shared_data / "kg/fb15k237-zs", shared_data / "kg/fb15k237/entities.parquet")
    assert graph.num_entities == 14_208
    assert [len(graph.relations_of(role)) for role in Role] == [206, 0, 29]
    assert len(graph.triples_of(Role.UNSEEN)) == 17_596
    assert all(graph.relation_texts) and "Dominican Republic" in graph.names


def test_db15k_zs_has_its_duplicates_until_they_are_dropped(shared_data):
    graph = read_knowledge_graph(shared_data / "kg/db15k-zs")
    assert graph.num_entities == 12_741
    assert len(graph.triples_of(Role.UNSEEN, unique=False)) == 5_653
    assert len(graph.triples_of(Role.UNSEEN)) == 5_653 - 377
    assert "New York" in graph.names
