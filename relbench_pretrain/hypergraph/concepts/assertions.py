"""Assertions of a commonsense knowledge base, such as ConceptNet, as a weighted network of concepts."""

from __future__ import annotations

import gzip
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from relbench_pretrain.hypergraph.hypergraph import HypergraphError

ENDINGS = (".parquet", ".tsv", ".txt", ".csv", ".gz")
COLUMNS = ("head", "relation", "tail")


@dataclass(frozen=True)
class Assertions:
    """Concepts, and how strongly assertions of any relation join two of them.

    Args:
        concepts: The concepts' names, each once.
        strength: The summed weights of the assertions that join two concepts, symmetric, without a diagonal
            ``(num_concepts, num_concepts)``.
    """

    concepts: list[str]
    strength: sparse.csr_array

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each concept by name."""
        return {name: i for i, name in enumerate(self.concepts)}

    def related(self, concept: str) -> list[str]:
        """Returns the concepts that share an assertion with one, strongest first, ties by name."""
        row = self.number[concept]
        span = slice(self.strength.indptr[row], self.strength.indptr[row + 1])
        names = [self.concepts[i] for i in self.strength.indices[span]]
        ranked = sorted(zip(-self.strength.data[span], names, strict=True))
        return [name for _, name in ranked]


def read_assertions(path: str | Path, language: str = "en") -> Assertions:
    """Reads assertions, and sums the weights of those that join the same two concepts.

    Parquet: columns head, relation and tail. Otherwise tab-separated lines of UTF-8, perhaps compressed (``.gz``):
    three fields, head, relation and tail, with or without these names as first line; or the five of ConceptNet's own
    dump, address, relation, start, end and a JSON object with ``weight``. An assertion without a weight counts 1. A
    term like ``/c/en/hot_dog/n`` becomes ``hot dog``; those of other languages and addresses of the Web are left out.

    Args:
        path: A file, or a folder whose files of such endings are all read.
        language: The language of the terms that name one.

    Raises:
        HypergraphError: If there is no such file, a row is bad, or no assertion is left; file and line are named.
    """
    path = Path(path)
    files = sorted(p for p in path.iterdir() if p.name.endswith(ENDINGS)) if path.is_dir() else [path]
    number: dict[str, int] = {}
    heads, tails, weights = array("q"), array("q"), array("d")
    for file in files:
        for head, tail, weight in _rows(file, f"\t/c/{language}/"):
            a, b = _term(head, language), _term(tail, language)
            if a and b and a != b:
                heads.append(number.setdefault(a, len(number)))
                tails.append(number.setdefault(b, len(number)))
                weights.append(weight)
    if not number:
        raise HypergraphError(
            f"'{path}' holds no assertion between two concepts of language '{language}': give a {', '.join(ENDINGS)} "
            "file of assertions, or another language"
        )
    i, j, w = np.frombuffer(heads, np.int64), np.frombuffer(tails, np.int64), np.frombuffer(weights)
    both = sparse.coo_array((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=(len(number), len(number)))
    return Assertions(list(number), both.tocsr())


def _term(text: str, language: str) -> str | None:
    """Returns the concept that a term names, if it is one of the language or of none."""
    if text.startswith("/c/"):
        parts = text.split("/")
        return parts[3].replace("_", " ") if parts[2] == language and len(parts) > 3 else None
    return None if text.startswith(("http://", "https://")) else text


def _rows(path: Path, marker: str) -> Iterator[tuple[str, str, float]]:
    """Yields head, tail and weight of each assertion."""
    if not path.is_file():
        raise HypergraphError(f"there is no file '{path}': give a file of assertions, or a folder of such files")
    if path.suffix == ".parquet":
        return _parquet(path)
    return _lines(path, marker)


def _parquet(path: Path) -> Iterator[tuple[str, str, float]]:
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
    except (pa.ArrowInvalid, KeyError) as error:
        raise HypergraphError(f"'{path}' should have the columns {', '.join(COLUMNS)}: {error}") from error
    heads, tails = (table.column(name).to_pylist() for name in ("head", "tail"))
    for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
        if not (isinstance(head, str) and isinstance(tail, str) and head.strip() and tail.strip()):
            raise HypergraphError(f"{path}, row {row}: head {head!r} and tail {tail!r} should be texts; leave it out")
        yield head.strip(), tail.strip(), 1.0


def _lines(path: Path, marker: str) -> Iterator[tuple[str, str, float]]:
    opener = gzip.open if path.suffix == ".gz" else open
    line = 0
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for line, text in enumerate(file, start=1):
                # Of the dump's 34 million lines, one in ten is of the language; the others need no splitting.
                if text.startswith("/a/") and text.count(marker) < 2:
                    continue
                fields = [field.strip() for field in text.rstrip("\r\n").split("\t")]
                if fields != [""] and not (line == 1 and tuple(fields) == COLUMNS):
                    yield _assertion(fields, f"{path}, line {line}")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise HypergraphError(f"{path}, after line {line}: {error}; give text in UTF-8, whole if compressed") from error


def _assertion(fields: Sequence[str], place: str) -> tuple[str, str, float]:
    if len(fields) not in (3, 5) or not all(fields):
        raise HypergraphError(
            f"{place}: {len(fields)} fields {list(fields)[:4]}; it should have 3, separated by tabs, head, relation "
            "and tail, or the 5 of ConceptNet's dump, none of them empty"
        )
    if len(fields) == 3:
        return fields[0], fields[2], 1.0
    try:
        weight = float(json.loads(fields[4]).get("weight", 1.0))
    except (ValueError, TypeError, AttributeError) as error:
        raise HypergraphError(f'{place}: {fields[4][:60]} should be JSON such as {{"weight": 1.0}}') from error
    if not 0 < weight < float("inf"):
        raise HypergraphError(f"{place}: weight {weight} should be above 0; leave the line out")
    return fields[2], fields[3], weight
