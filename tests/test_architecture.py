"""Which package may import which: the imports of every file, walked."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ["relational", "sampling", "nn", "contrastive", "forecasting", "knowledge_graph", "hypergraph", "evaluation"]
TOP = ["relbench_pretrain", "lightning_modules", "datamodules", "callbacks"]

ALLOWED = {
    "datamodules": {
        "relational",
        "sampling",
        "contrastive.corruption",
        "forecasting.targets",
        "knowledge_graph",
        "hypergraph",
        "checkpoints",
    },
    "lightning_modules": {
        "nn",
        "contrastive",
        "forecasting.objective",
        "knowledge_graph",
        "hypergraph",
        "evaluation",
        "checkpoints",
        "relational.schema",
        "relational.tasks",
    },
    "callbacks": {"relational.schema", "evaluation", "checkpoints", "contrastive.normalization", "hypergraph"},
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
            found.append((".".join([*base, node.module or ""]).strip("."), id(node) in top))
    return found


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", files_of("relbench_pretrain"), ids=lambda p: str(p.relative_to(ROOT)))
def test_library_knows_neither_lightning_nor_loggers_and_only_lower_rooms(path):
    if path.name in ("cli.py", "__main__.py"):
        return
    inside = path.relative_to(ROOT / "relbench_pretrain").parts
    room = inside[0] if inside[0] in ROOMS else None
    for module, _ in imports_of(path):
        assert module.split(".")[0] not in {"lightning", "pytorch_lightning", "wandb", *TOP[1:]}, module
        parts = module.split(".")
        if room and parts[0] == "relbench_pretrain" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= ROOMS.index(room), f"{room} imports the higher room {parts[1]}"


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


def test_no_file_is_called_utils():
    assert not [path for package in TOP for path in files_of(package) if path.stem == "utils"]
