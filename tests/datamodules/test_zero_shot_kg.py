"""Episodes that hide what they ask for, and queries that are the same for every model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datamodules import EpisodicKGDataModule, MultimodalKGDataModule, ZeroShotKGDataModule
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.data.neighborhood import Neighborhood, find_paths
from relbench_pretrain.knowledge_graph.data.texts import text_vectors
from relbench_pretrain.knowledge_graph.features.lexical_overlap import LexicalOverlap
from relbench_pretrain.knowledge_graph.features.pair_features import PairFeatures
from relbench_pretrain.knowledge_graph.mre import MultimodalTraining
from relbench_pretrain.pretrained import CheckpointError


@pytest.fixture
def make(zero_shot_folder, tmp_path):
    def make(stage="fit", **options):
        options = {
            "validation_relations": 2,
            "num_candidates": 10,
            "queries_per_relation": 6,
            "relations_per_batch": 4,
        } | options
        module = EpisodicKGDataModule(str(zero_shot_folder), cache_dir=str(tmp_path / "cache"), **options)
        module.setup(stage)
        return module

    return make


def relations_in(neighborhood: Neighborhood) -> set[int]:
    return set((neighborhood.relation % neighborhood.num_relations).tolist())


def without(module, relation, mirrored):
    """The training triples but those of a relation."""
    triples = module.graph.triples_of(Role.SEEN)
    kept = triples[triples[:, 1] != relation]
    known = Neighborhood.of_triples(kept, module.graph.num_entities, module.graph.num_relations)
    return known.mirrored() if mirrored else known


def ends_of_texts(module, which):
    """Vectors of the first and last three words of the relations' descriptions, or the other way round."""
    words = [text.rstrip(" .").split() for text in module.graph.relation_texts]
    ends = {"first": [" ".join(w[:3]) for w in words], "last": [" ".join(w[-3:]) for w in words]}
    return torch.stack([text_vectors(module.embedder, ends[end], module.hparams.cache_dir) for end in which])


def test_models_see_no_triple_of_what_they_are_asked_for(make):
    module = make()
    roles = {role: set(module.graph.relations_of(role).tolist()) for role in Role}
    assert [len(roles[role]) for role in Role] == [7, 2, 3]
    assert relations_in(module.training_neighborhood) == roles[Role.SEEN]
    assert relations_in(module.test_neighborhood) == roles[Role.SEEN] | roles[Role.VALIDATION]
    assert {e.relation for e in module.val_dataloader()[0]} == roles[Role.VALIDATION]
    assert {e.relation for e in module.test_dataloader()[0]} == roles[Role.UNSEEN]
    assert sum(len(e) for e in module.test_dataloader()[0]) == len(module.graph.triples_of(Role.UNSEEN))


@pytest.mark.parametrize("direction", ["tail", "head", "both"])
def test_training_episodes_hide_their_relation_and_have_one_right_candidate(make, direction):
    module = make(direction=direction, batches_per_epoch=6)
    triples = set(map(tuple, module.graph.triples.tolist()))
    asked = set()
    for batch in module.train_dataloader():
        assert len({episode.relation for episode in batch}) == 4
        for e in batch:
            assert module.graph.role[e.relation] == Role.SEEN
            assert e.features.shape[:2] == e.candidate.shape == (len(e), 101)
            head = (int(e.anchor[0]), e.relation, int(e.candidate[0, 0])) not in triples
            asked.add(head)
            describe = PairFeatures(
                without(module, e.relation, head), module.entity_text, module.relation_text,
                ends=ends_of_texts(module, ("last", "first") if head else ("first", "last")),
                words=LexicalOverlap(module.graph.names, module.graph.descriptions, module.graph.relation_texts),
            )  # fmt: skip
            assert torch.allclose(e.features, describe(e.relation, e.anchor, e.candidate), atol=1e-4)
            for anchor, row in zip(e.anchor.tolist(), e.candidate.tolist(), strict=True):
                right = [
                    ((c, e.relation, anchor) if head else (anchor, e.relation, c)) in triples for c in row if c >= 0
                ]
                assert right == [True] + [False] * (len(right) - 1)
    assert asked == {False, True}
    assert module.directions == {"both": ("tail", "head")}.get(direction, (direction,))


def test_batches_come_again_with_the_seed(make):
    first, again, other = (next(iter(make(seed=seed).train_dataloader()))[0].candidate for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_all_entities_are_ranked_where_no_number_of_candidates_is_given(make):
    module = make(num_candidates=0)
    for episode in module.test_dataloader()[0]:
        assert episode.candidate.shape == (len(episode), module.graph.num_entities)
        for query, place in episode.known.T.tolist():
            assert place != episode.answer[query]
            found = (module.graph.triples == [int(episode.anchor[query]), episode.relation, place]).all(1)
            assert found.any()


def test_paths_are_searched_once_per_episode_and_never_for_the_multimodal_model(make, zero_shot_folder, monkeypatch):
    searched = []

    def counted(*args, **kwargs):
        searched.append(args[1:])
        return find_paths(*args, **kwargs)

    module = make()
    loader = module.test_dataloader()[0]  # computes what all episodes share
    for name in ("episodes", "features.pair_features"):
        monkeypatch.setattr(f"relbench_pretrain.knowledge_graph.{name}.find_paths", counted)
    episodes = list(loader)
    assert len(searched) == len(episodes)
    alone = module._pair_features(True, "tail")
    for e in episodes:
        assert torch.equal(e.features, alone(e.relation, e.anchor, e.candidate))
    searched.clear()
    training = MultimodalTraining(1, 0, 0, image_size=0)
    other = MultimodalKGDataModule(str(zero_shot_folder), validation_relations=2, training=training)
    other.setup("fit")
    assert torch.equal(next(iter(other.test_dataloader()[0])).anchor[:5], episodes[0].anchor[:5]) and not searched


def test_a_split_can_be_made_anew(make):
    module = make(unseen_relations=4, validation_relations=1, split_seed=3)
    assert [len(module.graph.relations_of(role)) for role in Role] == [7, 1, 4]
    with pytest.raises(KnowledgeGraphError, match="relations"):
        make(unseen_relations=12)


def test_nothing_to_validate_on_is_said_with_the_remedy(make):
    with pytest.raises(KnowledgeGraphError, match="data.validation_relations"):
        make("validate", validation_relations=0)
    module = make(validation_relations=0)  # training on all relations
    assert module.val_dataloader() == [] and not len(module.graph.relations_of(Role.VALIDATION))


@pytest.mark.filterwarnings("ignore:.*is called:FutureWarning")
def test_the_name_of_both_in_earlier_versions_returns_the_right_one():
    with pytest.warns(FutureWarning, match=r"is called 'datamodules.EpisodicKGDataModule' now"):
        episodic = ZeroShotKGDataModule("folder", pool_wrong=7, leak_unseen=False, training=None)
    assert type(episodic) is EpisodicKGDataModule and episodic.hparams.pool_negatives == 7
    training = MultimodalTraining(3)
    multimodal = ZeroShotKGDataModule("folder", training=training, nearest_relations=4)
    assert type(multimodal) is MultimodalKGDataModule and multimodal.training is training


def test_a_checkpoint_of_earlier_versions_goes_on_with_the_same_data(make):
    module = make()
    state = module.state_dict()
    names = {"images": "pictures", "vectors of images": "vectors of pictures"}
    state["data"] = {names.get(name, name): value for name, value in state["data"].items()}
    module.load_state_dict(state)
    state["data"]["pictures"] += 1
    with pytest.raises(CheckpointError, match="images: 1, now 0"):
        module.load_state_dict(state)


def test_vectors_of_texts_are_kept_and_of_length_one(make, tmp_path):
    module = make()
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 2
    assert np.allclose(module.relation_text.norm(dim=1), 1, atol=1e-5)
    assert torch.equal(make().entity_text, module.entity_text)
