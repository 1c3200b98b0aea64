"""The hypergraph read out of a masked model, whole: conditionals, weights within components, their masses."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy.optimize import nnls

from relbench_pretrain.hypergraph.conditionals import Reader, Views, same_edges
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.readout import ReadOut


class ComponentMass(ABC):
    """Says how much of all weight each component has, which one-node masks do not tell."""

    @abstractmethod
    def mass(self, views: Views, within: np.ndarray, counts: Hypergraph, reader: Reader) -> np.ndarray:
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

    def mass(self, views: Views, within: np.ndarray, counts: Hypergraph, reader: Reader) -> np.ndarray:
        place = same_edges(views, counts)
        drawn = np.where(place >= 0, counts.weights[place], 0.0)
        return np.bincount(views.adjacency.components, drawn)


class MarginalMass(ComponentMass):
    """What the model says where a whole hyperedge is masked, which is how often each node comes.

    The nodes of components have to be frequent to different degrees: non-negative least squares finds the masses with
    which the components' own frequencies add up to the model's. How many hyperedges have two nodes, and how many
    three, is the corpus's to say. The model has to be trained with :class:`WholeHyperedge` among its masks.
    """

    def mass(self, views: Views, within: np.ndarray, counts: Hypergraph, reader: Reader) -> np.ndarray:
        component = views.adjacency.components
        arity = (views.edges >= 0).sum(1)
        found = np.zeros(component.max() + 1)
        for size in np.unique(arity):
            here = arity == size
            whole = np.exp(reader.log_marginals(int(size)))
            own = np.unique(component[here])
            frequency = np.zeros((len(whole), len(own)))
            nodes, column = views.edges[here, :size], np.searchsorted(own, component[here])
            np.add.at(frequency, (nodes, column[:, None]), within[here, None] / size)
            share, _ = nnls(frequency, whole)
            found[own] = share / share.sum() * counts.weights[counts.arity == size].sum()
        return found


def recover(
    views: Views, read_out: ReadOut, counts: Hypergraph, reader: Reader, component_mass: ComponentMass
) -> Hypergraph:
    """Makes a hypergraph of what a model says of hyperedges.

    Args:
        views: Hyperedges and their conditionals, from :func:`read_views`.
        read_out: Turns conditionals into weights within components.
        counts: What was drawn; its nodes are those of the result.
        reader: The model.
        component_mass: Says what components weigh, where there are several.

    Returns:
        The hypergraph.

    Raises:
        HypergraphError: If no component has any mass.
    """
    weights = read_out(views)
    component = views.adjacency.components
    if component.max() > 0:
        weights = weights * component_mass.mass(views, weights, counts, reader)[component]
    if not (weights > 0).any():
        raise HypergraphError("no component that was recovered has any mass; train longer")
    return Hypergraph(counts.nodes, views.edges, weights).with_weights(weights)
