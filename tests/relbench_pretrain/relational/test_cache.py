"""Graphs on disk: found again by content, complete or not there at all."""

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import relbench
import torch
from relbench.base import Database, Table
from safetensors import SafetensorError
from torch import Tensor

from relbench_pretrain.files import ABANDONED_SECONDS, cache_root
from relbench_pretrain.relational import cache as cache_module
from relbench_pretrain.relational.cache import CacheWarning, load_graph
from relbench_pretrain.relational.database import load_database
from relbench_pretrain.relational.graph import RelationalGraph, build_graph, fit_schema
from relbench_pretrain.relational.text import HashTextEmbedder
from relbench_pretrain.sampling import GraphIndex
from relbench_pretrain.unix_time import timestamp_seconds

pytestmark = pytest.mark.filterwarnings("ignore:Table 'values' is empty", "ignore:Table 'events', foreign key")

UNTIL = timestamp_seconds("2020-01-05")


def assert_equal(found: RelationalGraph, expected: RelationalGraph) -> None:
    """Compares two graphs bit for bit."""
    assert found.schema == expected.schema
    assert list(found.schema.tables) == list(expected.schema.tables)
    for part in ("time", "parent", "duplicate", "child_offset", "child_row"):
        ours, theirs = getattr(found, part), getattr(expected, part)
        assert list(ours) == list(theirs)
        for name, tensor in theirs.items():
            assert ours[name].dtype == tensor.dtype
            assert torch.equal(ours[name], tensor)
    for table, frame in expected.frames.items():
        assert found.frames[table].col_names_dict == frame.col_names_dict
        assert list(found.frames[table].feat_dict) == list(frame.feat_dict)
        assert found.frames[table].num_rows == frame.num_rows
        for kind, theirs in frame.feat_dict.items():
            ours = found.frames[table].feat_dict[kind]
            assert type(ours) is type(theirs)
            if isinstance(theirs, Tensor):
                assert ours.shape == theirs.shape
                assert ours.numpy().tobytes() == theirs.numpy().tobytes()
            else:
                assert (ours.num_rows, ours.num_cols) == (theirs.num_rows, theirs.num_cols)
                assert ours.values.shape == theirs.values.shape
                assert torch.equal(ours.values, theirs.values)
                assert torch.equal(ours.offset, theirs.offset)


@pytest.fixture
def dataset(make_database, make_folder, tmp_path):
    return relbench.load_dataset(make_folder(make_database(), tmp_path / "small"))


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def builds(monkeypatch) -> list[RelationalGraph]:
    """The graphs that were built rather than read."""
    built = []

    def counted(*args):
        built.append(build_graph(*args))
        return built[-1]

    monkeypatch.setattr(cache_module, "build_graph", counted)
    return built


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


class TestReading:
    def test_second_call_reads_what_the_first_built(self, dataset, cache, builds):
        db = load_database(dataset)
        expected = build_graph(db, fit_schema(db, UNTIL))
        for _ in range(3):
            assert_equal(load_graph(dataset, UNTIL, cache_dir=cache), expected)
        assert len(builds) == 1
        assert len(entries(cache)) == 1

    def test_rows_can_be_taken_from_what_was_read(self, dataset, cache):
        load_graph(dataset, cache_dir=cache)
        graph = load_graph(dataset, cache_dir=cache)
        rows = torch.tensor([3, 0, 3])
        assert graph.frames["events"][rows].num_rows == 3
        assert graph.frames["values"][rows[:0]].num_rows == 0

    def test_real_database(self, shared_database, cache, builds):
        dataset = shared_database("stack-quantumcomputing")
        with pytest.warns(UserWarning, match="'postHistory' is empty"):
            load_graph(dataset, timestamp_seconds(dataset.val_timestamp), cache_dir=cache)
        assert_equal(load_graph(dataset, timestamp_seconds(dataset.val_timestamp), cache_dir=cache), builds[0])
        assert len(builds) == 1

    def test_large_one_is_mapped_into_memory(self, tmp_path, make_folder, cache, monkeypatch):
        num_rows = 1_000_000
        values = np.random.default_rng(0).normal(size=(num_rows, 12)).astype(np.float32)
        df = pd.DataFrame(values, columns=[f"c{n}" for n in range(12)])
        dataset = relbench.load_dataset(make_folder(Database({"t": Table(df, {})}), tmp_path / "large"))
        start = time.perf_counter()
        load_graph(dataset, cache_dir=cache)
        build_time = time.perf_counter() - start
        monkeypatch.setattr(cache_module, "_file_hashes", lambda _: {})  # which do read the parquet files
        monkeypatch.setattr(cache_module, "_name", lambda _: entries(cache)[0])
        before = resident()
        start = time.perf_counter()
        graph = load_graph(dataset, cache_dir=cache)
        assert time.perf_counter() - start < build_time / 10
        assert resident() - before < 10e6 < values.nbytes / 4
        (feature,) = graph.frames["t"].feat_dict.values()
        np.testing.assert_array_equal(feature[-1], values[-1])


class TestSharing:
    @pytest.fixture
    def opened(self, dataset, cache) -> RelationalGraph:
        load_graph(dataset, cache_dir=cache)
        return load_graph(dataset, cache_dir=cache)

    def test_all_arrays_of_graph_and_index_are_pages_of_the_file(self, opened):
        flat = GraphIndex.from_graph(opened).flat
        places = [getattr(flat, name).ctypes.data for name in ("time", "parent", "child_offset", "child_row")]
        kept = {k: v for k, v in cache_module._to_tensors(opened).items() if v.numel() and not k.startswith("num_")}
        places += [tensor.data_ptr() for tensor in kept.values()]
        mapped = [line.split()[0].split("-") for line in memory_maps() if line.endswith(cache_module.TENSORS)]
        ranges = [(int(begin, 16), int(end, 16)) for begin, end in mapped]
        assert all(any(begin <= place < end for begin, end in ranges) for place in places)

    def test_what_one_writes_no_other_sees(self, opened, dataset, cache):
        (path,) = cache.glob(f"*/{cache_module.TENSORS}")
        before = path.read_bytes()
        opened.time["events"][0] = 7
        assert path.read_bytes() == before
        assert load_graph(dataset, cache_dir=cache).time["events"][0] != 7

    @pytest.mark.parametrize("what", ["deleted", "replaced"])
    def test_graph_in_use_outlives_its_file(self, dataset, cache, what):
        load_graph(dataset, cache_dir=cache)
        graph = load_graph(dataset, cache_dir=cache)
        (folder,) = cache.iterdir()
        if what == "deleted":
            shutil.rmtree(folder)
        else:
            (folder / "schema.json").write_text("")
            with pytest.warns(CacheWarning, match="is damaged"):
                load_graph(dataset, cache_dir=cache)
        reader = multiprocessing.get_context("fork").Process(target=cache_module._to_tensors, args=(graph,))
        reader.start()  # a page that is gone would kill it
        reader.join()
        assert reader.exitcode == 0
        assert_equal(graph, load_graph(dataset, cache_dir=cache))

    def test_filesystem_that_cannot_be_mapped(self, dataset, cache, builds, monkeypatch):
        def refuse(*_, **__):
            raise OSError(errno.ENODEV, "No such device")

        monkeypatch.setattr(cache_module, "safe_open", refuse)
        with warnings.catch_warnings():
            warnings.simplefilter("error", CacheWarning)
            for _ in range(2):
                assert_equal(load_graph(dataset, cache_dir=cache), builds[0])
        assert len(builds) == 1

    def test_place_that_is_only_for_reading(self, dataset, cache, builds, monkeypatch):
        load_graph(dataset, cache_dir=cache)
        for path in [*cache.glob("*/*"), *cache.iterdir(), cache]:
            path.chmod(0o444 if path.is_file() else 0o555)
        before = {path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")]}
        try:
            assert_equal(load_graph(dataset, cache_dir=cache), builds[0])
            assert len(builds) == 1
            assert {path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")]} == before
        finally:
            for path in [cache, *cache.iterdir()]:
                path.chmod(0o755)

    def test_files_of_an_earlier_format_are_not_found(self, dataset, cache, builds, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(cache_module, "FORMAT", cache_module.FORMAT - 1)
            load_graph(dataset, cache_dir=cache)
        load_graph(dataset, cache_dir=cache)
        assert len(builds) == 2

    def test_graph_says_what_it_was_made_of(self, dataset, cache, make_database, make_folder):
        before = [load_graph(dataset, cache_dir=cache).content for _ in range(2)]
        assert before[0] == before[1] and set(before[0]) == {"manifest.yaml", *make_database().table_dict}
        db = make_database()
        db.table_dict["items"].df.loc[0, "price"] = 7.0
        make_folder(db, dataset.dataset_dir)
        after = load_graph(dataset, cache_dir=cache).content
        assert [name for name in after if after[name] != before[0][name]] == ["items"]


def memory_maps() -> list[str]:
    """What is mapped into this process."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    return maps.read_text().splitlines()


def resident() -> int:
    """Bytes of memory in use."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class TestNames:
    def test_every_setting_has_its_own_entry(self, dataset, cache, builds):
        schema = fit_schema(load_database(dataset), UNTIL)
        other = fit_schema(load_database(dataset), UNTIL + 86_400)
        settings = [
            {},
            {"fitted_until": UNTIL},
            {"calendar": False},
            {"stypes": {"events": {"kind": None}}},
            {"stypes": {"events": {"kind": "text_embedded"}}},
            {"stypes": schema},
            {"embedder": HashTextEmbedder(8)},
            {"schema": schema},
            {"schema": other},
            {"hidden": [("events", "kind")]},
            {"hidden": [("events", "kind"), ("events", "paid")]},
        ]
        graphs = [load_graph(dataset, cache_dir=cache, **setting) for setting in settings]
        assert len(builds) == len(entries(cache)) == len(settings)
        for graph, setting in zip(graphs, settings, strict=True):
            assert_equal(load_graph(dataset, cache_dir=cache, **setting), graph)
        assert len(builds) == len(settings)

    def test_what_makes_no_difference(self, dataset, cache, builds):
        schema = fit_schema(load_database(dataset), UNTIL)
        for hidden in ([("events", "kind"), ("events", "paid")], [["events", "paid"], ["events", "kind"]]):
            load_graph(dataset, cache_dir=cache, hidden=hidden, schema=schema)
        load_graph(dataset, 5, {"events": {"late": None}}, cache_dir=cache, hidden=hidden, schema=schema)
        assert len(builds) == 1

    def test_changed_files(self, dataset, make_database, make_folder, cache, builds):
        load_graph(dataset, cache_dir=cache)
        db = make_database()
        db.table_dict["items"].df.loc[0, "price"] = 7.0
        make_folder(db, dataset.dataset_dir)
        assert load_graph(dataset, cache_dir=cache).frames["items"].get_col_feat("price")[0] == 7.0
        make_folder(db, dataset.dataset_dir, test="2020-01-08")
        load_graph(dataset, cache_dir=cache)
        assert len(builds) == 3

    def test_same_content_elsewhere(self, make_database, make_folder, tmp_path, cache, builds):
        for place in ("here", "there"):
            load_graph(relbench.load_dataset(make_folder(make_database(), tmp_path / place)), cache_dir=cache)
        assert len(builds) == 1

    def test_schema_and_types_given_are_applied(self, dataset, cache):
        schema = fit_schema(load_database(dataset), UNTIL, {"events": {"kind": None}})
        for _ in range(2):
            assert load_graph(dataset, schema=schema, cache_dir=cache).schema == schema
            hidden = load_graph(dataset, hidden=[("events", "kind")], cache_dir=cache)
            assert "kind" not in hidden.schema.tables["events"].columns


class TestFolder:
    def test_default(self, monkeypatch, tmp_path, dataset):
        monkeypatch.setenv("RELBENCH_PRETRAIN_CACHE", str(tmp_path / "mine"))
        load_graph(dataset)
        assert len(entries(tmp_path / "mine" / "graphs")) == 1
        for value in ("", None):
            monkeypatch.setenv("HOME", str(tmp_path / "home"))
            if value is None:
                monkeypatch.delenv("RELBENCH_PRETRAIN_CACHE")
            else:
                monkeypatch.setenv("RELBENCH_PRETRAIN_CACHE", value)
            assert cache_root() == tmp_path / "home" / ".cache" / "relbench_pretrain"

    def test_others_may_read_it(self, dataset, cache):
        before = os.umask(0o022)
        try:
            load_graph(dataset, cache_dir=cache)
        finally:
            os.umask(before)
        (folder,) = cache.iterdir()
        assert {path.stat().st_mode & 0o044 for path in [folder, *folder.iterdir()]} == {0o044}

    def test_that_cannot_be_written_to(self, dataset, tmp_path, builds):
        (tmp_path / "file").write_text("")
        with pytest.warns(CacheWarning, match=r"graph is not kept, since '.*file' cannot be written to .*cache_dir"):
            graph = load_graph(dataset, UNTIL, cache_dir=tmp_path / "file")
        assert_equal(graph, builds[0])

    def test_entry_that_cannot_be_read(self, dataset, cache, builds, monkeypatch):
        load_graph(dataset, cache_dir=cache)

        def refuse(path):
            raise PermissionError(path)

        with monkeypatch.context() as patch:
            patch.setattr(cache_module.GraphSchema, "load", refuse)
            with pytest.warns(CacheWarning, match=r"cannot be read .* built in memory"):
                graph = load_graph(dataset, cache_dir=cache)
        assert_equal(graph, builds[0])
        assert_equal(load_graph(dataset, cache_dir=cache), builds[0])
        assert len(builds) == 2

    def test_full_disk(self, dataset, cache, builds, monkeypatch):
        def full(*_):
            raise SafetensorError("No space left on device")

        monkeypatch.setattr(cache_module, "save_file", full)
        with pytest.warns(CacheWarning, match="No space left"):
            assert_equal(load_graph(dataset, cache_dir=cache), builds[0])
        assert entries(cache) == []


class TestDamage:
    @pytest.mark.parametrize("name", ["graph.safetensors", "schema.json"])
    @pytest.mark.parametrize("damage", ["cut", "emptied", "garbage", "removed"])
    def test_is_noticed_and_the_graph_built_again(self, dataset, cache, builds, name, damage):
        load_graph(dataset, cache_dir=cache)
        (path,) = cache.glob(f"*/{name}")
        content = path.read_bytes()
        if damage == "removed":
            path.unlink()
        else:
            path.write_bytes(
                {"cut": content[: len(content) // 2], "emptied": b"", "garbage": b"\x07" * len(content)}[damage]
            )
        with pytest.warns(CacheWarning, match="is damaged .*; the graph is built again"):
            graph = load_graph(dataset, cache_dir=cache)
        assert len(builds) == 2
        assert_equal(graph, builds[0])
        assert_equal(load_graph(dataset, cache_dir=cache), builds[0])
        assert len(builds) == 2
        assert len(entries(cache)) == 1
        assert path.read_bytes() == content

    def test_file_of_another_graph(self, dataset, cache, builds):
        load_graph(dataset, cache_dir=cache)
        (first,) = cache.iterdir()
        load_graph(dataset, cache_dir=cache, stypes={"events": {"tags": None, "vector": None, "note": None}})
        (second,) = set(cache.iterdir()) - {first}
        (second / "graph.safetensors").replace(first / "graph.safetensors")
        with pytest.warns(CacheWarning, match="is damaged"):
            assert_equal(load_graph(dataset, cache_dir=cache), builds[0])

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
    def test_interrupted_write_leaves_nothing(self, dataset, cache, builds, monkeypatch, stop):
        def interrupted(tensors, path):
            Path(path).write_bytes(b"half")
            raise stop

        with monkeypatch.context() as patch:
            patch.setattr(cache_module, "save_file", interrupted)
            with pytest.raises(stop):
                load_graph(dataset, cache_dir=cache)
        assert entries(cache) == []
        assert_equal(load_graph(dataset, cache_dir=cache), builds[1])

    def test_killed_process_leaves_nothing_that_is_found_and_is_cleaned_up_a_day_later(self, dataset, cache, builds):
        load_graph(dataset, cache_dir=cache)
        (name,) = entries(cache)
        killed, busy = cache / f".other.{'0' * 16}.part", cache / f".{name}.{'1' * 16}.part"
        (cache / name).rename(killed)
        busy.mkdir()
        os.utime(killed, times=(0, time.time() - ABANDONED_SECONDS - 60))
        load_graph(dataset, cache_dir=cache)
        assert len(builds) == 2
        assert entries(cache) == [busy.name, name]


class TestSeveralProcesses:
    def test_another_one_finishes_first(self, dataset, cache, monkeypatch):
        graphs = []

        def slow_build(*args):
            if not graphs:
                graphs.append(None)
                graphs.append(load_graph(dataset, cache_dir=cache))  # the other one, from begin to end
            return build_graph(*args)

        monkeypatch.setattr(cache_module, "build_graph", slow_build)
        with warnings.catch_warnings():
            warnings.simplefilter("error", CacheWarning)
            assert_equal(load_graph(dataset, cache_dir=cache), graphs[1])
        assert len(entries(cache)) == 1
        assert not entries(cache)[0].startswith(".")

    def test_another_one_removes_the_damaged_entry_first(self, dataset, cache, builds, monkeypatch):
        load_graph(dataset, cache_dir=cache)
        (path,) = cache.glob("*/graph.safetensors")
        path.write_bytes(b"")
        discard = cache_module.discard_folder

        def twice(folder):
            discard(folder)
            discard(folder)

        monkeypatch.setattr(cache_module, "discard_folder", twice)
        with pytest.warns(CacheWarning, match="is damaged"):
            assert_equal(load_graph(dataset, cache_dir=cache), builds[0])

    def test_two_at_once(self, demo_folder, cache):
        code = f"""
import relbench, sys
from relbench_pretrain.relational.cache import load_graph
dataset = relbench.load_dataset({str(demo_folder)!r})
print("ready", flush=True)
sys.stdin.readline()
print(load_graph(dataset, cache_dir={str(cache)!r}).num_edges)"""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
        processes = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], **pipes) for _ in range(2)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.communicate()[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        assert len(entries(cache)) == 1
        expected = load_graph(relbench.load_dataset(demo_folder), cache_dir=cache)
        assert answers == [f"{expected.num_edges}\n"] * 2
