"""Conditionals of hyperedges: the probability of each node given the others, exact, counted or read from a model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from relbench_pretrain.hypergraph.adjacency import Adjacency
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.rows import find_rows, sorted_members, unique_rows, widened


@runtime_checkable
class MaskedModel(Protocol):
    """Predicts masked nodes; all that recovery needs of a trained model."""

    def log_conditionals(self, contexts: np.ndarray, masked: int = 1) -> np.ndarray:
        """Returns the log-probability of every node at a masked place beside a context.

        Args:
            contexts: Nodes, −1 at the end ``(num_contexts, width)``; width 0 shows no node.
            masked: How many nodes are masked beside it.

        Returns:
            ``(num_contexts, num_nodes)``, −∞ for nodes of the context; what is left sums to 1.
        """


CELLS = 1 << 24
"""Log-probabilities that are held at a time."""


@dataclass(frozen=True)
class Conditionals:
    """Hyperedges, and the probability of each of their nodes given the others.

    Args:
        edges: The hyperedges ``(num_edges, largest_arity)``, as in :class:`Hypergraph`.
        log_p: The log-probability of each node given the others; −∞ where nothing is known and where there is no
            node ``(num_edges, largest_arity)``.
    """

    edges: np.ndarray
    log_p: np.ndarray

    @cached_property
    def adjacency(self) -> Adjacency:
        """The contexts of the hyperedges, and which of them share one."""
        return Adjacency.of(self.edges)

    def per_context(self, values: np.ndarray) -> np.ndarray:
        """Sums a value of each hyperedge and place ``(num_edges, largest_arity)`` over contexts ``(num_contexts,)``."""
        there = self.adjacency.context >= 0
        return np.bincount(self.adjacency.context[there], values[there], minlength=self.adjacency.num_contexts)

    @cached_property
    def probability(self) -> np.ndarray:
        """The probability of each node among those that make a hyperedge of its context, which sum to 1
        ``(num_edges, largest_arity)``. Where nothing is known of a context, all of its hyperedges are alike.
        """
        there = self.adjacency.context >= 0
        known = np.where(there, np.exp(self.log_p), 0.0)
        total = self.per_context(known)
        alike = 1.0 / np.maximum(self.per_context(there.astype(np.float64)), 1)
        context = np.where(there, self.adjacency.context, 0)
        shares = np.where(total[context] > 0, known / np.maximum(total[context], 1e-300), alike[context])
        return np.where(there, shares, 0.0)


def exact_conditionals(graph: Hypergraph) -> Conditionals:
    """Returns the optimum of the cross-entropy: w(e) over the sum of the weights that share a context."""
    context = graph.adjacency.context
    there = context >= 0
    total = graph.adjacency.incidence.T @ graph.weights
    log_p = np.log(graph.weights)[:, None] - np.log(total[np.where(there, context, 0)])
    return Conditionals(graph.edges, np.where(there, log_p, -np.inf))


def counted_conditionals(rows: np.ndarray, masked: np.ndarray) -> Conditionals:
    """Returns the conditionals that counting masked samples gives, which a model can at best learn.

    Args:
        rows: Samples, −1 at the end where there is no node ``(num_samples, largest_arity)``.
        masked: The one node of each that is masked, bool ``(num_samples, largest_arity)``.

    Returns:
        The conditionals; a place that was never masked is not known.
    """
    node = rows[masked][:, None]
    both = np.concatenate([sorted_members(rows.astype(np.int64)), node.astype(np.int64)], axis=1)
    distinct, which = unique_rows(both)
    counts = np.bincount(which, minlength=len(distinct))
    edges, of_edge = unique_rows(distinct[:, :-1])
    place = (edges[of_edge] == distinct[:, -1:]).argmax(1)
    log_p = np.full(edges.shape, -np.inf)
    log_p[of_edge, place] = np.log(counts)
    conditionals = Conditionals(edges.astype(np.int32), log_p)
    total = conditionals.per_context(np.where(np.isfinite(log_p), np.exp(log_p), 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = log_p - np.log(total)[np.where(conditionals.adjacency.context >= 0, conditionals.adjacency.context, 0)]
    return Conditionals(conditionals.edges, np.where(np.isnan(log_p), -np.inf, log_p))


def read_conditionals(
    model: MaskedModel, contexts: np.ndarray, num_nodes: int, threshold: float = 0.02, most: int | None = None
) -> Conditionals:
    """Reads hyperedges and their conditionals out of a model.

    A hyperedge is found where from one context at least its node has more than a share of the most likely one's
    probability. (An absolute threshold of .01, the paper's, deletes true hyperedges where a context has a hundred.)
    Then the conditionals of all of its nodes are read for every one that was found.

    Args:
        model: The model.
        contexts: The contexts to complete ``(num_contexts, width)``, filled up with −1.
        num_nodes: The number of nodes.
        threshold: The share.
        most: The most nodes beside a context, the likeliest ones; all above the threshold by default. Before it is
            trained, a model thinks everything possible.

    Returns:
        The conditionals.

    Raises:
        HypergraphError: If the model's numbers are not finite.
    """
    found = []
    size = max(1, CELLS // num_nodes)
    for first in range(0, len(contexts), size):
        part = contexts[first : first + size]
        log_p = model.log_conditionals(part)
        top = log_p.max(1, keepdims=True)
        if not np.isfinite(top).all():
            raise HypergraphError("the model gives no finite probabilities; training must have gone wrong (NaN?)")
        above = log_p > top + np.log(threshold)
        if most is not None and most < num_nodes:
            above &= log_p >= -np.partition(-log_p, most - 1, axis=1)[:, most - 1 : most]
        row, node = np.nonzero(above)
        found.append(np.concatenate([part[row], node[:, None]], axis=1))
    edges = unique_rows(sorted_members(np.concatenate(found).astype(np.int64)))[0].astype(np.int32)
    return conditionals_of(model, edges, num_nodes)


def conditionals_of(model: MaskedModel, edges: np.ndarray, num_nodes: int) -> Conditionals:
    """Reads the conditionals of all nodes of hyperedges ``(num_edges, largest_arity)`` out of a model."""
    adjacency = Adjacency.of(edges)
    edge, place = np.nonzero(adjacency.context >= 0)
    context = adjacency.context[edge, place]
    order = np.argsort(context, kind="stable")
    edge, place, context = edge[order], place[order], context[order]
    log_p = np.full(edges.shape, -np.inf)
    size = max(1, CELLS // num_nodes)
    for first in range(0, adjacency.num_contexts, size):
        read = model.log_conditionals(adjacency.contexts[first : first + size])
        low, high = np.searchsorted(context, (first, first + size))
        row = context[low:high] - first
        log_p[edge[low:high], place[low:high]] = read[row, edges[edge[low:high], place[low:high]]]
    conditionals = Conditionals(edges, log_p)
    conditionals.__dict__["adjacency"] = adjacency  # computed already
    return conditionals


def observed_contexts(graph: Hypergraph) -> np.ndarray:
    """Returns the contexts of the sampled hyperedges: all nodes for a graph ``(num_contexts, largest_arity − 1)``.

    Contexts of different arity are told apart by their number of nodes alone.
    """
    return unique_rows(graph.adjacency.contexts)[0]


def same_edges(conditionals: Conditionals, graph: Hypergraph) -> np.ndarray:
    """Returns where each hyperedge of conditionals stands in a hypergraph, or −1 ``(num_edges,)``."""
    width = max(conditionals.edges.shape[1], graph.largest_arity)
    rows, table = (widened(a, width).astype(np.int64) for a in (conditionals.edges, graph.edges))
    return find_rows(rows, table)
