"""What all tests share: one small database, one cache for the session, few threads."""

from __future__ import annotations

import os
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


@pytest.fixture
def zero_shot_folder(tmp_path) -> Path:
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
    folder = tmp_path / "kg"
    folder.mkdir()
    for part, rows in parts.items():
        (folder / f"{part}.tsv").write_text("\n".join(rows) + "\n")
    (folder / "relations.tsv").write_text("\n".join(lines) + "\n")
    (folder / "entities.tsv").write_text("entity\tname\n" + "".join(f"{e}\t{e[:-1].rstrip('1')}\n" for e in entity))
    return folder
