"""Ranges and domains that the texts of relations let expect."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.features.domain_range import (
    PREDICTED,
    DomainRangeRegression,
    first_words,
    last_words,
)

ENTITIES, RELATIONS, WIDTH = 20, 6, 8


def unit(*shape, seed):
    value = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return value / np.linalg.norm(value, axis=-1, keepdims=True)


def regression(triples, text, ends, turned=False):
    neighborhood = Neighborhood.of_triples(triples, ENTITIES, RELATIONS)
    counts = (neighborhood.mirrored() if turned else neighborhood).counts()
    views = unit(ENTITIES, WIDTH, seed=1), unit(ENTITIES, WIDTH, seed=2)
    kinds = counts.sign().tocsr()
    return DomainRangeRegression(counts, kinds, kinds, views, text, ends)


def random_triples():
    rng = np.random.default_rng(0)
    return np.unique(np.stack([rng.integers(0, n, 90) for n in (ENTITIES, RELATIONS, ENTITIES)], axis=1), axis=0)


@pytest.fixture
def case():
    text, ends = unit(RELATIONS + 1, WIDTH, seed=3), unit(2, RELATIONS + 1, WIDTH, seed=4)
    return random_triples(), text, ends


def mask_of(relation):
    mask = np.ones(2 * RELATIONS, np.float32)
    if relation < RELATIONS:
        mask[[relation, relation + RELATIONS]] = 0
    return mask


@pytest.mark.parametrize("relation", [2, RELATIONS])
def test_weights_are_those_of_kernel_ridge_regression_written_plainly(case, relation):
    triples, text, ends = case
    found = regression(triples, text, ends).weights(relation)
    sides = [(r, side) for side in (0, 1) for r in range(RELATIONS) if r != relation]

    def kernels(a, b):
        whole = (a[1] == b[1]) * np.exp((text[a[0]] @ text[b[0]] - 1) / 0.6)
        return np.exp((ends[a[1], a[0]] @ ends[b[1], b[0]] - 1) / 0.6) * (0.5 + whole), whole

    for kernel in (0, 1):
        gram = np.array([[kernels(a, b)[kernel] for b in sides] for a in sides])
        for side in (0, 1):
            to = np.array([kernels((relation, side), b)[kernel] for b in sides])
            expected = np.linalg.solve(gram + 0.3 * np.eye(len(sides)), to)
            for (r, of), value in zip(sides, expected, strict=True):
                assert found[kernel, side, r + of * RELATIONS] == pytest.approx(value, abs=1e-4)
            if relation < RELATIONS:
                assert (found[kernel, side, [relation, relation + RELATIONS]] == 0).all()


def test_predictions_are_weighted_sums_over_the_members_of_seen_ranges(case):
    triples, relation, model = case[0], 2, regression(*case)
    found = dict(zip(PREDICTED, model(relation, mask_of(relation)).T, strict=True))
    leads = [{t for _, r, t in triples.tolist() if r == k} for k in range(RELATIONS)]
    sets_out = [{h for h, r, _ in triples.tolist() if r == k} for k in range(RELATIONS)]
    view, weights = unit(ENTITIES, WIDTH, seed=1), model.weights(relation)
    for i, kernel in enumerate(("ends", "whole")):
        for j, side in enumerate(("range", "domain")):
            pairs = list(zip(weights[i, j], leads + sets_out, strict=True))
            expected = [sum(w for w, members in pairs if e in members) for e in range(ENTITIES)]
            assert np.allclose(found[f"{side}'s members ({kernel})"], expected, atol=1e-4)
        centers = np.stack([view[sorted(members)].mean(0) for members in leads + sets_out])
        center = weights[i, 0] @ (centers / np.linalg.norm(centers, axis=1, keepdims=True))
        expected = view @ center / np.linalg.norm(center)
        assert np.allclose(found[f"range's text ({kernel})"], expected, atol=1e-4)


def test_a_hidden_relation_is_as_if_it_had_no_triples(case):
    triples, text, ends = case
    found = regression(triples, text, ends)(3, mask_of(3))
    assert found.shape == (ENTITIES, len(PREDICTED)) and np.isfinite(found).all()
    without = regression(triples[triples[:, 1] != 3], text, ends)(3, mask_of(3))
    assert np.allclose(found, without, atol=1e-4)
    assert not np.allclose(found, regression(triples[triples[:, 1] != 2], text, ends)(3, mask_of(3)), atol=1e-2)


def test_in_the_mirrored_graph_with_ends_exchanged_range_and_domain_are_exchanged(case):
    triples, text, ends = case
    one = regression(triples, text, ends).weights(3)
    two = regression(triples, text, ends[::-1].copy(), turned=True).weights(3)
    assert np.allclose(one, np.roll(two[:, ::-1], RELATIONS, axis=2), atol=1e-5)


def test_texts_tell_the_range_they_begin_with():
    """Relations 0 and 1 lead to the first ten entities, 2 and 3 to the others, 4 sets out from the first."""
    low, high = np.arange(10), np.arange(10, 20)
    films, people = np.eye(WIDTH, dtype=np.float32)[:2]
    parts = [(high, 0, low), (high, 1, low), (low, 2, high), (low, 3, high), (low, 4, high)]
    triples = np.concatenate([np.stack([h, np.full(10, r), t], axis=1) for h, r, t in parts])
    first = np.stack([films, films, people, people, people, films])
    last = np.stack([people, people, films, films, films, people])
    text = unit(RELATIONS, WIDTH, seed=5)
    found = dict(zip(PREDICTED, regression(triples, text, np.stack([first, last]))(5, mask_of(5)).T, strict=True))
    for name in ("range's members (ends)", "range's times (ends)"):
        assert found[name][low].min() > found[name][high].max() + 0.1
    assert found["domain's members (ends)"][high].min() > found["domain's members (ends)"][low].max() + 0.1


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("The films that a director made.", ("The films that", "a director made")),
        ("Gender", ("Gender", "Gender")),
        ("", ("", "")),
        (" one  two ... ", ("one two", "one two")),
    ],
)
def test_ends_of_texts(text, ends):
    assert (first_words(text), last_words(text)) == ends


def test_texts_that_are_missing_have_zero_vectors_and_do_no_harm(case):
    triples, text, ends = case
    text[:], ends[:] = 0, 0
    assert np.isfinite(regression(triples, text, ends)(1, mask_of(1))).all()
    assert torch.from_numpy(regression(triples, text, ends).weights(1)).isfinite().all()
