"""Names and words that texts share."""

from __future__ import annotations

import numpy as np
import pytest

from relbench_pretrain.knowledge_graph.features.lexical_overlap import WORDS, LexicalOverlap, find_names

NAMES = ["York", "New York", "Tony Kaye", "History X", "???", "York", "Tony"]
TEXTS = [
    "A city; York is old.",
    "New York is no york.",
    "A director from New York. From New York!",
    "A film by TONY kaye, set in (New) York",
    "",
    "Yorkshire",
    "",
]


def test_names_are_found_whole_and_the_longest_first_but_not_in_their_own_text():
    found = find_names(NAMES, TEXTS)
    assert sorted(zip(*found.nonzero(), strict=True)) == [(0, 5), (1, 0), (1, 5), (2, 1), (3, 1), (3, 2)]
    # Words before: 3 in "A director from", 3 in "A film by", 6 before "New".
    assert found[2, 1] == pytest.approx(1 / (1 + np.log1p(3)))
    assert found[3, 1] == pytest.approx(1 / (1 + np.log1p(7)))
    assert find_names(["?"], ["? and ?"]).nnz == 0


def test_values_are_those_of_a_plain_comparison():
    words = LexicalOverlap(NAMES, TEXTS, ["Film by a director", "unheard"])
    head, candidate = np.array([3, 2]), np.array([range(7)] * 2)
    value = dict(zip(WORDS, np.moveaxis(words(0, head, candidate), -1, 0), strict=True))
    found = find_names(NAMES, TEXTS).toarray()
    assert np.allclose(value["text of head names it"], found[head])
    assert np.allclose(value["text names head"], found[:, head].T)
    assert np.allclose(value["text of others names it"], np.log1p((found > 0).sum(0)))
    own = value["text shares words with head"]
    assert own[0, 3] == pytest.approx(1) and own[1, 2] == pytest.approx(1) and 0 < own[0, 2] < 1
    assert own[0, 4] == 0
    assert (value["text shares words with relation"][0] > 0).tolist() == [True, False, True, True, False, False, False]
    has = value["text of head has its name's words"]
    assert has[0, [0, 1, 2, 3]] == pytest.approx(1) and has[0, 4] == 0  # "new" and "york" stand in the film's text
    assert 0 == has[1, 3] < has[1, 1]
    assert value["text has head's name's words"][1, 3] == pytest.approx(1)
    linked = (found > 0).astype(float) + (found > 0).T
    cosine = linked @ linked.T
    length = np.sqrt(np.maximum(np.diag(cosine), 1e-12))
    assert np.allclose(
        value["text shares named entities with head"], (cosine / np.outer(length, length))[head], atol=1e-6
    )
    assert (words(1, head, candidate)[..., WORDS.index("text shares words with relation")] == 0).all()


def test_a_name_that_very_many_have_is_not_found_and_texts_without_words_are_refused():
    names, texts = ["Human settlement"] * 51 + ["Rome"], ["A human settlement in Rome."] * 51 + [""]
    assert sorted(zip(*find_names(names, texts).nonzero(), strict=True)) == [(i, 51) for i in range(51)]
    assert find_names(names[1:], texts[1:]).nnz == 50 * 49 + 50
    with pytest.raises(ValueError, match=r"data\.modalities"):
        LexicalOverlap(["+", "++"], ["", "!"], ["leads to"])
