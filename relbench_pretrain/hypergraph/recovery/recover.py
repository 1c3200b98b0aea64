"""The hypergraph read out of a masked model, whole: conditionals, weights within components, their masses."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.recovery.conditionals import Conditionals, Reader, same_edges
from relbench_pretrain.hypergraph.recovery.readout import ReadOut
from relbench_pretrain.hypergraph.rows import find_rows, unique_rows


class ComponentMass(ABC):
    """Says how much of all weight each component has, which one-node masks do not tell."""

    @abstractmethod
    def mass(self, views: Conditionals, within: np.ndarray, counts: Hypergraph, reader: Reader) -> np.ndarray:
        """Returns the mass of each component.

        Args:
            views: The recovered hyperedges.
            within: Their weights within their components ``(num_edges,)``.
            counts: What was drawn, by its share of the draws.
            reader: The model.

        Returns:
            ``(num_components,)``.
        """


class CorpusMass(ComponentMass):
    """The share of the draws whose hyperedge is in the component."""

    def mass(self, views: Conditionals, within: np.ndarray, counts: Hypergraph, reader: Reader) -> np.ndarray:
        place = same_edges(views, counts)
        drawn = np.where(place >= 0, counts.weights[place], 0.0)
        return np.bincount(views.adjacency.components, drawn)


class WiderMasks(ComponentMass):
    """What a model says where several nodes are masked: hyperedges, one node after the other, by the chain rule.

    With all nodes masked a model knows how often each one comes, with one of them shown how often the others come
    beside it, and so on: the product is the hyperedge's weight, and the sum of a component's products its mass. How
    many hyperedges have two nodes, and how many three, is the corpus's to say. The model has to be trained on such
    masks: :class:`EveryNode`, :class:`SeveralNodes` of every number between, and :class:`WholeHyperedge` together.
    """

    def mass(self, views: Conditionals, within: np.ndarray, counts: Hypergraph, reader: Reader) -> np.ndarray:
        component = views.adjacency.components
        arity = (views.edges >= 0).sum(1)
        found = np.zeros(component.max() + 1)
        for size in np.unique(arity):
            here = arity == size
            edges = views.edges[here, :size].astype(np.int64)
            log_w = views.log_p[here, size - 1].copy()  # the last node beside all others
            for place in range(size - 1):
                shown, which = unique_rows(edges[:, :place])
                read = reader.log_conditionals(shown, masked=size - place)
                log_w += read[which, edges[:, place]]
            weight = np.exp(log_w)
            share = weight / max(weight.sum(), 1e-300) * counts.weights[counts.arity == size].sum()
            found += np.bincount(component[here], share, minlength=len(found))
        return found


def recover(
    views: Conditionals, read_out: ReadOut, counts: Hypergraph, reader: Reader, component_mass: ComponentMass
) -> Hypergraph:
    """Makes a hypergraph of what a model says of hyperedges.

    Args:
        views: Hyperedges and their conditionals, from :func:`read_conditionals`.
        read_out: Turns conditionals into weights within components.
        counts: What was drawn; its nodes are those of the result.
        reader: The model.
        component_mass: Says what components weigh, where there are several.

    Returns:
        The hypergraph.

    Raises:
        HypergraphError: If no component has any mass.
    """
    views = without_bridges(views, counts)
    weights = read_out(views)
    component = views.adjacency.components
    if component.max() > 0:
        weights = weights * component_mass.mass(views, weights, counts, reader)[component]
    if not (weights > 0).any():
        raise HypergraphError("no component that was recovered has any mass; train longer")
    return Hypergraph(counts.nodes, views.edges, weights).with_weights(weights)


def without_bridges(views: Conditionals, counts: Hypergraph) -> Conditionals:
    """Leaves out hyperedges that were never drawn and join what the draws keep apart.

    One such hyperedge, which a model gives a little probability, would make one component of two, and the masses of
    both would hang on that little.
    """
    if counts.adjacency.components.max() == 0:
        return views
    edge, place = np.nonzero(counts.adjacency.context >= 0)
    label = np.empty(counts.adjacency.num_contexts, dtype=np.int64)
    label[counts.adjacency.context[edge, place]] = counts.adjacency.components[edge]
    known = find_rows(views.adjacency.contexts.astype(np.int64), counts.adjacency.contexts.astype(np.int64))
    of_context = np.where(known >= 0, label[known], -1)
    there = views.adjacency.context >= 0
    labels = np.where(there, of_context[np.where(there, views.adjacency.context, 0)], -1)  # (num_edges, largest_arity)
    highest = labels.max(1)
    lowest = np.where(labels >= 0, labels, np.iinfo(np.int64).max).min(1)
    kept = (same_edges(views, counts) >= 0) | (highest < 0) | (lowest == highest)
    return views if kept.all() else Conditionals(views.edges[kept], views.log_p[kept])
