"""What all tests share: one small database, one cache for the session, few threads."""

from __future__ import annotations

import os
from pathlib import Path

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


@pytest.fixture
def run_in(tmp_path, monkeypatch):
    """Runs the test in an empty folder, where runs leave their files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
