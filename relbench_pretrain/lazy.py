"""Exports of a package that are imported when they are asked for, so that what needs few of them starts at once."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_exports(package: str, file: str) -> Callable[[str], Any]:
    """Returns the ``__getattr__`` of a package.

    The imports stand in its ``__init__`` under ``if TYPE_CHECKING``, where type checkers and editors find them too.

    Args:
        package: Its name.
        file: Its ``__init__`` file.
    """

    @cache
    def homes() -> dict[str, str]:
        blocks = [node for node in ast.parse(Path(file).read_text(encoding="utf-8")).body if isinstance(node, ast.If)]
        imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
        return {alias.name: node.module for node in imports for alias in node.names if node.module}

    def load(name: str) -> Any:
        if name.startswith("__") or name not in homes():
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(homes()[name]), name)

    return load
