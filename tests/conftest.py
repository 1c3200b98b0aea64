"""What all tests share: one small database, one cache for the session, few threads."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch

# Small tensors gain nothing from threads, and on a busy machine they lose a great deal.
torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keeps graphs and demo databases of the tests away from the user's."""
    before = os.environ.get("RELBENCH_PRETRAIN_CACHE")
    os.environ["RELBENCH_PRETRAIN_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["RELBENCH_PRETRAIN_CACHE"]
    else:
        os.environ["RELBENCH_PRETRAIN_CACHE"] = before


CHILD = """
import os, runpy, sys
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.dup2(log, 1), os.dup2(log, 2)
os.environ.clear()
os.environ.update({environment!r})
given = {given!r}
if given[0] == "-m":
    sys.argv = given[1:]
    runpy.run_module(given[1], run_name="__main__", alter_sys=True)
else:
    sys.argv = given
    runpy.run_path(given[0], run_name="__main__")
"""


@pytest.fixture(scope="session")
def start_python() -> Callable[..., BaseProcess]:
    """Starts ``python ARGUMENTS`` in a process of its own, forked from one that has imported the libraries already.

    That one is clean: it has never run anything else, and starts no threads.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["relbench_pretrain.commands.fit"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("OMP_NUM_THREADS", "1")
        first = context.Process(target=exec, args=("", {}))
        first.start()
        first.join()

    def start(
        arguments: Sequence[str | Path], log: str | Path, environment: Mapping[str, str] = os.environ
    ) -> BaseProcess:
        given = [str(argument) for argument in arguments]
        code = CHILD.format(log=str(log), environment=dict(environment), given=given)
        process = context.Process(target=exec, args=(code, {}))
        process.start()
        return process

    return start


@pytest.fixture(scope="session")
def run_pair(start_python) -> Callable[..., None]:
    """Runs a script in two processes at once, which find each other, and fails with what they say if one fails.

    Lightning takes two processes that have a rank for its own.
    """

    def run(folder: Path, *arguments: str | Path, timeout: float = 240) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        logs = [folder / f"rank{rank}.log" for rank in range(2)]
        processes = [
            start_python(arguments, log, os.environ | place | {"LOCAL_RANK": str(rank), "RANK": str(rank)})
            for rank, log in enumerate(logs)
        ]
        deadline = time.monotonic() + timeout
        try:
            for process in processes:
                process.join(max(0, deadline - time.monotonic()))
        finally:
            for process in processes:
                process.kill()
        assert [process.exitcode for process in processes] == [0, 0], "\n".join(log.read_text()[-3000:] for log in logs)

    return run


@pytest.fixture
def run_in(tmp_path, monkeypatch):
    """Runs the test in an empty folder, where runs leave their files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wandb_offline(monkeypatch):
    """Keeps Weights & Biases to this machine, and from importing what its service starts runs with."""
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr(wandb.sdk.wandb_run.Run, "_detect_and_apply_job_inputs", lambda run: None, raising=False)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def rel_f1() -> Path:
    """The real rel-f1 database, where it is at hand."""
    folder = SHARED / "rel-f1"
    if not folder.is_dir():
        pytest.skip(f"the rel-f1 database is not in {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, where it is at hand."""
    if not SHARED.is_dir():
        pytest.skip(f"there is no folder {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def knowledge_graph(tmp_path_factory) -> Path:
    """A knowledge graph whose unseen relations join the same kinds of entities as seen ones, and say so."""
    rng = np.random.default_rng(0)
    kinds = ["river", "city", "painter", "school"]
    entity = [f"{kind}{i}" for kind in kinds for i in range(15)]
    names = [(a, b, v) for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)) for v in ("near", "beside", "within")]
    parts: dict[str, list[str]] = {"train": [], "test": []}
    lines = ["relation\tdescription\tsplit"]
    for number, (a, b, word) in enumerate(names):
        unseen = number in (2, 3, 7)
        lines.append(f"r{number}\tfrom {kinds[a]} {word} {kinds[b]}\t{'unseen' if unseen else 'seen'}")
        pairs = {(int(h), int((h + rng.integers(0, 2)) % 15)) for h in rng.integers(0, 15, 40)}  # much the same pairs
        parts["test" if unseen else "train"] += [f"{kinds[a]}{h}\tr{number}\t{kinds[b]}{t}" for h, t in sorted(pairs)]
    folder = tmp_path_factory.mktemp("graph") / "kg"
    folder.mkdir()
    for part, rows in parts.items():
        (folder / f"{part}.tsv").write_text("\n".join(rows) + "\n")
    (folder / "relations.tsv").write_text("\n".join(lines) + "\n")
    (folder / "entities.tsv").write_text("entity\tname\n" + "".join(f"{e}\t{e[:-1].rstrip('1')}\n" for e in entity))
    return folder


@pytest.fixture
def zero_shot_folder(tmp_path, knowledge_graph) -> Path:
    """The knowledge graph, as a folder that a test may change."""
    return Path(shutil.copytree(knowledge_graph, tmp_path / "kg"))
