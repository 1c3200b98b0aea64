"""Rows that look the same get the same number."""

import numpy as np
import pandas as pd
import torch
from torch_frame import TensorFrame, stype
from torch_frame.data import MultiEmbeddingTensor, MultiNestedTensor

from relbench_pretrain.relational.columns import encode_table, fit_column
from relbench_pretrain.relational.graph import number_duplicates
from relbench_pretrain.relational.schema import TableSchema
from relbench_pretrain.relational.stypes import infer_stype
from relbench_pretrain.relational.text import HashTextEmbedder

NO_KEYS = np.empty((4, 0))


def number(columns: dict, parent=NO_KEYS) -> list[int]:
    df, embedder = pd.DataFrame(columns), HashTextEmbedder(8)
    kinds = {name: stype.text_embedded if name == "text" else infer_stype(name, df[name]) for name in df}
    table = TableSchema({name: fit_column(name, df[name], kind, embedder) for name, kind in kinds.items()})
    frame = encode_table("table", df, table, embedder)
    return number_duplicates(frame, torch.as_tensor(parent, dtype=torch.int64)).tolist()


def test_every_type_counts():
    same = {
        "number": [1.0, 1.0, 1.0, 2.0],
        "kind": ["a", "a", "a", "b"],
        "time": pd.to_datetime(["2020-01-01", "2020-01-01", "2020-01-01", "2021-01-01"]),
        "tags": [["x", "y"], ["y", "x"], ["y", "x", "x"], ["x"]],
        "vector": [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [2.0, 1.0]],
        "text": ["a red chair", "a red chair", "a red chair", "a blue lamp"],
    }
    for name, values in same.items():
        assert number({name: values}) == [0, 0, 0, 1], name
    others = {name: [values[0]] * 4 for name, values in same.items()}
    for name, values in same.items():
        assert number({**others, name: values}) == [0, 0, 0, 1], name
    assert number(others) == [0, 0, 0, 0]


def test_missing_values_are_equal_to_each_other():
    assert number({"number": [np.nan, None, 0.0, -0.0]}) == [0, 0, 1, 1]
    assert number({"kind": [None, np.nan, "a", "a"]}) == [0, 0, 1, 1]
    assert number({"tags": [None, np.nan, [], ["x"]]}) == [0, 0, 1, 2]
    assert number({"time": pd.to_datetime([None, "NaT", "2020", "2020"])}) == [0, 0, 1, 1]


def test_keys_count():
    columns = {"number": [1.0] * 4}
    assert number(columns, [[0, 1], [0, 1], [1, 0], [-1, -1]]) == [0, 0, 1, 2]


def test_numbers_are_in_order_of_the_first_row():
    assert number({"number": [5.0, 3.0, 5.0, 1.0]}) == [0, 1, 0, 2]


def test_swapped_values_are_no_duplicates():
    assert number({"a": [1.0, 2.0, 1.0, 2.0], "b": [2.0, 1.0, 2.0, 1.0]}) == [0, 1, 0, 1]
    assert number({"a": [["x"], [], ["x"], []], "b": [[], ["x"], [], ["x"]]}) == [0, 1, 0, 1]


def test_values_that_differ_only_beyond_float32_look_the_same():
    assert number({"number": [1.0, 1.0 + 1e-12, 2.0, 2.0]}) == [0, 0, 1, 1]


def test_many_rows_against_pandas():
    rng = np.random.default_rng(0)
    num_rows = 50_000
    numbers = torch.from_numpy(rng.integers(0, 20, (num_rows, 2)).astype(np.float32))
    codes = torch.from_numpy(rng.integers(-1, 10, (num_rows, 2)))
    vectors = torch.from_numpy(rng.integers(0, 3, (num_rows, 3)).astype(np.float32))
    parent = torch.from_numpy(rng.integers(-1, 5, (num_rows, 1)))
    frame = TensorFrame(
        {
            stype.numerical: numbers,
            stype.categorical: codes,
            stype.embedding: MultiEmbeddingTensor(num_rows, 2, vectors, torch.tensor([0, 1, 3])),
        },
        {stype.numerical: ["a", "b"], stype.categorical: ["c", "d"], stype.embedding: ["e", "f"]},
    )
    values = pd.DataFrame(torch.cat([numbers, codes, vectors, parent], dim=1).numpy())
    expected = values.groupby(list(values), sort=False).ngroup().to_numpy()
    np.testing.assert_array_equal(number_duplicates(frame, parent), expected)


def test_no_rows():
    frame = TensorFrame(
        {
            stype.numerical: torch.empty(0, 1),
            stype.timestamp: torch.empty(0, 1, 7, dtype=torch.int64),
            stype.multicategorical: MultiNestedTensor(0, 2, torch.empty(0, dtype=torch.int64), torch.tensor([0])),
            stype.embedding: MultiEmbeddingTensor(0, 1, torch.empty(0, 3), torch.tensor([0, 3])),
        },
        {stype.numerical: ["a"], stype.timestamp: ["b"], stype.multicategorical: ["c", "d"], stype.embedding: ["e"]},
    )
    assert number_duplicates(frame, torch.empty(0, 2, dtype=torch.int64)).shape == (0,)
