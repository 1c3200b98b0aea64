"""Tensors in one array: equal to what they were, and copied no more than once."""

import pytest
import torch

from relbench_pretrain.relational.flat import flatten, unflatten


def parts():
    return {"a": torch.arange(6).view(3, 2), "none": torch.empty(0, 3, dtype=torch.int64), "b": torch.arange(4)}


def test_values_and_shapes_stay_and_parts_become_views():
    joined, before = parts(), parts()
    flat = flatten(joined, list(joined))
    assert flat.tolist() == [*range(6), *range(4)]
    assert all(torch.equal(joined[name], before[name]) for name in before)
    flat[0], flat[6] = 9, 8
    assert joined["a"][0, 0] == 9 and joined["b"][0] == 8


def test_views_are_joined_without_a_copy():
    joined = parts()
    first = flatten(joined, list(joined))
    assert flatten(joined, list(joined)).data_ptr() == first.data_ptr()
    shapes = {name: part.shape for name, part in joined.items()}
    inner = unflatten(torch.arange(20)[5:15], shapes)
    assert flatten(inner, list(inner)).tolist() == list(range(5, 15))


@pytest.mark.parametrize("change", ["order", "gap", "strides"])
def test_what_lies_otherwise_is_copied(change):
    joined = parts()
    flatten(joined, list(joined))
    names = list(joined)
    if change == "order":
        names = names[::-1]
    elif change == "gap":
        joined["b"] = joined["b"][1:]
    else:
        joined["a"] = joined["a"].t()
    expected = [value for name in names for value in joined[name].reshape(-1).tolist()]
    assert flatten(joined, names).tolist() == expected


def test_no_parts_and_wrong_sizes():
    assert flatten({}, []).tolist() == []
    with pytest.raises(RuntimeError):
        unflatten(torch.arange(5), {"a": (2, 2)})
