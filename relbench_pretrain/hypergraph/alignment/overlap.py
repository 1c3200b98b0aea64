"""Shared weight of two hypergraphs under a matching of their nodes, and swaps that raise it."""

from __future__ import annotations

import numba
import numpy as np

from relbench_pretrain.hypergraph.hypergraph import Hypergraph

TOLERANCE = 1e-9


class Overlap:
    """Measures the weight that two hypergraphs share under a matching of their nodes.

    For weights that sum to 1 the distance of Chen et al. 2024, d(ϕ(H1), H2) = Σ |w1(e) − w2(ϕ(e))|, is 2 minus twice
    the shared weight Σ min(w1(e), w2(ϕ(e))). A hyperedge of any arity is found by the sum of random numbers of its
    nodes (Zobrist 1970), so that replacing a node changes one summand.

    The smaller hypergraph is filled up with nodes that have no hyperedges: matchings are permutations of
    ``num_nodes``, and a node that is matched with such a one has no partner.

    Args:
        first: The hypergraph whose nodes are matched.
        second: The one that they are matched with.
    """

    def __init__(self, first: Hypergraph, second: Hypergraph) -> None:
        self.num_nodes = max(first.num_nodes, second.num_nodes)
        self.edges, self.weights = first.edges.astype(np.int64), first.weights
        edge, place = np.nonzero(self.edges >= 0)
        node = self.edges[edge, place]
        by_node = np.argsort(node, kind="stable")
        self._start = np.r_[0, np.cumsum(np.bincount(node, minlength=self.num_nodes))]
        self._incident = edge[by_node]
        rng = np.random.default_rng(0)
        self._number = rng.integers(0, 2**64, self.num_nodes, dtype=np.uint64)
        keys = _keys(second.edges.astype(np.int64), self._number)
        self._table = _table(keys, second.weights)
        self._of_second = np.zeros(self.num_nodes)
        np.add.at(self._of_second, second.edges[second.edges >= 0], np.repeat(second.weights, second.arity))
        self._of_first = np.bincount(node, self.weights[edge], minlength=self.num_nodes)

    def permutation(self, order: np.ndarray) -> np.ndarray:
        """Completes a matching of the first's nodes, in which −1 is no partner, to a permutation ``(num_nodes,)``."""
        matched = order >= 0
        found = np.empty(self.num_nodes, dtype=np.int64)
        places = np.r_[np.flatnonzero(~matched), np.arange(len(order), self.num_nodes)]
        found[: len(order)] = order
        found[places] = np.setdiff1d(np.arange(self.num_nodes), order[matched])
        return found

    def distance(self, order: np.ndarray) -> float:
        """Returns d(ϕ(H1), H2), 0 to 2, of a matching ``(num_nodes,)``; 0 if and only if it is an isomorphism."""
        distance = 2 * (1 - float(self._shared(order).sum()))
        return distance if distance > TOLERANCE else 0.0

    def node_costs(self, order: np.ndarray) -> np.ndarray:
        """Returns for each node the share of the weight at it, in both, that is not common to both ``(num_nodes,)``."""
        shared = self._shared(order)
        edge, place = np.nonzero(self.edges >= 0)
        common = np.bincount(self.edges[edge, place], shared[edge], minlength=self.num_nodes)
        total = self._of_first + self._of_second[order]
        return np.where(total > 0, 1 - 2 * common / np.where(total > 0, total, 1), 0.0).clip(0, 1)

    def improve(self, order: np.ndarray, free: np.ndarray, sweeps: int = 100) -> np.ndarray:
        """Swaps the partners of two nodes as long as that brings the hypergraphs closer (2-opt, Croes 1958).

        Args:
            order: A matching ``(num_nodes,)``.
            free: The nodes that may be swapped ``(num_free,)``.
            sweeps: How often all pairs of them are tried at most.

        Returns:
            A matching that is no farther.
        """
        order, keys = order.astype(np.int64), self._keys_under(order)
        _improve(order, free.astype(np.int64), sweeps, TOLERANCE, keys, *self._arrays)
        return order

    def margins(self, order: np.ndarray) -> np.ndarray:
        """Returns by how much the distance grows at least when a node swaps its partner with another's.

        Nodes that nothing tells apart have margin 0.

        Args:
            order: A matching ``(num_nodes,)``.

        Returns:
            ``(num_nodes,)``.
        """
        order = order.astype(np.int64)
        return 2 * _margins(order, self._keys_under(order), *self._arrays)

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return (self._number, self._start, self._incident, self.edges, self.weights, *self._table)

    def _keys_under(self, order: np.ndarray) -> np.ndarray:
        return _keys(self.edges, self._number[order])

    def _shared(self, order: np.ndarray) -> np.ndarray:
        return np.minimum(self.weights, _look_up_all(self._keys_under(order), *self._table))


def _keys(edges: np.ndarray, number: np.ndarray) -> np.ndarray:
    return np.where(edges >= 0, number[edges], np.uint64(0)).sum(1, dtype=np.uint64)


def _table(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fills a hash table that is at most half full; empty places weigh 0."""
    size = 1 << int(2 * len(keys)).bit_length()
    slots, values = np.zeros(size, dtype=np.uint64), np.zeros(size)
    _fill(slots, values, keys, weights)
    return slots, values


@numba.njit(cache=True)
def _fill(slots, values, keys, weights):
    mask = np.uint64(len(slots) - 1)
    for k in range(len(keys)):
        place = keys[k] & mask
        while values[place] > 0:
            place = (place + np.uint64(1)) & mask
        slots[place], values[place] = keys[k], weights[k]


@numba.njit(cache=True)
def _look_up(key, slots, values):
    mask = np.uint64(len(slots) - 1)
    place = key & mask
    while values[place] > 0:
        if slots[place] == key:
            return values[place]
        place = (place + np.uint64(1)) & mask
    return 0.0


@numba.njit(cache=True)
def _look_up_all(keys, slots, values):
    found = np.empty(len(keys))
    for k in range(len(keys)):
        found[k] = _look_up(keys[k], slots, values)
    return found


@numba.njit(cache=True)
def _change(node, other, step, move, keys, start, incident, edges, weights, slots, values):
    """The shared weight won when the keys of one node's hyperedges, not those of both nodes, move by a step."""
    gain = 0.0
    for p in range(start[node], start[node + 1]):
        e = incident[p]
        both = False
        for k in range(edges.shape[1]):
            both |= edges[e, k] == other
        if both:
            continue
        key = keys[e] + step
        gain += min(weights[e], _look_up(key, slots, values)) - min(weights[e], _look_up(keys[e], slots, values))
        if move:
            keys[e] = key
    return gain


@numba.njit(cache=True)
def _improve(order, free, sweeps, tolerance, keys, number, start, incident, edges, weights, slots, values):
    for _ in range(sweeps):
        better = False
        for a in range(len(free)):
            for b in range(a):
                i, j = free[a], free[b]
                step = number[order[j]] - number[order[i]]
                back = number[order[i]] - number[order[j]]
                gain = _change(i, j, step, False, keys, start, incident, edges, weights, slots, values)
                gain += _change(j, i, back, False, keys, start, incident, edges, weights, slots, values)
                if gain > tolerance:
                    _change(i, j, step, True, keys, start, incident, edges, weights, slots, values)
                    _change(j, i, back, True, keys, start, incident, edges, weights, slots, values)
                    order[i], order[j] = order[j], order[i]
                    better = True
        if not better:
            return


@numba.njit(cache=True)
def _margins(order, keys, number, start, incident, edges, weights, slots, values):
    least = np.full(len(order), np.inf)
    for i in range(len(order)):
        for j in range(i):
            step = number[order[j]] - number[order[i]]
            back = number[order[i]] - number[order[j]]
            loss = -_change(i, j, step, False, keys, start, incident, edges, weights, slots, values)
            loss -= _change(j, i, back, False, keys, start, incident, edges, weights, slots, values)
            least[i], least[j] = min(least[i], loss), min(least[j], loss)
    return least
