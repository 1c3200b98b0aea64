"""Questions, the answers known beside the one asked for, and candidates."""

from __future__ import annotations

import numpy as np
import torch

from relbench_pretrain.knowledge_graph.data.graph import Role
from relbench_pretrain.knowledge_graph.data.queries import Queries, draw_candidates


def test_every_other_answer_in_the_graph_is_known(graph):
    queries = Queries.of_triples(graph, graph.triples_of(Role.SEEN))
    asked = list(zip(queries.anchor.tolist(), queries.relation.tolist(), queries.answer.tolist(), strict=True))
    assert asked == [(0, 0, 1), (0, 0, 2), (1, 1, 3), (2, 1, 3)]
    assert queries.known.tolist() == [[0, 1], [2, 1]]
    heads = Queries.of_triples(graph, graph.triples_of(Role.SEEN), "head")
    assert heads.answer.tolist() == [0, 0, 1, 2]
    assert heads.known.tolist() == [[2, 3], [2, 1]]


def test_duplicates_are_asked_for_as_often_as_wanted(graph):
    assert len(Queries.of_triples(graph, graph.triples_of(Role.SEEN, unique=False))) == 5


def test_known_answers_of_a_batch_are_numbered_from_its_start(graph):
    queries = Queries.of_triples(graph, graph.triples_of(Role.UNSEEN))
    assert queries.known.tolist() == [[0, 1], [1, 0]]
    assert queries.known_of(1, 3).tolist() == [[0], [0]]
    assert queries.known_of(2, 3).numel() == 0


def test_candidates_are_the_answer_and_negatives_of_the_list(graph):
    queries = Queries.of_triples(graph, graph.triples_of(Role.UNSEEN))
    drawn = draw_candidates(graph, queries, 2, seed=3)
    assert drawn[:, 0].tolist() == queries.answer.tolist()
    for row in drawn[:, 1:].tolist():
        assert set(row) <= {2, 3, 4} and len(set(row)) == 2
    assert torch.equal(drawn, draw_candidates(graph, queries, 2, seed=3))
    short = draw_candidates(graph, queries, 10)
    assert (short[:, 1:] >= 0).sum(1).tolist() == [3, 3, 3]


def test_without_a_list_all_entities_are_candidates_but_the_right_ones(graph):
    queries = Queries.of_triples(graph, graph.triples_of(Role.SEEN))
    drawn = draw_candidates(graph, queries, 10)
    assert {frozenset(row[row >= 0].tolist()) for row in drawn[:2]} == {
        frozenset({1, 0, 3, 4}),
        frozenset({2, 0, 3, 4}),
    }


def test_every_negative_is_drawn_about_as_often(graph):
    queries = Queries.of_triples(graph, np.repeat([[3, 2, 0]], 3000, axis=0))
    count = draw_candidates(graph, queries, 1)[:, 1].bincount(minlength=5)
    assert count[[0, 1]].sum() == 0
    assert ((count[[2, 3, 4]] - 1000).abs() < 120).all()


def test_the_published_list_is_of_tails_and_heads_are_drawn_from_all(graph):
    heads = draw_candidates(graph, Queries.of_triples(graph, graph.triples_of(Role.UNSEEN), "head"), 10)
    assert all(set(row[row >= 0].tolist()) >= {0, 1, 2} for row in heads)


def test_a_list_of_which_nothing_is_left_is_none(graph):
    kept = graph.restricted_to(np.array([True, True, False, False, False]))
    assert kept.candidates == {}
