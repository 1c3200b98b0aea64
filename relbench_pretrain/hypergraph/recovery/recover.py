"""Recovery of the whole hypergraph: weights within components, times the masses of the components."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.recovery.conditionals import Conditionals, MaskedModel, same_edges
from relbench_pretrain.hypergraph.recovery.readout import ReadOut
from relbench_pretrain.hypergraph.rows import find_rows, unique_rows


class ComponentMass(ABC):
    """Gives each component its share of all weight, which one-node masks do not tell."""

    @abstractmethod
    def mass(self, conditionals: Conditionals, counts: Hypergraph, model: MaskedModel) -> np.ndarray:
        """Returns the mass of each component.

        Args:
            conditionals: The recovered hyperedges.
            counts: The sampled hyperedges, by their share of the samples.
            model: The model.

        Returns:
            ``(num_components,)``.
        """


class CorpusMass(ComponentMass):
    """Takes the share of the samples whose hyperedge is in the component."""

    def mass(self, conditionals: Conditionals, counts: Hypergraph, model: MaskedModel) -> np.ndarray:
        place = same_edges(conditionals, counts)
        share = np.where(place >= 0, counts.weights[place], 0.0)
        return np.bincount(conditionals.adjacency.components, share)


class WiderMasks(ComponentMass):
    """Takes the mass from predictions of several masked nodes, one after the other, by the chain rule.

    With all nodes masked a model knows how often each one comes, with one of them shown how often the others come
    beside it, and so on: the product is the hyperedge's weight, and the sum of a component's products its mass. How
    many hyperedges have two nodes, and how many three, is the corpus's to say. The model has to be trained on such
    masks: :class:`EveryNode`, :class:`SeveralNodes` of every number between, and :class:`WholeHyperedge` together.
    """

    def mass(self, conditionals: Conditionals, counts: Hypergraph, model: MaskedModel) -> np.ndarray:
        component = conditionals.adjacency.components
        arity = (conditionals.edges >= 0).sum(1)
        found = np.zeros(component.max() + 1)
        for size in np.unique(arity):
            here = arity == size
            edges = conditionals.edges[here, :size].astype(np.int64)
            log_w = conditionals.log_p[here, size - 1].copy()  # the last node beside all others
            for place in range(size - 1):
                shown, which = unique_rows(edges[:, :place])
                read = model.log_conditionals(shown, masked=size - place)
                log_w += read[which, edges[:, place]]
            weight = np.exp(log_w)
            share = weight / max(weight.sum(), 1e-300) * counts.weights[counts.arity == size].sum()
            found += np.bincount(component[here], share, minlength=len(found))
        return found


def recover(
    conditionals: Conditionals, read_out: ReadOut, counts: Hypergraph, model: MaskedModel, component_mass: ComponentMass
) -> Hypergraph:
    """Makes a hypergraph of the conditionals that a model gives.

    Args:
        conditionals: Hyperedges and their conditionals, from :func:`read_conditionals`.
        read_out: Turns conditionals into weights within components.
        counts: The sampled hyperedges; its nodes are those of the result.
        model: The model.
        component_mass: Gives the masses of components, where there are several.

    Returns:
        The hypergraph.

    Raises:
        HypergraphError: If no component has any mass.
    """
    conditionals = without_bridges(conditionals, counts)
    weights = read_out(conditionals)
    component = conditionals.adjacency.components
    if component.max() > 0:
        weights = weights * component_mass.mass(conditionals, counts, model)[component]
    if not (weights > 0).any():
        raise HypergraphError("no component that was recovered has any mass; train longer")
    return Hypergraph(counts.nodes, conditionals.edges, weights).with_weights(weights)


def without_bridges(conditionals: Conditionals, counts: Hypergraph) -> Conditionals:
    """Leaves out hyperedges that were never sampled and join what the samples keep apart.

    One such hyperedge, which a model gives a little probability, would make one component of two, and the masses of
    both would hang on that little.
    """
    if counts.adjacency.components.max() == 0:
        return conditionals
    edge, place = np.nonzero(counts.adjacency.context >= 0)
    label = np.empty(counts.adjacency.num_contexts, dtype=np.int64)
    label[counts.adjacency.context[edge, place]] = counts.adjacency.components[edge]
    known = find_rows(conditionals.adjacency.contexts.astype(np.int64), counts.adjacency.contexts.astype(np.int64))
    of_context = np.where(known >= 0, label[known], -1)
    there = conditionals.adjacency.context >= 0
    of_place = of_context[np.where(there, conditionals.adjacency.context, 0)]
    labels = np.where(there, of_place, -1)  # (num_edges, largest_arity)
    highest = labels.max(1)
    lowest = np.where(labels >= 0, labels, np.iinfo(np.int64).max).min(1)
    kept = (same_edges(conditionals, counts) >= 0) | (highest < 0) | (lowest == highest)
    return conditionals if kept.all() else Conditionals(conditionals.edges[kept], conditionals.log_p[kept])
