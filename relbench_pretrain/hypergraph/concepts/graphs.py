"""Graphs of concepts, in which every edge weighs the same: read from a file, or grown around a word."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relbench_pretrain.hypergraph.concepts.assertions import Assertions, read_assertions
from relbench_pretrain.hypergraph.conversion import from_names
from relbench_pretrain.hypergraph.generators import HypergraphSource
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError

NameEdges = list[tuple[str, str]]


@dataclass(frozen=True)
class ConceptGraphEntry:
    """A graph of concepts, and the answers of language models that were asked for its edges.

    Args:
        name: The source word that it grew from; with its width where a file has several graphs of one word.
        graph: The concepts, and which are related; every edge weighs the same.
        answers: The edges that each model named, by model.
    """

    name: str
    graph: Hypergraph
    answers: Mapping[str, NameEdges]


def read_concept_graphs(path: str | Path) -> list[ConceptGraphEntry]:
    """Reads a JSON list of graphs of concepts.

    Each is an object with ``source`` or ``seed`` (the word), ``concepts`` (names) and ``edges`` (pairs of places among
    the concepts); perhaps ``answers`` (edges by model) and ``max_width``. Graphs without edges are left out, and of
    two that are the same one is kept.

    Args:
        path: The file.

    Raises:
        HypergraphError: If there is no such file, an entry is bad, or different graphs have one name; the file and
            the entry are named.
    """
    path = Path(path)
    if not path.is_file():
        raise HypergraphError(f"there is no file '{path}': give a JSON list of graphs of concepts")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HypergraphError(f"'{path}' is no JSON: {error}") from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise HypergraphError(f"'{path}' should hold a list of objects with source, concepts and edges")
    found: dict[str, tuple[Any, ConceptGraphEntry]] = {}
    graphs = [(number, raw) for number, raw in enumerate(content) if raw.get("edges") != []]
    widths = Counter(word for word, _ in {(_word(raw), raw.get("max_width")) for _, raw in graphs})
    for number, raw in graphs:
        place = f"{path}, entry {number}"
        word = _word(raw)
        name = word if widths[word] < 2 else f"{word}, width {raw.get('max_width')}"
        entry = _entry(raw, name, place)
        before, _ = found.setdefault(name, (raw, entry))
        if any(before.get(key) != raw.get(key) for key in ("concepts", "edges", "answers")):
            raise HypergraphError(f"{place}: there is another graph of '{name}' before; leave one of them out")
    return [entry for _, entry in found.values()]


def concept_graphs(
    path: str, sources: Sequence[str] | None = None, width: int = 2, depth: int = 3, language: str = "en"
) -> dict[str, Hypergraph]:
    """Returns the graphs around some words, stored ones or grown from assertions.

    Args:
        path: A JSON list of graphs of concepts; or assertions, a file or folder, see :func:`read_assertions`.
        sources: The words; of a list of graphs all by default.
        width: Of a graph that is grown, see :func:`neighborhood`.
        depth: The same.
        language: The language of the terms of assertions that name one.

    Raises:
        HypergraphError: If the file is missing or bad, has no such graph, or no word is given to grow one around.
    """
    if Path(path).suffix == ".json":
        return _chosen(path, sources)
    if not sources:
        raise HypergraphError(
            f"'{path}' holds assertions; name the words to grow graphs around, as in --sources='[dog]'"
        )
    assertions = read_assertions(path, language)
    return {source: grow(assertions, source, width, depth) for source in sources}


def neighborhood(source: str, related: Callable[[str], Sequence[str]], width: int = 2, depth: int = 3) -> Hypergraph:
    """Grows a graph around a word: every concept is joined to those that it is most related to, breadth first.

    Source: Chen et al. 2024, section 6, which takes width 2 and depth 3. Concepts at the full depth bring no new ones,
    but are joined to those of their most related ones that are there.

    Args:
        source: The word.
        related: Gives the concepts that one is related to, the most related first.
        width: How many of them count.
        depth: How many steps new concepts may be away.

    Raises:
        HypergraphError: If width or depth is below 1, or the word is related to nothing.
    """
    if width < 1 or depth < 1:
        raise HypergraphError(f"width {width} and depth {depth} must be 1 or more")
    steps = {source: 0}
    edges = []
    queue = [source]
    for concept in queue:
        for other in related(concept)[:width]:
            if other not in steps and steps[concept] < depth:
                steps[other] = steps[concept] + 1
                queue.append(other)
            if other in steps and other != concept:
                edges.append((concept, other))
    if not edges:
        raise HypergraphError(f"'{source}' is related to nothing; take another word")
    return from_names(sorted({tuple(sorted(edge)) for edge in edges}), nodes=steps)


def grow(assertions: Assertions, source: str, width: int = 2, depth: int = 3) -> Hypergraph:
    """Grows a graph around a word from assertions, see :func:`neighborhood`.

    Raises:
        HypergraphError: If no assertion has the word, or width or depth is below 1.
    """
    if source not in assertions.number:
        raise HypergraphError(
            f"no assertion has the concept '{source}'; of {len(assertions.concepts)} concepts the first is "
            f"'{assertions.concepts[0]}': give one as it is written there"
        )
    return neighborhood(source, assertions.related, width, depth)


class ConceptGraph(HypergraphSource):
    """One graph of a file of concept graphs, see :func:`read_concept_graphs`.

    Args:
        path: The file.
        source: The word that the graph grew from; where the file has graphs of several widths of it, with the width,
            like ``cake, width 3``.
    """

    def __init__(self, path: str, source: str) -> None:
        self.path, self.source = path, source

    def make(self) -> Hypergraph:
        return _chosen(self.path, [self.source])[self.source]


class ConceptNeighborhood(HypergraphSource):
    """The graph around a word in a file of assertions, see :func:`neighborhood`.

    Args:
        assertions: The file or folder, see :func:`read_assertions`.
        source: The word.
        width: How many of the concepts most related to one are joined to it: by the summed weight of their
            assertions, ties by name.
        depth: How many steps concepts may be away from the word.
        language: The language of the terms that name one.
    """

    def __init__(self, assertions: str, source: str, width: int = 2, depth: int = 3, language: str = "en") -> None:
        self.assertions, self.source, self.width, self.depth = assertions, source, width, depth
        self.language = language

    def make(self) -> Hypergraph:
        return grow(read_assertions(self.assertions, self.language), self.source, self.width, self.depth)


def _chosen(path: str, sources: Sequence[str] | None) -> dict[str, Hypergraph]:
    """Returns some graphs of a file by source, by default all."""
    graphs = {entry.name: entry.graph for entry in read_concept_graphs(path)}
    if unknown := [source for source in sources or [] if source not in graphs]:
        raise HypergraphError(f"'{path}' has no graph of '{unknown[0]}' with edges; it has {list(graphs)}")
    return {source: graphs[source] for source in sources or graphs}


def _word(raw: Mapping[str, Any]) -> str:
    return str(raw.get("source", raw.get("seed")))


def _entry(raw: Mapping[str, Any], name: str, place: str) -> ConceptGraphEntry:
    """Checks one object of the file."""
    try:
        for keys in (("source", "seed"), ("concepts",), ("edges",)):
            if not any(key in raw for key in keys):
                raise HypergraphError(f"'{keys[0]}' is missing")
        concepts = [str(concept) for concept in raw["concepts"]]
        graph = from_names(dict.fromkeys(_pairs(raw["edges"], concepts)), nodes=concepts)
        answers = {model: _pairs(edges, concepts) for model, edges in raw.get("answers", {}).items()}
    except (HypergraphError, TypeError, AttributeError) as error:
        raise HypergraphError(f"{place}, '{name}': {error}") from error
    return ConceptGraphEntry(name, graph, answers)


def _pairs(edges: Sequence[Sequence[int]], concepts: Sequence[str]) -> NameEdges:
    """Returns the names of the ends of each edge, the earlier concept first."""
    for edge in edges:
        if len(edge) != 2 or not all(isinstance(end, int) and 0 <= end < len(concepts) for end in edge):
            raise HypergraphError(
                f"edge {edge} should be two places among the {len(concepts)} concepts, counted from 0"
            )
    return [(concepts[min(edge)], concepts[max(edge)]) for edge in edges]
