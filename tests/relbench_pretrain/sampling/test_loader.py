"""Batches: what they hold, that workers and order do not matter, and that later rows leave no trace."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from relbench.base import Database, Table
from torch_geometric.sampler import NodeSamplerInput

from relbench_pretrain.relational.database import open_dataset
from relbench_pretrain.relational.graph import build_graph, fit_schema
from relbench_pretrain.relational.tasks import load_task, task_table
from relbench_pretrain.sampling import (
    ANY_TABLE,
    DeviceHGSampler,
    DeviceLoader,
    GraphIndex,
    HGSampler,
    RelationalLoader,
    SeedRows,
    SeedSampler,
    TemporalNeighborSampler,
)

CUT = 20 * 86_400
REAL_DATA = Path(__file__).parents[4] / "shared" / "data" / "rel-f1"


def pretraining_loader(shop, num_batches=4, seed=0, **options):
    """Type-balanced subgraphs around rows of all tables, each with its own time as its limit."""
    seeds = SeedRows.between(shop.index, None, CUT)
    order = options.pop("batch_sampler", None) or SeedSampler(seeds, 12, num_batches=num_batches, seed=7)
    sampler = HGSampler(shop.index, 5, 3, max_children=4, seed=seed)
    return RelationalLoader(
        shop.index.graph, sampler, (ANY_TABLE, seeds.rows), seeds.time, batch_sampler=order, **options
    )


def task_loader(shop, strategy="uniform", seed=0, **options):
    """Neighbours of users at some times before the cut."""
    rng = np.random.default_rng(1)
    visible = sum(shop.visible("users", row, CUT // 2) for row in range(shop.num_rows("users")))
    users = torch.from_numpy(rng.integers(visible, size=30))
    times = torch.from_numpy(rng.integers(CUT // 2, CUT + 1, size=30))
    sampler = TemporalNeighborSampler(shop.index, [3, 2], strategy, follow=2, seed=seed)
    return RelationalLoader(shop.index.graph, sampler, ("users", users), times, batch_size=8, **options)


def device_loader(shop, seed=0, **options):
    """The same seeds with the sampler of tensors."""
    seeds = SeedRows.between(shop.index, None, CUT)
    sampler = DeviceHGSampler(shop.index, 5, 3, max_children=4, seed=seed, device="cpu")
    order = SeedSampler(seeds, 12, num_batches=4, seed=7)
    return DeviceLoader(sampler, (ANY_TABLE, seeds.rows), seeds.time, order, **options)


MAKERS = {
    "hgsampling": pretraining_loader,
    "uniform": task_loader,
    "last": lambda shop, **options: task_loader(shop, "last", **options),
    "device": device_loader,
}


@pytest.mark.parametrize("name", MAKERS)
def test_batches_hold_the_rows_as_they_are_in_the_graph(shop, feature_parts, name):
    graph = shop.index.graph
    for batch in MAKERS[name](shop):
        assert set(batch.node_types) == set(graph.schema.node_types)
        for table in batch.node_types:
            store, rows = batch[table], batch[table].n_id
            assert store.num_nodes == len(rows) == len(store.age) == store.tf.num_rows
            for kind, feature in store.tf.feat_dict.items():
                expected = graph.frames[table].feat_dict[kind][rows]
                assert len(feature) == len(rows)
                assert all(map(torch.equal, feature_parts(feature), feature_parts(expected)))
            assert torch.equal(store.parent_id, graph.parent[table][rows])
            assert torch.equal(store.duplicate, graph.duplicate[table][rows])
            assert ("time" in store) == (graph.schema.tables[table].time_column is not None)
            assert "time" not in store or torch.equal(store.time, graph.time[table][rows])
            assert ("batch" in store) == (name in ("uniform", "last"))
        for edge_type in graph.schema.edge_types:
            store, (source, relation, target) = batch[edge_type], edge_type
            assert store.rank.shape == store.age.shape == store.edge_index.shape[1:]
            child, parent = (source, target) if relation.startswith("f2p_") else (target, source)
            ends = store.edge_index if child == source and relation.startswith("f2p_") else store.edge_index.flip(0)
            column = list(graph.schema.tables[child].foreign_keys).index(relation.removeprefix("rev_")[4:])
            assert torch.equal(batch[child].parent_id[ends[0], column], batch[parent].n_id[ends[1]])


def test_batches_of_one_table_know_their_seeds(shop):
    loader = task_loader(shop)
    seen = 0
    for batch in loader:
        size = batch["users"].batch_size
        ids = batch["users"].input_id
        assert ids.tolist() == list(range(seen, seen + size))
        assert torch.equal(batch["users"].n_id[:size], loader.input_data.node[ids])
        assert torch.equal(batch["users"].batch[:size], torch.arange(size))
        assert torch.equal(batch["users"].seed_time, loader.input_data.time[ids])
        seen += size
    assert seen == 30


def test_batches_of_any_table_have_no_seed_table(shop):
    for batch in pretraining_loader(shop):
        assert not any("batch_size" in batch[table] for table in batch.node_types)


@pytest.mark.parametrize("name", ["hgsampling", "uniform", "last"])
def test_workers_make_the_same_batches(shop, same_batch, name):
    alone = list(MAKERS[name](shop))
    for num_workers in (1, 2):
        batches = list(MAKERS[name](shop, num_workers=num_workers))
        assert len(batches) == len(alone)
        assert all(same_batch(one, other) for one, other in zip(alone, batches, strict=True))
        assert [batch.random_seed for batch in batches] == [batch.random_seed for batch in alone]


@pytest.mark.parametrize("name", MAKERS)
def test_a_batch_does_not_depend_on_those_before_it(shop, same_batch, name):
    loader = MAKERS[name](shop)
    order = [list(seeds) for seeds in loader.batch_sampler]
    forwards = [loader(seeds) for seeds in order]
    backwards = [loader(seeds) for seeds in order[::-1]][::-1]
    assert all(same_batch(one, other) for one, other in zip(forwards, backwards, strict=True))
    assert not same_batch(forwards[0], forwards[1])


@pytest.mark.parametrize("name", ["hgsampling", "uniform", "device"])
def test_another_seed_makes_other_batches(shop, same_batch, name):
    first, again, other = (list(MAKERS[name](shop, seed=seed)) for seed in (1, 1, 2))
    assert all(same_batch(one, two) for one, two in zip(first, again, strict=True))
    assert not any(same_batch(one, two) for one, two in zip(first, other, strict=True))
    seeds = {batch.random_seed for batch in (*first, *other)}
    assert len(seeds) == len(first) + len(other)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_transform_sees_the_whole_batch(shop, num_workers):
    def transform(batch):
        batch["users"].number = batch["users"].tf.num_rows + batch.random_seed % 2
        return batch

    for batch in pretraining_loader(shop, transform=transform, num_workers=num_workers):
        assert batch["users"].number == batch["users"].num_nodes + batch.random_seed % 2


def changed(db, how):
    """The database with other rows after the cut, and the same rows up to it."""
    rng, tables = np.random.default_rng(5), {}
    late = {
        n: (t.df[t.time_col] > pd.Timestamp(CUT, unit="s")).to_numpy() for n, t in db.table_dict.items() if t.time_col
    }
    for name, table in db.table_dict.items():
        df = table.df.copy()
        rows = np.flatnonzero(late[name]) if name in late else np.empty(0, dtype=int)
        if how == "values":
            df.loc[rows, "value"] = rng.normal(size=len(rows)) * 100
            df.loc[rows, "kind"] = "b"
            if "note" in df:
                df.loc[rows, "note"] = "other words"
        elif how == "keys":
            for column, parent in table.fkey_col_to_pkey_table.items():
                df.loc[rows, column] = rng.integers(len(db.table_dict[parent].df), size=len(rows))
        elif how == "deleted":
            df = df.drop(index=rows)
        elif how == "added" and name in late:
            more = df.sample(3 * len(rows) + 20, replace=True, random_state=1) if len(df) else df
            more = more.assign(
                time=pd.Timestamp(CUT, unit="s") + pd.to_timedelta(rng.integers(1, 10**7, len(more)), "s")
            )
            df = pd.concat([df[~late[name]], df[late[name]], more]).sort_values(
                "time", kind="stable", ignore_index=True
            )
            df["id"] = np.arange(len(df))
        tables[name] = Table(df, table.fkey_col_to_pkey_table, table.pkey_col, table.time_col)
    return Database(tables)


@pytest.mark.parametrize("how", ["values", "keys", "deleted", "added"])
@pytest.mark.parametrize("name", MAKERS)
def test_later_rows_leave_no_trace(make_db, shop_of, fit, same_batch, name, how):
    """Whatever happens after the latest limit, every batch stays the same bit for bit."""
    db = make_db(seed=3, causal=how == "deleted")  # a key that names a deleted row would have changed, too
    schema = fit(db, CUT)
    other = changed(db, how)
    assert any(
        len(t.df) != len(db.table_dict[n].df) or not t.df.equals(db.table_dict[n].df)
        for n, t in other.table_dict.items()
    )
    before, after = (list(MAKERS[name](shop_of(d, schema))) for d in (db, other))
    assert sum(batch.num_nodes for batch in before) > 200
    assert all(same_batch(one, two) for one, two in zip(before, after, strict=True))
    # The test can tell: a change of the rows before the cut is seen.
    values = {
        n: Table(t.df.assign(value=t.df["value"] + 1), t.fkey_col_to_pkey_table, "id", t.time_col)
        for n, t in db.table_dict.items()
    }
    assert not same_batch(before[0], next(iter(MAKERS[name](shop_of(Database(values), schema)))))


@pytest.mark.parametrize("name", MAKERS)
def test_no_row_is_later_than_its_limit(shop, name):
    for batch in MAKERS[name](shop):
        for table in batch.node_types:
            if "time" in batch[table]:
                assert (batch[table].age >= 0).all()
                assert (batch[table].time <= CUT).all()
            else:
                assert (batch[table].age == -1).all()


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="needs the folder rel-f1 beside the project, in shared/data")
def test_real_races_and_drivers():
    """Formula 1: many child rows per driver, rows of one race at one time, real keys."""
    dataset = open_dataset(REAL_DATA)
    db = dataset.get_db(upto_test_timestamp=False)
    index = GraphIndex.from_graph(build_graph(db, fit_schema(db)))
    graph, table = index.graph, task_table(load_task(dataset, "driver-dnf"), "test")
    inputs = NodeSamplerInput(torch.arange(32), table.row[:32], table.time[:32], "drivers")
    for strategy in ("last", "uniform"):
        out = TemporalNeighborSampler(index, [24, 6], strategy).sample_from_nodes(inputs)
        limit = {t: table.time[:32][owner] for t, owner in out.batch.items()}
        assert all((graph.time[t][rows] <= limit[t]).all() for t, rows in out.node.items())
        for key in graph.schema.foreign_keys:
            child, parent = out.node[key.child][out.row[key.edge_type]], out.node[key.parent][out.col[key.edge_type]]
            column = list(graph.schema.tables[key.child].foreign_keys).index(key.column)
            assert torch.equal(graph.parent[key.child][child, column], parent)
            newest = out.metadata[2].edge_rank[key.edge_type]
            assert len(newest) == 0 or newest.min() == 0
    seeds = SeedRows.between(index, None, int(table.time.max()))
    batch = torch.tensor(next(iter(SeedSampler(seeds, 64))))
    out = HGSampler(index).sample_from_nodes(NodeSamplerInput(batch, seeds.rows[batch], seeds.time[batch], ANY_TABLE))
    sizes = {t: len(rows) for t, rows in out.node.items()}
    assert all(sizes[t] >= 190 for t in ("results", "standings", "constructor_standings", "races"))
    assert max(sizes.values()) <= 210
