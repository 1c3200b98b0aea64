"""Sources of hypergraphs: the paper's families of graphs, random hypergraphs, files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import combinations, pairwise
from math import comb

import numpy as np

from relbench_pretrain.hypergraph.conversion import read_hypergraph
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.rows import unique_rows, widened

TRIES = 1_000


class HypergraphSource(ABC):
    """Makes or reads a hypergraph; a DataModule is given one."""

    @abstractmethod
    def make(self) -> Hypergraph:
        """Returns the hypergraph, the same every time."""


class Star(HypergraphSource):
    """STAR: node 0 joined to every other one; the diameter L is 1.

    Args:
        num_nodes: n.
        weights: The values that weights are drawn from, uniformly; ``[1, κ]`` for the paper's study of κ.
        seed: Seeds the weights.
    """

    def __init__(self, num_nodes: int = 20, weights: Sequence[float] = (1.0,), seed: int = 0) -> None:
        _require(num_nodes >= 2, f"a star needs two nodes or more, got {num_nodes}")
        self.num_nodes, self.weights, self.seed = num_nodes, weights, seed

    def make(self) -> Hypergraph:
        return _weighted(self.num_nodes, [(0, i) for i in range(1, self.num_nodes)], self.weights, self.seed)


class Arms(HypergraphSource):
    """X: chains that meet in node 0; with the paper's four arms of 4, 5, 5 and 5 edges n is 20, the diameter L 9.

    Args:
        lengths: Edges of each arm.
        weights: The values that weights are drawn from, uniformly.
        seed: Seeds the weights.
    """

    def __init__(self, lengths: Sequence[int] = (4, 5, 5, 5), weights: Sequence[float] = (1.0,), seed: int = 0) -> None:
        _require(len(lengths) > 0 and min(lengths) >= 1, f"every arm needs an edge, got lengths {list(lengths)}")
        self.lengths, self.weights, self.seed = lengths, weights, seed

    def make(self) -> Hypergraph:
        edges, last = [], 0
        for length in self.lengths:
            nodes = [0, *range(last + 1, last + length + 1)]
            edges += list(pairwise(nodes))
            last += length
        return _weighted(last + 1, edges, self.weights, self.seed)


class Chain(HypergraphSource):
    """CHAIN: every node joined to the next; the diameter L is n − 2.

    Args:
        num_nodes: n.
        weights: The values that weights are drawn from, uniformly.
        seed: Seeds the weights.
    """

    def __init__(self, num_nodes: int = 20, weights: Sequence[float] = (1.0,), seed: int = 0) -> None:
        _require(num_nodes >= 2, f"a chain needs two nodes or more, got {num_nodes}")
        self.num_nodes, self.weights, self.seed = num_nodes, weights, seed

    def make(self) -> Hypergraph:
        return _weighted(self.num_nodes, list(pairwise(range(self.num_nodes))), self.weights, self.seed)


class ConnectedRandomGraph(HypergraphSource):
    """WCGNM: a connected graph, chosen uniformly from all with n nodes and m edges.

    Where too few graphs of so few edges are connected, a random tree is filled up instead.

    Args:
        num_nodes: n.
        num_edges: m; ⌊0.2 n(n − 1)/2⌋ by default, as in the paper.
        weights: The values that weights are drawn from, uniformly.
        seed: Seeds edges and weights.
    """

    def __init__(
        self, num_nodes: int = 20, num_edges: int | None = None, weights: Sequence[float] = (1.0, 3.0), seed: int = 0
    ) -> None:
        pairs = num_nodes * (num_nodes - 1) // 2
        self.num_nodes, self.weights, self.seed = num_nodes, weights, seed
        self.num_edges = max(num_nodes - 1, pairs // 5) if num_edges is None else num_edges
        _require(
            num_nodes >= 2 and num_nodes - 1 <= self.num_edges <= pairs,
            f"a connected graph of {num_nodes} nodes has {num_nodes - 1} to {pairs} edges, not {self.num_edges}",
        )

    def make(self) -> Hypergraph:
        rng = np.random.default_rng([self.seed, 0])
        pairs = self.num_nodes * (self.num_nodes - 1) // 2
        # Of graphs with few edges hardly one is connected (Erdős and Rényi 1960).
        for _ in range(TRIES if self.num_edges > 0.4 * self.num_nodes * np.log(self.num_nodes) else 0):
            edges = _pairs(rng.choice(pairs, self.num_edges, replace=False))
            graph = _weighted(self.num_nodes, edges, self.weights, self.seed)
            if len(np.unique(edges)) == self.num_nodes and graph.adjacency.components.max() == 0:
                return graph
        tree = _number(_random_tree(self.num_nodes, rng))
        others = np.setdiff1d(np.arange(pairs), tree)
        more = rng.choice(others, self.num_edges - len(tree), replace=False)
        return _weighted(self.num_nodes, _pairs(np.r_[tree, more]), self.weights, self.seed)


class ErdosRenyi(HypergraphSource):
    """G(n, p): every pair is an edge with the same probability, independently; it may fall apart.

    Args:
        num_nodes: n.
        probability: p.
        weights: The values that weights are drawn from, uniformly; ``[1, κ]``.
        seed: Seeds edges and weights.
    """

    def __init__(
        self, num_nodes: int = 20, probability: float = 0.2, weights: Sequence[float] = (1.0,), seed: int = 0
    ) -> None:
        _require(0 < probability <= 1, f"probability must be above 0 and at most 1, got {probability}")
        self.num_nodes, self.probability, self.weights, self.seed = num_nodes, probability, weights, seed

    def make(self) -> Hypergraph:
        rng = np.random.default_rng([self.seed, 0])
        pairs = self.num_nodes * (self.num_nodes - 1) // 2
        number = rng.binomial(pairs, self.probability)
        _require(number > 0, "not one edge was drawn: take a higher probability, more nodes or another seed")
        edges = _pairs(rng.choice(pairs, number, replace=False))
        return _weighted(self.num_nodes, edges, self.weights, self.seed)


class RandomHypergraph(HypergraphSource):
    """A random hypergraph with given numbers of hyperedges of each arity.

    Args:
        num_nodes: n.
        edges_by_arity: The number of hyperedges by number of nodes: ``{3: 400}`` is 3-uniform, ``{2: 200, 3: 400}``
            mixed.
        connected: Whether the hyperedges of an arity are connected by replacing one node at a time: every new one
            then differs from a random earlier one in one node. Otherwise they are drawn uniformly, and may fall apart.
        weights: The values that weights are drawn from, uniformly; ``[1, κ]``.
        seed: Seeds hyperedges and weights.
    """

    def __init__(
        self,
        num_nodes: int = 20,
        edges_by_arity: dict[int, int] = {3: 100},  # noqa: B006  # never changed; a dict is what YAML gives
        connected: bool = True,
        weights: Sequence[float] = (1.0, 3.0),
        seed: int = 0,
    ) -> None:
        _require(bool(edges_by_arity), "edges_by_arity is empty: say how many hyperedges of how many nodes there are")
        for arity, number in edges_by_arity.items():
            _require(1 <= arity <= num_nodes, f"{arity} nodes cannot be drawn from {num_nodes}")
            most = comb(num_nodes, arity)
            _require(1 <= number <= most, f"{num_nodes} nodes have {most} hyperedges of {arity}, not {number}")
        self.num_nodes, self.edges_by_arity, self.connected = num_nodes, edges_by_arity, connected
        self.weights, self.seed = weights, seed

    def make(self) -> Hypergraph:
        rng = np.random.default_rng([self.seed, 0])
        widest = max(self.edges_by_arity)
        draw = self._grow if self.connected else self._uniform
        parts = [draw(arity, number, rng) for arity, number in sorted(self.edges_by_arity.items())]
        edges = np.concatenate([widened(part, widest) for part in parts])
        return _weighted(self.num_nodes, edges, self.weights, self.seed)

    def _uniform(self, arity: int, number: int, rng: np.random.Generator) -> np.ndarray:
        if comb(self.num_nodes, arity) < 4 * number:  # most of all that there are
            everything = np.array(list(combinations(range(self.num_nodes), arity)))
            return everything[rng.choice(len(everything), number, replace=False)]
        found = np.zeros((0, arity), dtype=np.int64)
        while len(found) < number:
            if arity**2 > self.num_nodes:  # most rows of independent nodes would have one twice
                more = np.sort(rng.random((number, self.num_nodes)).argpartition(arity - 1, axis=1)[:, :arity], axis=1)
            else:
                more = np.sort(rng.integers(self.num_nodes, size=(2 * number, arity)), axis=1)
                more = more[(more[:, 1:] != more[:, :-1]).all(1)]
            found = unique_rows(np.concatenate([found, more]))[0]
        return found[rng.choice(len(found), number, replace=False)]

    def _grow(self, arity: int, number: int, rng: np.random.Generator) -> np.ndarray:
        first = np.sort(rng.choice(self.num_nodes, arity, replace=False))
        edges, known = [first], {tuple(first)}
        while len(edges) < number:
            edge = edges[rng.integers(len(edges))].copy()
            edge[rng.integers(arity)] = rng.integers(self.num_nodes)
            edge = np.sort(edge)
            if len(set(edge)) == arity and tuple(edge) not in known:
                known.add(tuple(edge))
                edges.append(edge)
        return np.array(edges)


class HypergraphFile(HypergraphSource):
    """A hypergraph from a file, see :func:`read_hypergraph`.

    Args:
        path: JSON or parquet.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def make(self) -> Hypergraph:
        return read_hypergraph(self.path)


def _weighted(
    num_nodes: int, edges: np.ndarray | list[tuple[int, int]], values: Sequence[float], seed: int
) -> Hypergraph:
    """Draws the weight of each hyperedge from some values."""
    _require(len(values) > 0 and min(values) > 0, f"weights must be above 0, got {list(values)}")
    weights = np.random.default_rng([seed, 1]).choice(np.asarray(values, dtype=np.float64), len(edges))
    return Hypergraph.from_edges(num_nodes, np.asarray(edges), weights)


def _pairs(numbers: np.ndarray) -> np.ndarray:
    """Returns the pairs i < j that have some numbers ``(num, 2)``: pair j(j − 1)/2 + i is (i, j)."""
    j = np.floor((1 + np.sqrt(1 + 8 * numbers.astype(np.float64))) / 2).astype(np.int64)
    return np.stack([numbers - j * (j - 1) // 2, j], axis=1)


def _number(pairs: np.ndarray) -> np.ndarray:
    i, j = np.sort(pairs, axis=1).T
    return j * (j - 1) // 2 + i


def _random_tree(num_nodes: int, rng: np.random.Generator) -> np.ndarray:
    """Joins every node, in random order, to a random earlier one ``(num_nodes − 1, 2)``."""
    order = rng.permutation(num_nodes)
    earlier = (rng.random(num_nodes - 1) * np.arange(1, num_nodes)).astype(np.int64)
    return np.stack([order[earlier], order[1:]], axis=1)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise HypergraphError(message)
