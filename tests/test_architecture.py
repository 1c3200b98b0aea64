"""Which package may import which: the imports of every file, walked."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "relbench_pretrain"
ROOMS = [
    "lazy",
    "errors",
    "renamed",
    "hashing",
    "unix_time",
    "files",
    "progress",
    "distributed",
    "epochs",
    "datasets",
    "pretrained",
    "relational",
    "sampling",
    "nn",
    "contrastive",
    "forecasting",
    "knowledge_graph",
    "hypergraph",
    "evaluation",
    "studies",
    "trainer",
    "commands",
    "cli",
    "__main__",
]
"""The rooms of the library from the lowest to the highest; a room imports lower ones only."""
KNOW_LIGHTNING = ["trainer", "commands", "cli"]
"""The rooms that know Lightning, and the packages beside the library that build on it."""
TOP = ["relbench_pretrain", "lightning_modules", "datamodules", "callbacks"]

ALLOWED = {
    "datamodules": {
        "contrastive.corruption",
        "datasets",
        "epochs",
        "forecasting.targets",
        "hypergraph",
        "knowledge_graph",
        "pretrained",
        "relational",
        "renamed",
        "sampling",
        "unix_time",
    },
    "lightning_modules": {
        "contrastive",
        "distributed",
        "evaluation",
        "forecasting.objective",
        "hypergraph",
        "knowledge_graph",
        "nn",
        "pretrained",
        "relational.schema",
        "relational.specification",
        "relational.tasks",
        "trainer.specification",
    },
    "callbacks": {
        "contrastive.normalization",
        "errors",
        "evaluation",
        "files",
        "hypergraph",
        "knowledge_graph.specification",
        "pretrained",
        "progress",
        "relational.schema",
        "relational.specification",
        "renamed",
        "trainer",
    },
}


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, and whether at the top rather than within a function."""
    tree = ast.parse(path.read_text())
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module or ""]).strip(".")
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "relbench_pretrain" else [module]
            found += [(name, id(node) in top) for name in names]
    return found


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def test_every_room_has_its_floor():
    assert {room_of(path) for path in files_of("relbench_pretrain")} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", files_of("relbench_pretrain"), ids=lambda p: str(p.relative_to(ROOT)))
def test_library_knows_neither_lightning_nor_loggers_and_only_lower_rooms(path):
    room = room_of(path)
    for module, at_top in imports_of(path):
        parts = module.split(".")
        if room not in KNOW_LIGHTNING and room != "__main__":
            assert parts[0] not in {"lightning", "pytorch_lightning", "wandb", *TOP[1:]}, module
        if room == "trainer":
            assert parts[0] not in TOP[1:], module
        if parts[0] == "wandb":
            assert not at_top, f"{path.name} imports wandb for everybody"
        if parts[0] == "relbench_pretrain" and len(parts) > 1 and (room in ROOMS or at_top):
            floor = ROOMS.index(room) if room in ROOMS else 0
            assert ROOMS.index(parts[1]) <= floor, f"{room} imports the higher room {parts[1]}"


@pytest.mark.parametrize("package", ["datamodules", "lightning_modules", "callbacks"])
def test_lightning_packages_stay_behind_their_doors(package):
    for path in files_of(package):
        for module, at_top in imports_of(path):
            parts = module.split(".")
            if parts[0] in TOP[1:]:
                assert parts[0] == package, f"{path.name} imports {module}"
            if parts[0] == "wandb":
                assert not at_top, f"{path.name} imports wandb for everybody"
            if parts[0] == "relbench_pretrain":
                inner = ".".join(parts[1:])
                assert any(inner == a or inner.startswith(f"{a}.") for a in ALLOWED[package]), f"{path.name}: {module}"


def test_data_are_asked_through_one_door():
    asking = re.compile(r"trainer\.datamodule|trainer, \"datamodule\"")
    found = [path for package in TOP for path in files_of(package) if asking.search(path.read_text())]
    assert found == [LIBRARY / "trainer" / "specification.py"]


def test_no_file_is_called_utils():
    assert not [path for package in TOP for path in files_of(package) if path.stem == "utils"]
