"""Vectors of all rows of a table, as files."""

import numpy as np
import pandas as pd
import pytest
import torch

from datamodules import EntityTaskDataModule
from relbench_pretrain.commands.embed import embed
from relbench_pretrain.nn import Backbone, GraphSAGE, LinearTableEncoder
from relbench_pretrain.pretrained import save_network
from relbench_pretrain.relational.database import load_database, open_dataset
from relbench_pretrain.relational.schema import SchemaError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    data = EntityTaskDataModule("customer-churn", "demo-small")
    data.setup("fit")
    torch.manual_seed(0)
    backbone = Backbone(LinearTableEncoder(), GraphSAGE(), channels=8)
    backbone.build(data.schema)
    return str(save_network(tmp_path_factory.mktemp("embed") / "best", backbone))


def test_every_row_has_a_vector_with_its_key_and_time(checkpoint, tmp_path):
    embed(checkpoint, "orders", "demo-small", str(tmp_path / "e.parquet"), fanouts=[4], batch_size=100)
    found = pd.read_parquet(tmp_path / "e.parquet")
    table = load_database(open_dataset("demo-small")).table_dict["orders"]
    assert found["row"].tolist() == list(range(len(table.df)))
    for column in (table.pkey_col, table.time_col):
        assert found[column].tolist() == table.df[column].tolist()
    assert np.stack(found["embedding"]).shape == (len(table.df), 8)


def test_vectors_do_not_depend_on_the_size_of_the_batch(checkpoint, tmp_path):
    files = [tmp_path / f"{size}.parquet" for size in (7, 1000)]
    for path, size in zip(files, (7, 1000), strict=True):
        embed(checkpoint, "customers", "demo-small", str(path), fanouts=[4, 2], batch_size=size)
    first, second = (np.stack(pd.read_parquet(path)["embedding"]) for path in files)
    assert np.allclose(first, second, atol=1e-5)


def test_rows_can_be_seen_as_they_were(checkpoint, tmp_path):
    dataset = open_dataset("demo-small")
    embed(checkpoint, "orders", "demo-small", str(tmp_path / "e.parquet"), at=str(dataset.val_timestamp), fanouts=[4])
    found = pd.read_parquet(tmp_path / "e.parquet")
    table = load_database(dataset).table_dict["orders"]
    assert len(found) == (table.df[table.time_col] <= dataset.val_timestamp).sum()


def test_plots_are_drawn(checkpoint, tmp_path):
    embed(checkpoint, "products", "demo-small", str(tmp_path / "e.parquet"), fanouts=[4], plot=True, colour_by="price")
    assert (tmp_path / "e_pca.png").stat().st_size > 0 and (tmp_path / "e_pca.svg").stat().st_size > 0


def test_unknown_tables_and_columns_are_named_and_leave_nothing(checkpoint, tmp_path):
    with pytest.raises(SchemaError, match="no table 'order'.*'orders'"):
        embed(checkpoint, "order", "demo-small", str(tmp_path / "e.parquet"))
    with pytest.raises(SchemaError, match="no column 'colour'"):
        embed(checkpoint, "products", "demo-small", str(tmp_path / "e.parquet"), plot=True, colour_by="colour")
    assert not list(tmp_path.iterdir())
