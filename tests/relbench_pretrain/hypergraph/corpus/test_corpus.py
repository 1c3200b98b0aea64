"""Samples, corpora, masks and batches: their distributions, and that no part is lost or comes twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from relbench_pretrain.epochs import PassBatches
from relbench_pretrain.hypergraph import (
    BiasedSampling,
    ByFrequency,
    CompositeMasking,
    ConnectedRandomGraph,
    CorrelatedSampling,
    DriftingSampling,
    EveryNode,
    Hypergraph,
    HypergraphError,
    IndependentSampling,
    NoisySampling,
    OneNode,
    RandomHypergraph,
    SeveralNodes,
    Star,
    WholeHyperedge,
)
from relbench_pretrain.hypergraph.corpus.batches import FreshBatches, MaskedBatches, Specials, masked_batch, permuted
from relbench_pretrain.hypergraph.corpus.corpus import BLOCK, Corpus, counted
from relbench_pretrain.hypergraph.corpus.sampling import AliasTable
from relbench_pretrain.hypergraph.rows import sorted_members

MIXED = RandomHypergraph(12, {2: 10, 3: 30}, weights=[1, 2, 5]).make()


def shares(rows: np.ndarray, graph: Hypergraph) -> np.ndarray:
    """How often each hyperedge was sampled; all rows have to be hyperedges."""
    found, counts = counted(rows, graph.num_nodes)
    assert (graph.weights_of(found.edges) > 0).all(), "a sample that is no hyperedge"
    number = np.zeros(graph.num_edges)
    place = [np.flatnonzero((graph.edges == row).all(1))[0] for row in found.edges]
    number[place] = counts
    return number


def test_alias_table_samples_by_weight():
    weights = np.array([0.5, 3, 1, 0.001, 2])
    number = np.bincount(AliasTable(weights).sample(200_000, np.random.default_rng(0)), minlength=5)
    assert chisquare(number, 200_000 * weights / weights.sum()).pvalue > 0.001


@pytest.mark.parametrize("sampling", [IndependentSampling(), CorrelatedSampling(0.8)])
def test_hyperedges_come_as_often_as_they_weigh(sampling):
    rows = Corpus(MIXED, sampling, 300_000, 1).rows()
    number = shares(rows, MIXED)
    error = np.abs(number / len(rows) - MIXED.weights).sum()
    assert error < (0.01 if isinstance(sampling, IndependentSampling) else 0.03)
    if isinstance(sampling, IndependentSampling):
        assert chisquare(number, len(rows) * MIXED.weights).pvalue > 0.001


def test_correlated_samples_differ_in_one_node_as_often_as_asked():
    rows = sorted_members(Corpus(MIXED, CorrelatedSampling(0.8), 50_000, 0).rows())
    sets = [frozenset(row[row >= 0].tolist()) for row in rows]
    near = np.mean([len(a) == len(b) and len(a & b) >= len(a) - 1 for a, b in pairwise(sets)])
    fresh = sorted_members(Corpus(MIXED, IndependentSampling(), 50_000, 0).rows())
    sets = [frozenset(row[row >= 0].tolist()) for row in fresh]
    chance = np.mean([len(a) == len(b) and len(a & b) >= len(a) - 1 for a, b in pairwise(sets)])
    assert near == pytest.approx(0.8 + 0.2 * chance, abs=0.01)


def test_biased_samples_are_by_a_power_of_the_weight():
    rows = Corpus(MIXED, BiasedSampling(2.0), 200_000, 0).rows()
    tilted = MIXED.weights**2 / (MIXED.weights**2).sum()
    assert chisquare(shares(rows, MIXED), len(rows) * tilted).pvalue > 0.001


def test_drift_begins_elsewhere_and_ends_at_the_truth():
    rows = Corpus(MIXED, DriftingSampling(1.0), 400_000, 0).rows()
    ends = [np.abs(shares(part, MIXED) / 40_000 - MIXED.weights).sum() for part in (rows[:40_000], rows[-40_000:])]
    assert ends[0] > 0.3 and ends[1] < 0.1


def test_noise_replaces_one_node_by_another_that_is_not_there():
    graph = Star(12).make()
    rows = Corpus(graph, NoisySampling(0.25), 100_000, 0).rows()
    assert (rows[:, 0] != rows[:, 1]).all() and rows.min() >= 0 and rows.max() < 12
    wrong = graph.weights_of(rows) == 0
    # Half of the noise hits node 0, which makes a false edge always; the other half a true one always
    assert wrong.mean() == pytest.approx(0.125, abs=0.005)
    with pytest.raises(HypergraphError, match="noise needs a node"):
        NoisySampling(0.1).begin(Star(2).make())


def test_nodes_of_a_sample_come_in_random_order_and_blocks_alone_are_the_same(tmp_path):
    corpus = Corpus(MIXED, IndependentSampling(), BLOCK + 1_000, 3)
    rows = corpus.rows()
    assert np.array_equal(corpus.block(1), rows[BLOCK:])
    ascending = (np.diff(rows[rows[:, 2] < 0][:, :2]) > 0).mean()
    assert ascending == pytest.approx(0.5, abs=0.02)
    mapped = corpus.memory_mapped(tmp_path)
    assert isinstance(mapped, np.memmap) and np.array_equal(mapped, rows)
    assert len(list(tmp_path.iterdir())) == 1
    stamp = next(tmp_path.iterdir()).stat().st_mtime_ns
    corpus.memory_mapped(tmp_path)
    assert next(tmp_path.iterdir()).stat().st_mtime_ns == stamp
    Corpus(MIXED, BiasedSampling(2.0), BLOCK + 1_000, 3).memory_mapped(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "another way to sample is another corpus"
    assert not np.array_equal(Corpus(MIXED, IndependentSampling(), 100, 4).rows(), rows[:100])


def test_samples_that_cannot_be_kept_are_an_error_and_leave_nothing(tmp_path, monkeypatch):
    corpus = Corpus(MIXED, IndependentSampling(), 100, 3)
    kept = corpus.memory_mapped(tmp_path / "kept")
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 1
    (tmp_path / "file").touch()
    with pytest.raises(HypergraphError, match="cannot be kept in '.*file'.*cache_dir"):
        corpus.memory_mapped(tmp_path / "file")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(HypergraphError, match="No space left"):
        corpus.memory_mapped(tmp_path / "full")
    assert list((tmp_path / "full").iterdir()) == []
    assert np.array_equal(corpus.memory_mapped(tmp_path / "kept"), kept)


def test_counting_is_the_same_in_parts(monkeypatch):
    rows = Corpus(MIXED, IndependentSampling(), 5_000, 0).rows()
    whole = counted(rows, 12)
    monkeypatch.setattr("relbench_pretrain.hypergraph.corpus.corpus.BLOCK", 10)
    parts = counted(rows, 12)
    assert np.array_equal(whole[0].edges, parts[0].edges) and np.array_equal(whole[1], parts[1])
    assert whole[1].sum() == 5_000


def test_masks_hit_as_many_nodes_as_they_say():
    rows = Corpus(MIXED, IndependentSampling(), 20_000, 0).rows()
    numbers, arity = np.arange(len(rows)), (rows >= 0).sum(1)
    rng = np.random.default_rng(0)

    def masked(masking):
        masking.begin(np.bincount(rows[rows >= 0], minlength=12))
        sample, hit = masking.mask(rows, numbers, rng)
        assert not (hit & (rows[sample] < 0)).any(), "a mask where there is no node"
        return sample, hit

    for masking in (OneNode(), OneNode(fixed=True), ByFrequency(-1.0)):
        sample, hit = masked(masking)
        assert np.array_equal(sample, numbers) and (hit.sum(1) == 1).all()
    place = masked(OneNode(fixed=True))[1].argmax(1)
    assert np.array_equal(place, masked(OneNode(fixed=True))[1].argmax(1))
    assert not np.array_equal(place, masked(OneNode(fixed=True, seed=1))[1].argmax(1))
    assert np.bincount(place[arity == 3]) / (arity == 3).sum() == pytest.approx([1 / 3] * 3, abs=0.02)
    sample, hit = masked(EveryNode())
    assert np.array_equal(np.bincount(sample), arity) and len(np.unique(np.c_[sample, hit], axis=0)) == arity.sum()
    assert np.array_equal(masked(SeveralNodes(2))[1].sum(1), np.minimum(arity, 2))
    assert np.array_equal(masked(WholeHyperedge())[1].sum(1), arity)
    sample, hit = masked(CompositeMasking([EveryNode(), WholeHyperedge()]))
    assert len(sample) == arity.sum() + len(rows)
    assert (
        not CompositeMasking([EveryNode()]).depends_on_epoch
        and CompositeMasking([EveryNode(), OneNode()]).depends_on_epoch
    )


def test_masking_by_frequency_prefers_the_rare():
    graph = Star(11).make()
    rows = Corpus(graph, IndependentSampling(), 20_000, 0).rows()
    masking = ByFrequency(-1.0)
    masking.begin(np.bincount(rows.reshape(-1), minlength=11))
    _, hit = masking.mask(rows, np.arange(len(rows)), np.random.default_rng(0))
    # node 0 comes ten times as often as a leaf, so a leaf is masked in ten of eleven cases
    assert (rows[hit] > 0).mean() == pytest.approx(10 / 11, abs=0.01)


@pytest.mark.parametrize("keep_order", [True, False])
@pytest.mark.parametrize("masking", [OneNode(fixed=True), EveryNode(), SeveralNodes(2), WholeHyperedge()])
def test_merged_batches_hold_the_same_sequences_and_targets(keep_order, masking):
    rows = Corpus(MIXED, IndependentSampling(), 500, 0).rows()

    def triples(merge):
        batch = masked_batch(rows, np.arange(500), 12, masking, np.random.default_rng(1), keep_order, merge)
        sequences = [tuple(row) for row in batch.tokens.tolist()]
        found: dict = {}
        for place, node, count in zip(batch.masked.tolist(), batch.node.tolist(), batch.times.tolist(), strict=True):
            key = (sequences[batch.row[place]], int(batch.column[place]), node)
            found[key] = found.get(key, 0) + count
            assert batch.tokens[batch.row[place], batch.column[place]] == Specials.after(12).mask
        return found, len(sequences)

    plain, number = triples(merge=False)
    merged, fewer = triples(merge=True)
    assert plain == merged and fewer < number


def test_sequences_begin_and_end_and_are_filled_up():
    rows = np.array([[3, 1, -1], [0, 2, 1]])
    batch = masked_batch(rows, np.arange(2), 5, EveryNode(), np.random.default_rng(0), keep_order=True, merge=False)
    pad, cls, sep, mask = Specials.after(5)
    assert batch.tokens.tolist() == [
        [cls, mask, 1, sep, pad], [cls, 3, mask, sep, pad],
        [cls, mask, 2, 1, sep], [cls, 0, mask, 1, sep], [cls, 0, 2, mask, sep],
    ]  # fmt: skip
    assert batch.node.tolist() == [3, 1, 0, 2, 1] and batch.column.tolist() == [1, 2, 1, 2, 3]
    tidy = masked_batch(rows, np.arange(2), 5, EveryNode(), np.random.default_rng(0), merge=False)
    assert tidy.tokens[2:].tolist() == [[cls, 1, 2, mask, sep], [cls, 0, 1, mask, sep], [cls, 0, 2, mask, sep]]


@pytest.mark.parametrize("world", [1, 3])
def test_every_pass_has_every_sample_once_over_all_processes(world):
    rows = np.stack([np.arange(1_001), np.arange(1_001) + 1], axis=1).astype(np.int32)
    batches = MaskedBatches(rows, 1_002, OneNode(), 100, 0, keep_order=True, merge=False, world_size=world)
    number = len(batches) // world
    orders = []
    for epoch in (0, 1):
        seen = []
        sizes = []
        for rank in range(world):
            sampler = PassBatches(len(batches.rows), 100, rank, world)
            sampler.begin(epoch)
            assert len(list(sampler)) == number
            for i in sampler:
                tokens = batches[i].tokens[:, 1:3]
                shown = torch.where(tokens == Specials.after(1_002).mask, -1, tokens)
                first = torch.where(shown[:, 0] >= 0, shown[:, 0], shown[:, 1] - 1)
                seen += first.tolist()
                sizes.append(len(tokens))
        assert sorted(seen) == list(range(1_001)) and max(sizes) - min(sizes) <= 1 and max(sizes) <= 100
        orders.append(seen)
    assert orders[0] != orders[1]


def test_all_samples_in_one_batch_are_masked_once_for_all():
    rows = Corpus(MIXED, IndependentSampling(), 3_000, 0).rows()
    batches = MaskedBatches(rows, 12, EveryNode(), 3_000, 0)
    direct = masked_batch(rows, np.arange(3_000), 12, EveryNode(), np.random.default_rng(0))
    for one, other in zip(batches[0], direct, strict=True):
        assert torch.equal(one, other)
    assert batches[7] is batches[0]
    halves = MaskedBatches(rows, 12, EveryNode(), 3_000, 0, world_size=2)
    assert len(halves) == 2 and halves[4] is halves[0] and halves[5] is halves[1]
    assert halves[0].times.sum() + halves[1].times.sum() == direct.times.sum()
    assert not MaskedBatches(rows, 12, OneNode(), 3_000, 0).constant
    fixed = MaskedBatches(rows, 12, OneNode(fixed=True), 3_000, 0)
    assert fixed.constant and fixed[0].times.sum() == 3_000


def test_fresh_batches_never_come_again():
    corpus = Corpus(MIXED, IndependentSampling(), 1_000, 0)
    batches = FreshBatches(corpus, EveryNode(), 100, 0)
    assert len(batches) == 10
    one, other = (
        torch.cat([batch.masked * 12 + batch.node, batch.times.long()]) for batch in (batches[0], batches[10])
    )
    assert one.shape != other.shape or not torch.equal(one, other)
    assert all(torch.equal(a, b) for a, b in zip(batches[3], batches[3], strict=True))


def test_fresh_samples_drift_over_a_pass_and_not_over_a_batch():
    batches = FreshBatches(Corpus(MIXED, DriftingSampling(1.0), 400_000, 0), WholeHyperedge(), 40_000, 0)
    truth = np.bincount(MIXED.edges[MIXED.edges >= 0], MIXED.weights.repeat(MIXED.arity), minlength=12)

    def error(batch):
        share = np.bincount(batch.node.numpy(), batch.times.numpy(), minlength=12) / 40_000
        return np.abs(share - truth).sum()

    assert error(batches[0]) > 3 * error(batches[9]) and error(batches[25]) < 2 * error(batches[9]) + 0.02


def test_permutation_has_every_number_once():
    for size in (1, 2, 30, 97, 1_000):
        assert sorted(permuted(np.arange(size), size, np.random.default_rng(size))) == list(range(size))
    large = permuted(np.arange(5), 2**40, np.random.default_rng(0))
    assert len(set(large)) == 5 and large.max() < 2**40


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CorrelatedSampling(1.0), "correlation must be"),
        (lambda: DriftingSampling(1.5), "amount must be"),
        (lambda: NoisySampling(-0.1), "rate must be"),
        (lambda: SeveralNodes(0), "at least one node"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(HypergraphError, match=message):
        make()


def test_connected_graph_is_sampled_whole():
    graph = ConnectedRandomGraph(10).make()
    found, _ = counted(Corpus(graph, IndependentSampling(), 20_000, 0).rows(), 10)
    assert np.array_equal(found.edges, graph.edges)
