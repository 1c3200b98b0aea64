"""Descriptions made worse or longer, of unseen relations alone."""

from __future__ import annotations

import pytest

from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.data.texts import FirstWords, ShuffledWords, WithIdentifier


def test_words_are_kept_shuffled_or_added():
    text = "The form of government in a country."
    assert FirstWords(3)("r", text) == "The form of"
    shuffled = ShuffledWords(1)("r", text)
    assert sorted(shuffled.split()) == sorted(text.split()) and shuffled != text
    assert shuffled == ShuffledWords(1)("r", text) != ShuffledWords(2)("r", text)
    assert WithIdentifier()("/a/country/form_of_government", "Text.") == "Text. a country form of government"
    assert WithIdentifier()("<http://dbpedia.org/ontology/birthPlace>", "") == "birth place"


def test_unseen_relations_alone_are_rewritten(zero_shot_folder):
    graph = read_knowledge_graph(zero_shot_folder)
    changed = graph.with_unseen_texts(FirstWords(1))
    for role, before, after in zip(graph.role, graph.relation_texts, changed.relation_texts, strict=True):
        assert after == (before.split()[0] if role == Role.UNSEEN else before)


def test_sentences_for_wordnet_are_shipped_and_descriptions_may_lie_elsewhere(tmp_path, zero_shot_folder):
    (tmp_path / "wn").mkdir()
    (tmp_path / "wn/train.tsv").write_text("a\t_hypernym\tb\nb\t_has_part\tc\n")
    graph = read_knowledge_graph(tmp_path / "wn", relation_texts="wn18rr")
    assert graph.relation_texts[0].startswith("A more general concept")
    (tmp_path / "own.tsv").write_text("relation\tdescription\n_hypernym\tone\n")
    with pytest.raises(KnowledgeGraphError, match="no description of \\['_has_part'\\]"):
        read_knowledge_graph(tmp_path / "wn", relation_texts=tmp_path / "own.tsv")
    with pytest.raises(KnowledgeGraphError, match="no file"):
        read_knowledge_graph(tmp_path / "wn", relation_texts="nowhere.tsv")
