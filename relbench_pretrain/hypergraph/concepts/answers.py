"""The prompt for the edges of a graph of concepts, and the parser of the answers."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from relbench_pretrain.hypergraph.hypergraph import Hypergraph
from relbench_pretrain.hypergraph.recovery.dissimilarity import Dissimilarity, dissimilarity

PROMPT = """\
These are {number} concepts: {concepts}.
Take them as the nodes of an undirected graph in which an edge joins two concepts that are closely related. \
For each concept in turn, consider the {related} others of the list that it is most related to.
Answer with the edges of this graph and nothing else, one on each line, in the form \
("one concept", "another concept")."""

STATED = re.compile(r"""[(\[]\s*("(?:[^"\\]|\\.)*")\s*,\s*("(?:[^"\\]|\\.)*")\s*[)\]]""")
GROUP = re.compile(r"[(\[{<]([^()\[\]{}<>]*)[)\]}>]")
MARK = re.compile(r"^\s*(?:[-*•·>+]+\s+|\(?\d+[.):]\s*)+")
JOIN = re.compile(r"\s*(?:<?[-–—=]+>|<-+|↔|→|⟷|-{2,}|\||:|\t)\s*|\s+[-–—]\s+")
ITEMS = re.compile(r"\s*[,;]\s*(?:and\s+|or\s+)?|\s+and\s+|\s*&\s*")
QUOTED = re.compile(r"""(["'“‘`])(.+?)["'”’`](?=\s*(?:[,)\]}>:;|–—-]|$))""")


@dataclass(frozen=True)
class Answer:
    """The edges that a text names, and what was left out of it.

    Args:
        edges: Places of two concepts, the smaller first; each once, in order.
        self_loops: How many edges from a concept to itself it names.
        unknown: How many edges to something that is none of the concepts.
    """

    edges: list[tuple[int, int]]
    self_loops: int
    unknown: int


def edge_prompt(concepts: Sequence[str], related: int = 2) -> str:
    """Asks for the edges between concepts.

    Source: Chen et al. 2024, section 6, in other words.

    Args:
        concepts: Their names.
        related: How many related ones to consider for each.
    """
    names = ", ".join(f'"{name}"' for name in concepts)
    return PROMPT.format(number=len(concepts), concepts=names, related=related)


def edge_text(edges: Sequence[tuple[str, str]]) -> str:
    """Writes edges as the prompt asks for them."""
    return "\n".join(f"({json.dumps(a, ensure_ascii=False)}, {json.dumps(b, ensure_ascii=False)})" for a, b in edges)


def parse_answer(text: str, concepts: Sequence[str]) -> Answer:
    """Finds the edges that a text names.

    Read are JSON and Python lists of pairs or lists by concept, and line by line pairs in brackets, names joined by
    dashes, arrows, colons, bars or tabs, and the names that belong to one (``cake: birthday, dessert``), whatever the
    case, quotes, numbering and emphasis. Lines that are none of this are prose, and do not count.

    Args:
        text: The answer.
        concepts: The names of the nodes.
    """
    number = {_plain(name): i for i, name in enumerate(concepts)}
    pairs = _structured_pairs(text, number)
    if not pairs:
        pairs = [pair for line in text.splitlines() for pair in _line_pairs(line, number)]
    places = [(number.get(_plain(a)), number.get(_plain(b))) for a, b in pairs]
    known = [(a, b) for a, b in places if a is not None and b is not None]
    edges = sorted({(min(a, b), max(a, b)) for a, b in known if a != b})
    return Answer(edges, sum(a == b for a, b in known), len(places) - len(known))


def answer_dissimilarity(truth: Hypergraph, answer: Answer) -> Dissimilarity:
    """Compares the edges of an answer with the true ones, all of the same weight.

    An answer without edges misses every true one: both ratios are 1, precision and recall 0.

    Args:
        truth: The true graph.
        answer: The answer, read with the nodes of that graph.
    """
    if not answer.edges:
        return Dissimilarity(truth.num_edges, 1.0, 1.0, truth.num_edges, 0.0, 0.0)
    return dissimilarity(truth, Hypergraph.from_edges(truth.nodes, answer.edges), weighted=False)


def _plain(name: str) -> str:
    """Returns a name without case, quotes, emphasis, escapes and underscores."""
    return " ".join(name.replace("\\", "").replace("_", " ").strip(" \t\"'“”‘’`*.,;()[]{}<>").casefold().split())


def _structured_pairs(text: str, number: dict[str, int]) -> list[tuple[str, str]]:
    """Returns the pairs of the JSON or Python literal in a text, if there is one."""
    starts = [place for place in (text.find("["), text.find("{")) if place >= 0]
    end = max(text.rfind("]"), text.rfind("}"))
    part = text[min(starts, default=0) : end + 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's on escapes that it does not know
        for read in (json.loads, ast.literal_eval):
            try:
                return list(_walk(read(part), number))
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
    return []


def _walk(value: Any, number: dict[str, int]) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return
    inner = list(value.values() if isinstance(value, dict) else value)
    if isinstance(value, dict) and value and all(_plain(str(key)) in number for key in value):
        for key, others in value.items():
            names = [others] if isinstance(others, str) else others
            yield from ((str(key), other) for other in names if isinstance(other, str))
    elif inner and all(isinstance(name, str) for name in inner):
        lines = [pair for name in inner for pair in _line_pairs(name, number)]  # ["cake - birthday", …]
        yield from lines or ([(inner[0], inner[1])] if len(inner) == 2 else [])
    else:
        for item in inner:
            yield from _walk(item, number)


def _line_pairs(line: str, number: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yields the pairs of one line."""
    line = MARK.sub("", line).strip()
    if _plain(line) in number:
        return
    if (stated := STATED.findall(line)) and not _plain(STATED.sub("", line)):
        yield from stated
        return
    groups = [group for group in (_items(text, number) for text in GROUP.findall(line)) if len(group) == 2]
    outside = [_plain(part) for part in JOIN.split(GROUP.sub("", line)) if _plain(part)]
    if len(outside) > 1 and outside[0] in number:  # what is in brackets explains
        line = GROUP.sub("", line)
    elif groups and not (outside and outside[0] in number):  # else they belong to one concept
        yield from ((a, b) for a, b in groups)
        return
    for clause in line.strip("|").split(";"):
        # "cake - birthday, zoo - animal" is two edges; "cake - birthday, dessert" is two edges of cake.
        parts = clause.split(",")
        for part in parts if all(JOIN.search(part) for part in parts) else [clause]:
            yield from _clause_pairs(part, number)


def _clause_pairs(clause: str, number: dict[str, int]) -> Iterator[tuple[str, str]]:
    parts = [_items(part, number) for part in JOIN.split(clause) if _plain(part)]
    names = [any(_plain(name) in number for name in part) for part in parts]
    if len(parts) > 1 and any(names[:2]):
        said = [part for place, part in enumerate(parts) if place < 2 or names[place]]  # others explain
        for left, right in pairwise(said):
            yield from product(left, right)
        return
    for cut in re.finditer(r"\s*[-–—,]\s*|\s+(?:and|to)\s+", clause):
        a, b = clause[: cut.start()], clause[cut.end() :]
        if _plain(a) in number and _plain(b) in number:
            yield a, b


def _items(text: str, number: dict[str, int]) -> list[str]:
    """Splits names that stand beside each other; what is one concept stays whole."""
    if _plain(text) in number:
        return [text]
    quoted = [match[1] for match in QUOTED.findall(text)]
    names = quoted if len(quoted) > 1 else [part for part in ITEMS.split(text) if _plain(part)]
    return names if len(names) > 1 else [part for part in JOIN.split(names[0] if names else "") if _plain(part)]
