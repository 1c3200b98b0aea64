"""The flat arrays hold the database, no more and no less."""

import numpy as np
import pytest
import torch
from relbench.base import Database, Table

from relbench_pretrain.sampling import GraphIndex, HGSampler


def test_parents_are_those_of_the_rows(shop):
    flat, index = shop.index.flat, shop.index
    for t, table in enumerate(index.node_types):
        names = list(index.graph.schema.tables[table].foreign_keys)
        for row in range(shop.num_rows(table)):
            found = {}
            for j, column in enumerate(names):
                parent = flat.parent[flat.parent_base[t] + row * len(names) + j]
                key = flat.first_key[t] + j
                assert flat.key_child[key] == t
                if parent >= 0:
                    found[column] = (index.node_types[flat.key_parent[key]], parent)
            assert found == {column: (parent, number) for column, parent, number in shop.parents(table, row)}


def test_child_rows_are_those_that_name_the_row_in_row_order(shop):
    flat, keys = shop.index.flat, shop.index.graph.schema.foreign_keys
    for k, key in enumerate(keys):
        for row in range(shop.num_rows(key.parent)):
            at = flat.child_offset_base[k] + row
            begin, end = flat.child_row_base[k] + flat.child_offset[at : at + 2]
            assert flat.child_row[begin:end].tolist() == shop.children(key.parent, row)[key.child, key.column]


def test_referring_keys_are_the_foreign_keys_turned_round(shop):
    flat, keys = shop.index.flat, shop.index.graph.schema.foreign_keys
    for t, table in enumerate(shop.index.node_types):
        referring = flat.referring_key[flat.referring_offset[t] : flat.referring_offset[t + 1]]
        assert [keys[k] for k in referring] == [key for key in keys if key.parent == table]


def test_graph_holds_views_of_the_flat_arrays(shop):
    graph, flat = shop.index.graph, shop.index.flat
    begin, end = flat.time.ctypes.data, flat.time.ctypes.data + flat.time.nbytes
    assert all(begin <= time.data_ptr() < end for time in graph.time.values() if len(time))
    begin, end = flat.child_row.ctypes.data, flat.child_row.ctypes.data + flat.child_row.nbytes
    assert all(begin <= rows.data_ptr() < end for rows in graph.child_row.values() if len(rows))
    assert graph.parent["orders"].shape == (shop.num_rows("orders"), 3)


def test_graph_that_lies_flat_is_not_copied(shop):
    again = GraphIndex.from_graph(shop.index.graph).flat
    for name in ("time", "parent", "child_offset", "child_row"):
        assert getattr(again, name).ctypes.data == getattr(shop.index.flat, name).ctypes.data
        assert np.array_equal(getattr(again, name), getattr(shop.index.flat, name))


def test_visible_rows_count_rows_up_to_the_limit(shop):
    limits = np.array([-1, 0, 86_400 * 7, 86_400 * 7 - 1, shop.end])
    visible = shop.index.visible_rows(limits)
    for limit, counts in zip(limits, visible, strict=True):
        for table, count in zip(shop.index.node_types, counts, strict=True):
            assert count == sum(shop.visible(table, row, limit) for row in range(shop.num_rows(table)))


def test_database_without_foreign_keys(shop, shop_of, read):
    df = shop.db.table_dict["items"].df
    alone = shop_of(Database({"items": Table(df, {}, "id", None)}))
    sample = read(HGSampler(alone.index).sample_from_nodes(alone.inputs("items", [3, 1], 0)))
    assert sample.rows == {"items": [3, 1]}
    assert sample.edges == {}


def test_edges_are_no_seeds(shop):
    with pytest.raises(TypeError, match="HGSampler starts from rows"):
        HGSampler(shop.index).sample_from_edges(torch.tensor([0]))
