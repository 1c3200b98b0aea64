"""Docstrings for Sphinx: this project writes code in double backticks or in single ones, and uses plain symbols."""

from __future__ import annotations

import re
from typing import Any

SINGLE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`_])")
"""Code in single backticks, as Markdown has it."""
OUTSIDE_CODE = re.compile(r"(``.+?``)", flags=re.DOTALL)
"""Where to split a line, so that every second part is code."""


def plain(lines: list[str]) -> None:
    """Escapes what reStructuredText would take for markup: a star, a bar, a trailing underscore.

    Args:
        lines: A docstring's lines, changed in place.
    """
    text = SINGLE.sub(r"``\1``", "\n".join(lines))
    parts = OUTSIDE_CODE.split(text)
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(r"(?<!\\)\*", r"\\*", parts[number])
        parts[number] = re.sub(r"(?<!\\)\|", r"\\|", parts[number])
        parts[number] = re.sub(r"(?<=\w)_(?=\W|$)", r"\\_", parts[number])
    lines[:] = "".join(parts).split("\n")


def setup(app: Any) -> dict[str, bool]:
    """Puts it before Napoleon, which adds markup of its own."""
    app.connect(
        "autodoc-process-docstring", lambda _app, _what, _name, _object, _options, lines: plain(lines), priority=1
    )
    return {"parallel_read_safe": True}
