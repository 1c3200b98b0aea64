"""Opening datasets and finding the faults in them."""

import datetime
import os
import shutil
import warnings
from decimal import Decimal
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import relbench
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from relbench.base import Database, Table
from relbench.manifest import DatasetManifest, TableSpec

from relbench_pretrain.relational import database as database_module
from relbench_pretrain.relational.database import (
    DatabaseError,
    DatabaseWarning,
    DatasetError,
    ForeignKeyReport,
    check_database,
    foreign_key_index,
    load_database,
    open_dataset,
)

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def shop() -> Database:
    """Two customers, three orders and a table of pairs of customers."""
    customers = pd.DataFrame({"id": [0, 1], "name": ["Ada", None]})
    orders = pd.DataFrame(
        {
            "id": [0, 1, 2],
            "customer": pd.array([1, None, 0], dtype="Int64"),
            "time": pd.to_datetime(["2020-01-01", "2020-01-01", "2020-02-01"]),
            "note": ["a", None, "b"],
        }
    )
    friends = pd.DataFrame({"left": [0, 1], "right": [1.0, np.nan]})
    return Database(
        {
            "customers": Table(customers, {}, "id"),
            "orders": Table(orders, {"customer": "customers"}, "id", "time"),
            "friends": Table(friends, {"left": "customers", "right": "customers"}),
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shop as a RelBench folder."""
    root = tmp_path / "shop"
    (root / "db").mkdir(parents=True)
    tables = {}
    for name, table in shop().table_dict.items():
        table.df.to_parquet(root / "db" / f"{name}.parquet")
        tables[name] = TableSpec(table.pkey_col, table.time_col, table.fkey_col_to_pkey_table)
    DatasetManifest("shop", "2020-01-10", "2020-01-20", tables=tables).save(root / "manifest.yaml")
    return root


class TestCheckDatabase:
    def test_sound_database_is_reported_without_warning(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            report = check_database(shop())
        assert report.num_rows == {"customers": 2, "orders": 3, "friends": 2}
        assert report.foreign_keys["orders", "customer"] == ForeignKeyReport("customers", 3, 1, 0, None)
        assert report.foreign_keys["friends", "right"].num_edges == 1
        assert report.empty_tables == ()

    @pytest.mark.parametrize(
        ("table", "column", "values", "message"),
        [
            ("customers", "id", [0, 2], r"primary key 'id', row 1: found 2 where 1 was due; number the rows"),
            ("customers", "id", [1, 0], "row 0: found 1 where 0 was due"),
            ("customers", "id", pd.array([0, None], "Int64"), "row 1: found <NA> where 1 was due"),
            ("customers", "id", ["a", "b"], "primary key 'id', row 0: found 'a' in a column of dtype object"),
            ("orders", "customer", [0.0, 0.5, np.nan], "'customer', row 1: found 0.5 in a column of dtype float"),
            ("orders", "customer", [0.0, np.nan, np.inf], "row 2: found inf"),
            ("orders", "customer", [None, 0, "Ada"], "row 2: found 'Ada' in a column of dtype object"),
            ("orders", "customer", [True, False, True], "row 0: found True in a column of dtype bool"),
            ("orders", "customer", pd.to_datetime(["2020"] * 3), "row 0: found Timestamp"),
            ("orders", "time", [1, 2, 3], r"time column 'time' has dtype int64; convert it with .*unit='s'"),
            ("orders", "time", ["2020", "2021", "2022"], r"convert it with pandas.to_datetime\(orders\['time'\]\)"),
            ("orders", "time", pd.to_datetime(["2020"] * 3, utc=True), r"datetime64\[ns, UTC\]; .*tz_localize\(None\)"),
            ("orders", "time", [datetime.date(2020, 1, 1)] * 3, "has dtype object; convert it"),
            (
                "orders",
                "time",
                pd.to_datetime(["2020", None, None]),
                r"'orders', time column 'time', row 1: no time \(NaT\), as in 2 of 3 rows",
            ),
            (
                "orders",
                "time",
                pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-02"]),
                "row 2: 2020-01-02 00:00:00 comes after 2020-01-03 00:00:00; sort the rows by time",
            ),
            ("orders", "note", ["a", None, 1.5], "row 2: 1.5 is a number in a column that begins with strings"),
            ("orders", "note", [None, 7, "x"], "row 2: 'x' is a string in a column that begins with numbers"),
            ("orders", "note", ["a", ["a"], None], r"row 1: \['a'\] is a list"),
            ("orders", "note", [None, datetime.date(2020, 1, 1), None], r"row 1: datetime.date\(.*\) is a plain"),
        ],
    )
    def test_fault_names_table_column_row_value_and_remedy(self, table, column, values, message):
        db = shop()
        db.table_dict[table].df[column] = values
        with pytest.raises(DatabaseError, match=message) as error:
            check_database(db)
        assert repr(table) in str(error.value) and repr(column) in str(error.value)

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_order_of_times_is_checked_in_every_unit(self, unit):
        db = shop()
        times = np.array(["1969-12-31", "2020-01-01", "2020-01-01"], dtype=f"datetime64[{unit}]")
        db.table_dict["orders"].df["time"] = times
        check_database(db)
        db.table_dict["orders"].df["time"] = times[::-1]
        with pytest.raises(DatabaseError, match="row 2: 1969-12-31"):
            check_database(db)

    @pytest.mark.parametrize(
        "values",
        [
            [["a", "b"], [], None],
            [np.array(["a"]), None, np.array([])],
            [True, None, False],
            [1, 2.5, None],
            [Decimal("1.5"), None, Decimal(2)],
            [None, np.nan, pd.NA],
            [datetime.datetime(2020, 1, 1), None, pd.Timestamp(2020)],
        ],
    )
    def test_object_columns_of_one_kind_pass(self, values):
        db = shop()
        db.table_dict["orders"].df["note"] = pd.Series(values, dtype=object)
        check_database(db)

    def test_missing_foreign_key_column(self):
        db = shop()
        db.table_dict["orders"].df = db.table_dict["orders"].df.drop(columns="customer")
        with pytest.raises(DatabaseError, match="Foreign key 'customer' of table 'orders' is not among its columns"):
            check_database(db)

    def test_foreign_key_to_unknown_table(self):
        db = shop()
        del db.table_dict["customers"]
        with pytest.raises(DatabaseError, match="foreign key 'customer' refers to table 'customers', which does not"):
            check_database(db)

    def test_foreign_key_to_table_without_primary_key(self):
        db = shop()
        db.table_dict["customers"].pkey_col = None
        with pytest.raises(DatabaseError, match="refers to table 'customers', which has no primary key"):
            check_database(db)

    def test_repeated_column(self):
        db = shop()
        db.table_dict["orders"].df.columns = ["id", "customer", "time", "id"]
        with pytest.raises(DatabaseError, match="'orders' has several columns called 'id'"):
            check_database(db)

    def test_dangling_keys_are_counted_and_warned_about_once(self):
        db = shop()
        db.table_dict["orders"].df["customer"] = [1, -1, 2]
        with pytest.warns(DatabaseWarning) as caught:
            report = check_database(db)
        assert report.foreign_keys["orders", "customer"] == ForeignKeyReport("customers", 3, 0, 2, 1)
        assert [str(w.message) for w in caught] == [
            "Table 'orders', foreign key 'customer': 2 of 3 values are no row of 'customers', whose 2 rows are "
            "numbered from 0; the first is -1 in row 1. They give no edge."
        ]

    def test_empty_table_is_kept_with_a_warning(self):
        db = shop()
        db.table_dict["friends"].df = pd.DataFrame({"left": [], "right": []}, dtype=object)
        with pytest.warns(DatabaseWarning, match="'friends' is empty") as caught:
            report = check_database(db)
        assert report.empty_tables == ("friends",) and len(caught) == 1

    def test_empty_parent_makes_every_key_dangle(self):
        db = shop()
        db.table_dict["customers"].df = db.table_dict["customers"].df.iloc[:0]
        with pytest.warns(DatabaseWarning):
            assert check_database(db).foreign_keys["orders", "customer"].num_dangling == 2

    def test_database_without_any_row(self):
        db = shop()
        for table in db.table_dict.values():
            table.df = table.df.iloc[:0]
        with pytest.raises(DatabaseError, match="all tables are empty"):
            check_database(db)
        with pytest.raises(DatabaseError, match="there is none"):
            check_database(Database({}))

    def test_tables_may_have_any_name(self):
        tables = shop().table_dict
        tables["orders"].fkey_col_to_pkey_table = {"customer": "items"}
        tables["friends"].fkey_col_to_pkey_table = {"left": "items", "right": "type"}
        db = Database({"items": tables["customers"], "keys": tables["orders"], "type": tables["customers"]})
        db.table_dict["a b.c"] = tables["friends"]
        assert set(check_database(db).foreign_keys) == {("keys", "customer"), ("a b.c", "left"), ("a b.c", "right")}


class TestForeignKeyIndex:
    @pytest.mark.parametrize(
        "keys",
        [
            np.array([0, 2, -1, 3, -7]),
            np.array([0, 2, 2**63, 3, 2**64 - 1], dtype=np.uint64),
            np.array([0, 2, -1, 3, 3], dtype=np.int8),
            np.array([0.0, 2.0, np.nan, 1e300, -2.0]),
            pd.array([0, 2, None, 3, 2**62], dtype="Int64"),
            pd.array([0, 2, None, 3, -5], dtype="Int16"),
            pd.array([0, 2, None, 3, 4], dtype="int64[pyarrow]"),
            pd.array([0, 2, None, 3, 4], dtype="double[pyarrow]"),
            np.array([0, 2, None, 3, np.nan], dtype=object),
            np.array([Decimal(0), Decimal(2), None, Decimal(3), None], dtype=object),
        ],
    )
    def test_any_integers(self, keys):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            index = foreign_key_index(pd.Series(keys), num_parents=3)
        assert index.dtype == np.int64
        assert index.tolist() == [0, 2, -1, -1, -1]

    def test_column_without_values(self):
        assert foreign_key_index(pd.Series([None, None]), 5).tolist() == [-1, -1]
        assert foreign_key_index(pd.Series([], dtype=object), 5).tolist() == []

    def test_column_is_left_as_it_is(self):
        keys = pd.Series([0, 9])
        assert foreign_key_index(keys, 3).tolist() == [0, -1]
        assert keys.tolist() == [0, 9]

    def test_other_values_are_refused(self):
        with pytest.raises(DatabaseError, match="Foreign key 'city', row 1: found 'Graz'"):
            foreign_key_index(pd.Series([None, "Graz"], name="city"), 3)


class TestFolders:
    def test_absolute_relative_and_home(self, folder, monkeypatch):
        assert open_dataset(folder).manifest.name == "shop"
        monkeypatch.chdir(folder.parent)
        monkeypatch.setenv("HOME", str(folder.parent))
        opened = [open_dataset(name) for name in (str(folder), "shop", "./shop", "~/shop", Path("shop"))]
        monkeypatch.chdir("/")
        assert [len(dataset.get_db().table_dict["orders"]) for dataset in opened] == [2] * 5

    @pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", Path("nowhere")])
    def test_missing_folder_is_no_matter_of_the_hub(self, name):
        with pytest.raises(DatasetError, match="folder .*nowhere.* does not exist") as error:
            open_dataset(name)
        assert "Hub" not in str(error.value)

    def test_missing_manifest(self, folder):
        (folder / "manifest.yaml").unlink()
        with pytest.raises(DatasetError, match="shop/manifest.yaml is missing"):
            open_dataset(folder)

    @pytest.mark.parametrize(
        "text", ["", "name: shop", "- a\n- b", "name: [", "name: a\nval_timestamp: x\ntest_timestamp: y"]
    )
    def test_broken_manifest(self, folder, text):
        (folder / "manifest.yaml").write_text(text)
        with pytest.raises(DatasetError, match="shop/manifest.yaml is no manifest of RelBench 3"):
            open_dataset(folder)

    def test_manifest_without_tables(self, folder):
        DatasetManifest("shop", "2020-01-10", "2020-01-20").save(folder / "manifest.yaml")
        with pytest.raises(DatasetError, match="names no table"):
            open_dataset(folder)

    def test_missing_parquet(self, folder):
        (folder / "db" / "orders.parquet").unlink()
        with pytest.raises(DatasetError, match="db/orders.parquet is missing, but the manifest lists table 'orders'"):
            open_dataset(folder)

    def test_broken_parquet(self, folder):
        (folder / "db" / "orders.parquet").write_bytes(b"no parquet")
        with pytest.raises(DatasetError, match="orders.parquet is no readable Parquet file"):
            open_dataset(folder)

    def test_column_of_the_manifest_is_missing(self, folder):
        shop().table_dict["orders"].df.drop(columns="time").to_parquet(folder / "db" / "orders.parquet")
        with pytest.raises(DatabaseError, match="'orders' has no column 'time', which the manifest names"):
            open_dataset(folder)


class TestLoadDatabase:
    def test_rows_after_the_test_time_are_there(self, folder):
        db = load_database(folder)
        assert {name: len(table) for name, table in db.table_dict.items()} == {
            "customers": 2,
            "orders": 3,
            "friends": 2,
        }
        assert len(load_database(open_dataset(folder)).table_dict["orders"]) == 3

    @pytest.mark.parametrize("dtype", ["int64", "float64", "Int64"])
    def test_dangling_keys_become_null_after_a_warning(self, folder, dtype):
        orders = shop().table_dict["orders"].df
        orders["customer"] = pd.Series([1, 0, 2]).astype(dtype)
        orders.to_parquet(folder / "db" / "orders.parquet")
        with pytest.warns(DatabaseWarning, match="1 of 3 values are no row of 'customers'.* the first is 2.* in row 2"):
            db = load_database(folder)
        assert db.table_dict["orders"].df["customer"].isna().tolist() == [False, False, True]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_database(db)

    def test_fault_is_found(self, folder):
        orders = shop().table_dict["orders"].df
        orders.assign(id=[0, 2, 1]).to_parquet(folder / "db" / "orders.parquet")
        with pytest.raises(DatabaseError, match="'orders', primary key 'id', row 1"):
            load_database(folder)

    def test_dates_become_datetimes(self, folder):
        dates = [datetime.date(1850, 1, 1), None]
        shop().table_dict["customers"].df.assign(born=dates).to_parquet(folder / "db" / "customers.parquet")
        born = load_database(folder).table_dict["customers"].df["born"]
        assert born.dtype.kind == "M" and born[0] == pd.Timestamp("1850-01-01") and born.isna()[1]

    def test_unreadable_pages(self, folder):
        path = folder / "db" / "orders.parquet"
        raw = path.read_bytes()
        path.write_bytes(raw[:4] + b"\xff" * 200 + raw[204:])
        with pytest.raises(DatasetError, match="cannot be read"):
            load_database(folder)


class TestHub:
    @pytest.mark.parametrize("name", ["rel-f1", "org/repo", "org/repo/sub"])
    @pytest.mark.parametrize(
        "cause", [LocalEntryNotFoundError("no network"), httpx.ConnectError("no network"), OSError("no network")]
    )
    def test_unreachable(self, name, cause, monkeypatch):
        def fail(*args, **kwargs):
            raise cause

        monkeypatch.setattr(relbench.load.hf, "download_dataset_dir", fail)
        with pytest.raises(DatasetError, match=f"'{name}'.* Hub cannot be reached.*no network.*manifest.yaml, db/"):
            open_dataset(name)

    def test_unknown_repository(self, monkeypatch):
        def fail(*args, **kwargs):
            response = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
            raise RepositoryNotFoundError("404", response=response)

        monkeypatch.setattr(relbench.load.hf, "download_dataset_dir", fail)
        with pytest.raises(DatasetError, match="The Hub has no dataset 'org/repo'"):
            open_dataset("org/repo")

    def test_repository_without_the_dataset(self, monkeypatch, tmp_path):
        monkeypatch.setattr(relbench.load.hf, "download_dataset_dir", lambda *args, **kwargs: tmp_path)
        with pytest.raises(DatasetError, match="no manifest.yaml for 'rel-g1'"):
            open_dataset("rel-g1")

    def test_downloaded_folder_is_opened(self, monkeypatch, folder):
        monkeypatch.setattr(relbench.load.hf, "download_dataset_dir", lambda *args, **kwargs: folder)
        assert len(load_database("rel-shop").table_dict) == 3


class TestDemo:
    def test_is_written_once(self, tmp_path, monkeypatch):
        first = open_dataset("demo:1000", cache_dir=tmp_path)
        monkeypatch.setattr(database_module, "write_demo_database", None)
        again = open_dataset("demo:1000:0", cache_dir=tmp_path)
        assert first.dataset_dir == again.dataset_dir
        assert [path.name for path in tmp_path.iterdir()] == [first.dataset_dir.name]

    def test_size_and_seed(self, tmp_path, monkeypatch):
        calls = []

        def write(folder, num_rows, seed):
            calls.append((num_rows, seed))
            (folder / "manifest.yaml").touch()

        monkeypatch.setattr(database_module, "write_demo_database", write)
        monkeypatch.setattr(database_module, "_open_folder", lambda folder: folder)
        names = ["demo", "demo-small", "demo:2000", "demo:2_000:7"]
        folders = {open_dataset(name, cache_dir=tmp_path) for name in names}
        assert calls == [(20_000, 0), (5_000, 0), (2_000, 0), (2_000, 7)] and len(folders) == 4

    def test_cache_variable(self, tmp_path, monkeypatch):
        monkeypatch.setenv("RELBENCH_PRETRAIN_CACHE", str(tmp_path / "cache"))
        assert open_dataset("demo:1000").dataset_dir.parent == tmp_path / "cache"

    @pytest.mark.parametrize("name", ["demo:", "demo:many", "demo:10", "demo:2000:x", "demo:-5"])
    def test_malformed_name(self, name, tmp_path):
        with pytest.raises(DatasetError, match=f"'{name}' is no demo database: write demo, demo-small, demo:ROWS"):
            open_dataset(name, cache_dir=tmp_path)

    def test_another_process_was_faster(self, tmp_path, monkeypatch):
        ready = open_dataset("demo:1000", cache_dir=tmp_path / "other").dataset_dir
        cache = tmp_path / "cache"

        def write_while_another_finishes(folder, num_rows, seed):
            shutil.copytree(ready, folder, dirs_exist_ok=True)
            shutil.copytree(ready, cache / ready.name)

        monkeypatch.setattr(database_module, "write_demo_database", write_while_another_finishes)
        assert open_dataset("demo:1000", cache_dir=cache).dataset_dir == cache / ready.name
        assert [path.name for path in cache.iterdir()] == [ready.name]

    def test_is_moved_into_place_in_one_step(self, tmp_path, monkeypatch):
        moves = []
        rename = Path.rename

        def watched_rename(source, target):
            moves.append((source.parent, target.exists()))
            return rename(source, target)

        monkeypatch.setattr(Path, "rename", watched_rename)
        open_dataset("demo:1000", cache_dir=tmp_path)
        assert moves == [(tmp_path, False)]  # from the same file system, where nothing was yet

    def test_interrupted_writing_leaves_nothing(self, tmp_path, monkeypatch):
        def interrupt(folder, num_rows, seed):
            (folder / "db").mkdir()
            raise KeyboardInterrupt

        monkeypatch.setattr(database_module, "write_demo_database", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_dataset("demo:1000", cache_dir=tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_cache_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(DatasetError, match="cannot be written to .*set RELBENCH_PRETRAIN_CACHE"):
            open_dataset("demo:1000", cache_dir=tmp_path / "file")

    def test_folder_called_demo_is_reached_by_its_path(self, folder, monkeypatch):
        os.rename(folder, folder.parent / "demo")
        monkeypatch.chdir(folder.parent)
        assert open_dataset("./demo").manifest.name == "shop"


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared real data is absent")
class TestRealData:
    @pytest.mark.parametrize("name", ["rel-f1", "stack-bicycles-meta", "stack-quantumcomputing"])
    def test_same_tables_as_relbench(self, name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DatabaseWarning)
            db = load_database(SHARED_DATA / name)
        expected = relbench.load_dataset(SHARED_DATA / name).get_db(upto_test_timestamp=False)
        assert list(db.table_dict) == list(expected.table_dict)
        for table, other in zip(db.table_dict.values(), expected.table_dict.values(), strict=True):
            pd.testing.assert_frame_equal(table.df, other.df)

    def test_empty_table_is_the_only_complaint(self):
        with pytest.warns(DatabaseWarning) as caught:
            db = load_database(SHARED_DATA / "stack-quantumcomputing")
        assert [str(w.message).split(" is")[0] for w in caught] == ["Table 'postHistory'"]
        assert len(db.table_dict["postHistory"]) == 0
