"""What the features of pairs are made of, and what they must not be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood
from relbench_pretrain.knowledge_graph.features.lexical_overlap import LexicalOverlap
from relbench_pretrain.knowledge_graph.features.pair_features import NAMES, NUM_FEATURES, PairFeatures, modality_mask
from relbench_pretrain.knowledge_graph.features.rules import Rules

ENTITIES, RELATIONS, WIDTH = 20, 5, 8
HEAD, CANDIDATE = torch.tensor([0, 5, 7]), torch.arange(12).expand(3, -1).clone()
CANDIDATE[1, 3] = -1


def random_triples(seed=0):
    rng = np.random.default_rng(seed)
    return np.unique(np.stack([rng.integers(0, n, 120) for n in (ENTITIES, RELATIONS, ENTITIES)], axis=1), axis=0)


def texts(number, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(number, WIDTH, generator=generator))


def features(triples, relation=3, num_nearest=3, turned=False, before=None):
    neighborhood = Neighborhood.of_triples(triples, ENTITIES, RELATIONS)
    neighborhood = neighborhood.mirrored() if turned else neighborhood
    ends = torch.stack([texts(RELATIONS + 1, 5), texts(RELATIONS + 1, 6)])
    describe = PairFeatures(
        neighborhood, texts(ENTITIES, 1), texts(RELATIONS + 1, 2), num_nearest,
        ends=ends.flip(0) if turned == "with ends" else ends, words=some_words(),
    )  # fmt: skip
    if before is not None:
        describe(before, HEAD, CANDIDATE)
    return describe(relation, HEAD, CANDIDATE)


def some_words():
    """Each entity's text names two others; relations' texts share words with them."""
    names = [f"name{i}" for i in range(ENTITIES)]
    said = [f"near name{(i * 7 + 1) % ENTITIES} or name{(i + 3) % ENTITIES}" for i in range(ENTITIES)]
    return LexicalOverlap(names, said, [f"name{r} near" for r in range(RELATIONS + 1)])


@pytest.mark.parametrize("num_nearest", [1, 3, 16])
def test_a_hidden_relation_is_as_if_it_had_no_triples(num_nearest):
    triples = random_triples()
    found = features(triples, num_nearest=num_nearest)
    assert found.shape == (3, 12, NUM_FEATURES)
    assert found.isfinite().all()
    without = features(triples[triples[:, 1] != 3], num_nearest=num_nearest)
    assert torch.allclose(found, without, atol=1e-4)
    assert not torch.allclose(found, features(triples[triples[:, 1] != 2], num_nearest=num_nearest), atol=1e-2)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_it_stays_hidden_where_few_relations_are_left(kept):
    triples = random_triples()
    triples = triples[triples[:, 1] >= RELATIONS - 1 - kept]
    assert torch.allclose(features(triples), features(triples[triples[:, 1] != 3]), atol=1e-4)


def test_without_any_other_relation_there_is_nothing_to_predict_from():
    triples = random_triples()
    with pytest.raises(ValueError, match="no relation but the hidden one"):
        features(triples[triples[:, 1] == 3])


def test_asking_for_heads_is_asking_for_tails_in_the_mirrored_graph():
    triples = random_triples()
    assert torch.allclose(features(triples, turned=True), features(triples[:, [2, 1, 0]]), atol=1e-4)
    assert not torch.allclose(features(triples, turned=True), features(triples), atol=1e-2)
    # With ends exchanged, a relation's range is the mirrored one's domain.
    found = dict(zip(NAMES, features(triples).unbind(-1), strict=True))
    turned = dict(zip(NAMES, features(triples, turned="with ends").unbind(-1), strict=True))
    for value in ("members", "profile"):
        assert torch.allclose(found[f"domain's {value} (ends)"], turned[f"range's {value} (ends)"], atol=1e-4)


def test_what_is_kept_of_a_relation_is_not_taken_for_another():
    triples = random_triples()
    assert torch.equal(features(triples, before=1), features(triples))


def test_a_new_relation_has_a_text_after_all_others():
    assert features(random_triples(), relation=RELATIONS).isfinite().all()


def test_single_features_are_what_counting_finds():
    """With one nearest relation the weights of text are 1, forward and backward."""
    triples, relation_text = random_triples(), texts(RELATIONS + 1, 2)
    found = features(triples, num_nearest=1)
    seen = [(h, r, t) for h, r, t in triples.tolist() if r != 3]
    near = max((float(relation_text[3] @ relation_text[r]), r) for r in range(RELATIONS) if r != 3)[1]
    edges = {(h, t) for h, r, t in seen if r == near}
    for i, head in enumerate(HEAD.tolist()):
        for c, tail in enumerate(CANDIDATE[i].tolist()):
            if tail < 0:
                continue
            value = dict(zip(NAMES, found[i, c].tolist(), strict=True))
            times = sum(t == tail for _, t in edges)
            assert value["times (forward)"] == pytest.approx(np.log1p(times), abs=1e-5)
            assert value["share (forward)"] == pytest.approx(times / len(edges), abs=1e-5)
            assert value["edge (forward)"] == ((head, tail) in edges)
            assert value["edge (backward)"] == ((tail, head) in edges)
            joined = any((h, t) in ((head, tail), (tail, head)) for h, _, t in seen)
            assert value["joined"] == joined
            assert value["degree"] == pytest.approx(np.log1p(sum((h == tail) + (t == tail) for h, _, t in seen)))
            assert value["text to relation"] == pytest.approx(
                float(texts(ENTITIES, 1)[tail] @ relation_text[3]), abs=1e-5
            )


def test_rules_are_those_that_trying_every_path_finds():
    triples = random_triples()
    neighborhood = Neighborhood.of_triples(triples, ENTITIES, RELATIONS)
    rules = Rules(neighborhood, neighborhood.counts())
    walks = [tuple(row) for row in triples.tolist()]
    walks += [(t, r + RELATIONS, h) for h, r, t in walks]
    first, second, concluded = 1, RELATIONS + 2, RELATIONS + 4
    pairs = [(h, t) for h, r, t in walks if r == concluded]
    bodies = [(a, x, c) for a, r, x in walks if r == first for y, s, c in walks if s == second and y == x]
    heads = [(a, c) for a, x, c in bodies if x not in (a, c)]
    count = sum(heads.count(pair) for pair in pairs)
    confidence, coverage = rules.of_paths(np.array([concluded]), np.array([first]), np.array([second]))[0, 0]
    assert count > 0
    assert confidence == pytest.approx(count / (len(bodies) + 10))
    assert coverage == pytest.approx(sum(pair in heads for pair in pairs) / len(pairs))
    edges = [(h, t) for h, r, t in walks if r == first]
    confidence, coverage = rules.of_edges(np.array([concluded]), np.array([first]))[0, 0]
    both = sum(pair in edges for pair in pairs)
    assert confidence == pytest.approx(both / (len(edges) + 5))
    assert coverage == pytest.approx(both / len(pairs))
    assert (rules.of_edges(np.array([first]), np.array([first])) == 0).all()


def test_images_are_compared_as_texts_are():
    """The features of images are those that texts would have in their place."""
    neighborhood = Neighborhood.of_triples(random_triples(), ENTITIES, RELATIONS)
    one, two, relation = texts(ENTITIES, 1), texts(ENTITIES, 7), texts(RELATIONS + 1, 2)
    first = PairFeatures(neighborhood, one, relation, 3, two)(3, HEAD, CANDIDATE)
    second = PairFeatures(neighborhood, two, relation, 3, one)(3, HEAD, CANDIDATE)
    pairs = [(i, NAMES.index(name.replace("text", "image"))) for i, name in enumerate(NAMES) if "text" in name.split()
             and name.replace("text", "image") in NAMES]  # fmt: skip
    assert len(pairs) == 18
    for text, image in pairs:
        assert torch.allclose(first[..., text], second[..., image], atol=1e-5), NAMES[text]
    without = PairFeatures(neighborhood, one, relation, 3)(3, HEAD, CANDIDATE)
    image = torch.tensor(["image" in name.split() for name in NAMES])
    assert (without[..., image] == 0).all() and torch.allclose(without[..., ~image], first[..., ~image], atol=1e-5)


def test_features_that_need_a_modality_left_out_are_zero():
    neighborhood = Neighborhood.of_triples(random_triples(), ENTITIES, RELATIONS)
    one, two, relation = texts(ENTITIES, 1), texts(ENTITIES, 7), texts(RELATIONS + 1, 2)
    words = some_words()
    whole = PairFeatures(neighborhood, one, relation, 3, two, words=words)(3, HEAD, CANDIDATE)
    for left in (("image", "text"), ("image",), ("text",), ("structure",)):
        masked = PairFeatures(neighborhood, one, relation, 3, two, left, words=words)(3, HEAD, CANDIDATE)
        kept = torch.from_numpy(modality_mask(left)).bool()
        assert (masked[..., ~kept] == 0).all() and torch.equal(masked[..., kept], whole[..., kept]) and kept.any()
        text, image = (v if name in left else texts(ENTITIES, 8) for name, v in (("text", one), ("image", two)))
        heard = words if "text" in left else None
        other = PairFeatures(neighborhood, text, relation, 3, image, left, words=heard)(3, HEAD, CANDIDATE)
        assert torch.equal(masked, other)
    with pytest.raises(ValueError, match="sound"):
        modality_mask(["sound"])
