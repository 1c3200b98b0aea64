"""Tables of results: CSV on disk, Markdown for people."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def read_table(path: str | Path) -> str:
    """Reads a CSV file as a Markdown table, cells as they stand in the file."""
    with Path(path).open(newline="") as file:
        header, *rows = csv.reader(file)
    return markdown(header, rows)
