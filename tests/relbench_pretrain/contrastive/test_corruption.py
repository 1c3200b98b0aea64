"""Corruption: which cells, by what, and what must not change."""

import copy
import math
import pickle

import pytest
import torch
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiEmbeddingTensor, MultiNestedTensor

from relbench_pretrain.contrastive.corruption import Corruption

COLUMNS = {
    stype.numerical: ["price", "size", "blank"],
    stype.categorical: ["colour"],
    stype.timestamp: ["made", "sold"],
    stype.embedding: ["title", "text"],
    stype.multicategorical: ["tags", "none"],
}


def vectors(first, second):
    return MultiEmbeddingTensor.from_tensor_list([first, second])


def lists(*columns):
    return MultiNestedTensor.from_tensor_mat(
        [[torch.tensor(c, dtype=torch.int64) for c in row] for row in zip(*columns, strict=True)]
    )


def frame(n, offset=0, missing=True):
    """A frame whose values tell their row; ``offset`` makes the values of two frames different."""
    row = torch.arange(n) + offset
    tags = [[i, i + 1] if i % 2 else [i] for i in row.tolist()]
    number = torch.stack([row, row + 0.5, torch.full((n,), math.nan)], 1)
    time = torch.stack([row.view(-1, 1) * 10 + torch.arange(7), row.view(-1, 1) * 10 + torch.arange(7) + 5], 1)
    text = vectors(row.view(-1, 1) + torch.arange(3.0) / 8, row.view(-1, 1) + torch.arange(2.0) / 4)
    category = row.view(-1, 1).clone()
    if missing and n:
        number[0], category[0], time[0], text.values[0], tags[0] = math.nan, -1, -1, math.nan, [-1]
    cells = [number, category, time, text, lists(tags, [[-1]] * n) if n else lists([[0]], [[0]])[:0]]
    return TensorFrame(dict(zip(COLUMNS, cells, strict=True)), COLUMNS, y=row)


def cells(tensor_frame):
    """Returns by column a list of the cells, as tuples."""
    result = {}
    for kind, names in tensor_frame.col_names_dict.items():
        for k, name in enumerate(names):
            feat = tensor_frame.feat_dict[kind]
            result[name] = [tuple(feat[i, k].reshape(-1).tolist()) for i in range(len(tensor_frame))]
    return result


def same(first, second):
    return str(cells(first)) == str(cells(second))  # as text, where a NaN equals a NaN


@pytest.fixture(scope="module")
def fitted():
    return Corruption(1.0).fit({"items": frame(30)})


def test_nothing_is_replaced_with_probability_0():
    frames = {"items": frame(30)}
    result = Corruption(0.0).fit(frames)(frames, seed=1)
    assert same(result["items"], frames["items"])
    assert result["items"] is not frames["items"]


def test_everything_is_drawn_with_probability_1(fitted):
    """The rows at hand share no value with the training rows, so every cell must come from those."""
    pool, drawn = cells(frame(30)), cells(fitted({"items": frame(600, offset=1000)}, seed=1)["items"])
    for name in set(pool) - {"blank", "none"}:
        assert set(drawn[name]) == set(pool[name][1:]), name  # all values but the missing one of row 0


def test_a_column_without_values_stays(fitted):
    drawn = cells(fitted({"items": frame(5, offset=1000)}, seed=1)["items"])
    assert all(math.isnan(value) for (value,) in drawn["blank"])
    assert drawn["none"] == [(-1,)] * 5


def test_missing_cells_are_replaced_too(fitted):
    drawn = cells(fitted({"items": frame(1)}, seed=0)["items"])
    assert all(cell not in ((-1,), (-1,) * 7) and not math.isnan(cell[0]) for n, cell in
               ((n, c[0]) for n, c in drawn.items()) if n not in ("blank", "none"))  # fmt: skip


def test_each_cell_is_replaced_independently():
    """Over many rows, the shares and the pairwise products of the columns' masks are those of independent cells."""
    probability, n = 0.4, 20_000
    corruption = Corruption(probability).fit({"t": frame(30)})
    drawn = cells(corruption({"t": frame(n, offset=1000, missing=False)}, seed=5)["t"])
    names = [name for name in drawn if name not in ("blank", "none")]
    replaced = torch.tensor([[min(cell) < 900 for cell in drawn[name]] for name in names]).double()
    tolerance = 4.5 * math.sqrt(probability * (1 - probability) / n)
    assert (replaced.mean(1) - probability).abs().max() < tolerance
    centred = replaced - probability
    correlation = centred @ centred.T / n / (probability * (1 - probability))
    assert (correlation - torch.eye(len(names))).abs().max() < 4.5 / math.sqrt(n)
    along_rows = (centred[:, 1:] * centred[:, :-1]).mean(1) / (probability * (1 - probability))
    assert along_rows.abs().max() < 4.5 / math.sqrt(n)


@pytest.mark.parametrize("probability", [0.4, 1.0])
def test_replacements_are_uniform_over_distinct_values(probability):
    """A value that a thousand rows have is drawn as often as one that a single row has, and so is the last one."""
    training = torch.cat([torch.zeros(1000), torch.arange(1.0, 8)]).view(-1, 1)
    n, names = 40_000, {stype.numerical: ["a"]}
    corruption = Corruption(probability).fit({"t": TensorFrame({stype.numerical: training}, names)})
    drawn = corruption({"t": TensorFrame({stype.numerical: torch.full((n, 1), -5.0)}, names)}, seed=2)["t"]
    values = drawn.feat_dict[stype.numerical].flatten()
    counts = torch.bincount(values[values >= 0].long(), minlength=8).double()
    expected = n * probability / 8
    assert ((counts - expected).abs() < 4.5 * math.sqrt(expected)).all()


@pytest.mark.parametrize(("limit", "kept"), [(1, {3}), (2, {3, 7}), (3, {3, 7, 9}), (9, {3, 7, 9, 1})])
def test_the_most_frequent_values_are_kept(limit, kept):
    """3 comes three times, 7 twice; of 9 and 1 the first one counts more."""
    column = torch.tensor([9, 3, 7, 3, 1, 3, 7, -1, -1, -1, -1])
    frames = {
        "codes": TensorFrame({stype.categorical: column.view(-1, 1)}, {stype.categorical: ["a"]}),
        "texts": TensorFrame(
            {stype.embedding: vectors(*[torch.where(column < 0, math.nan, column.float()).view(-1, 1)] * 2)},
            {stype.embedding: ["a", "b"]},
        ),
        "sets": TensorFrame(
            {stype.multicategorical: lists([[v] for v in column.tolist()])}, {stype.multicategorical: ["a"]}
        ),
    }
    many = {name: f[torch.zeros(60, dtype=torch.int64)] for name, f in frames.items()}
    for corrupted in Corruption(1.0, max_values=limit).fit(frames)(many, seed=3).values():
        assert {cell[0] for cell in cells(corrupted)["a"]} == kept


def test_the_frames_stay_as_they_are(fitted):
    given = frame(20, offset=1000)
    before = copy.deepcopy(given)
    result = fitted({"items": given}, seed=4)["items"]
    assert same(given, before)
    assert not same(result, before)
    assert torch.equal(result.y, given.y)
    assert result.col_names_dict == given.col_names_dict


def test_the_seed_decides():
    corruption = Corruption(0.5).fit({"a": frame(30), "b": frame(20)})
    frames = {"a": frame(15), "b": frame(12)}
    first, again = corruption(frames, seed=7), corruption(dict(reversed(frames.items())), seed=7)
    by_generator = corruption(frames, torch.Generator().manual_seed(7))
    other = corruption(frames, seed=8)
    assert list(again) == ["b", "a"]
    for name in frames:
        assert same(first[name], again[name])
        assert same(first[name], by_generator[name])
        assert not same(first[name], other[name])


def test_two_tables_have_their_own_draws():
    corruption = Corruption(0.5).fit({"a": frame(30), "b": frame(30)})
    result = corruption({"a": frame(15), "b": frame(12)}, seed=7)
    assert not same(result["a"][:12], result["b"])


def test_it_travels_to_the_workers_of_a_loader(fitted):
    given = {"items": frame(10)}
    assert same(pickle.loads(pickle.dumps(fitted))(given, 1)["items"], fitted(given, 1)["items"])


def test_frames_without_rows():
    corruption = Corruption(1.0).fit({"t": frame(5), "u": frame(5), "nothing": frame(0), "sliced": frame(5)[:0]})
    empty, full = frame(5)[torch.zeros(0, dtype=torch.int64)], frame(4, missing=False)
    result = corruption({"t": empty, "u": frame(5)[:0], "nothing": full, "sliced": full}, seed=0)
    assert len(result["t"]) == len(result["u"]) == 0
    assert same(result["nothing"], full)  # fit saw no value, so there is none to draw
    assert same(result["sliced"], full)


@pytest.mark.parametrize("probability", [-0.1, 1.1, math.nan])
def test_bad_probability(probability):
    with pytest.raises(ValueError, match="from 0 to 1"):
        Corruption(probability)


def test_what_was_not_fitted(fitted):
    with pytest.raises(ValueError, match="max_values is 0"):
        Corruption(0.5, max_values=0)
    with pytest.raises(ValueError, match=r"\['orders'\] were not fitted"):
        fitted({"orders": frame(3)}, seed=0)
    number = {stype.numerical: torch.zeros(3, 1)}
    with pytest.raises(ValueError, match="columns"):
        fitted({"items": TensorFrame(number, {stype.numerical: ["price"]})}, seed=0)
    sequence = TensorFrame({stype.sequence_numerical: lists([[1]])}, {stype.sequence_numerical: ["s"]})
    with pytest.raises(ValueError, match=r"'items'.*sequence_numerical"):
        Corruption().fit({"items": sequence})


def test_lists_are_sets():
    """PyTorch Frame writes a set down in any order; an empty one is a value."""
    column = lists([[1, 2], [2, 1], [1], [], [2], [1, 2], [3, 0], [2, 2]])
    training = TensorFrame({stype.multicategorical: column}, {stype.multicategorical: ["a"]})
    drawn = cells(
        Corruption(1.0).fit({"t": training})({"t": training[torch.zeros(200, dtype=torch.int64)]}, seed=0)["t"]
    )
    assert set(drawn["a"]) == {(1, 2), (1,), (), (2,), (3, 0), (2, 2)}
