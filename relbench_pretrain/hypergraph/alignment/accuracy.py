"""Accuracy of a matching up to automorphism: nodes that nothing tells apart may be exchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from relbench_pretrain.hashing import GOLDEN, mix
from relbench_pretrain.hypergraph.hypergraph import Hypergraph

DIGITS = 9
"""Digits to which weights are compared."""


@dataclass(frozen=True)
class Agreement:
    """The agreement of a matching with the truth, under the automorphism that suits it best.

    Args:
        right: Which nodes are matched rightly under that automorphism ``(num_nodes,)``.
        most: The most nodes that could be right under any; more than are right only where not every automorphism
            that might have been better was looked at.
        method: ``asymmetric`` where there is no automorphism but the identity, ``exact`` where the best one is
            known, ``bounds`` where it is not.
    """

    right: np.ndarray
    most: int
    method: str


def score(
    order: np.ndarray, labelled: np.ndarray, truth: np.ndarray, hypergraph: Hypergraph | None
) -> dict[str, float | str]:
    """Returns the accuracies of a matching, up to automorphisms that leave labelled nodes where they are.

    Args:
        order: For every node of the first which of the second, −1 for none ``(num_nodes,)``.
        labelled: Known pairs ``(num_labelled, 2)``.
        truth: True pairs ``(num_pairs, 2)``; nodes without one are not counted.
        hypergraph: The true hypergraph in the first one's nodes; without it nodes have to be right by name.

    Returns:
        ``accuracy`` over all nodes; ``accuracy_unlabelled`` over those that are not labelled, 1 if all are;
        ``accuracy_at_most``, larger than the first only where the best automorphism was not found; and
        ``automorphisms``, how they were treated, see :class:`Agreement`, ``unknown`` without the hypergraph.
    """
    counted = np.zeros(len(order), dtype=bool)
    counted[truth[:, 0]] = True
    moved = np.full(len(order), -1)
    back = dict(zip(truth[:, 1].tolist(), truth[:, 0].tolist(), strict=True))
    moved[counted] = [back.get(partner, -1) for partner in order[counted].tolist()]
    right, most, method = moved == np.arange(len(order)), int((moved == np.arange(len(order))).sum()), "unknown"
    if hypergraph is not None:
        found = agreement(hypergraph, moved, labelled[:, 0])
        right, most, method = found.right, found.most, found.method
    unlabelled = counted & ~np.isin(np.arange(len(order)), labelled[:, 0])
    return {
        "accuracy": float(right[counted].mean()),
        "accuracy_unlabelled": float(right[unlabelled].mean()) if unlabelled.any() else 1.0,
        "accuracy_at_most": most / int(counted.sum()),
        "automorphisms": method,
    }


def agreement(truth: Hypergraph, moved: np.ndarray, fixed: np.ndarray | None = None, tries: int = 10_000) -> Agreement:
    """Counts right nodes under the automorphism σ of the true hypergraph with the most nodes at which moved = σ.

    A branch and bound over individualised nodes: the nodes that stay in their colour class bound what is below, and
    the branch in which σ follows the matching comes first, so that for a star, whose leaves all have one colour, the
    first leaf of the search is the best.

    Args:
        truth: The true hypergraph, in the nodes of the first one.
        moved: For each node the one whose true partner the matching gives it; itself where that is right, −1 where
            there is none ``(num_nodes,)``.
        fixed: Nodes that automorphisms must leave where they are, because their partners are known ``(num_fixed,)``.
        tries: Refinements after which the best automorphism so far is taken.

    Returns:
        The agreement.
    """
    colours = Colours(truth)
    start = np.zeros((2, truth.num_nodes), dtype=np.int64)
    if fixed is not None:
        start[:, fixed] = 1 + np.arange(len(fixed))
    root = colours.refine(start)
    assert root is not None  # both sides begin with the same colours
    right = moved == np.arange(truth.num_nodes)
    if root.max() == truth.num_nodes - 1:
        return Agreement(right, int(right.sum()), "asymmetric")
    stack = [(int(_stay(root, moved).sum()), _children(root, moved))]
    while stack and tries > 0:
        most, children = stack[-1]
        child = next(children, None) if most > right.sum() else None
        if child is None:
            stack.pop()
            continue
        tries -= 1
        refined = colours.refine(child)
        if refined is None or (stay := _stay(refined, moved)).sum() <= right.sum():
            continue
        if refined.max() == truth.num_nodes - 1:
            right = stay
        else:
            stack.append((int(stay.sum()), _children(refined, moved)))
    most = max([int(right.sum()), *(bound for bound, _ in stack)])
    return Agreement(right, most, "exact" if most == right.sum() else "bounds")


class Colours:
    """Colour refinement of a weighted hypergraph, twice at once, so that colours on both sides can be compared.

    Nodes have the same colour as long as the hyperedges at them weigh the same and have nodes of the same colours
    (Weisfeiler and Leman 1968), and weights are equal up to nine digits.

    Args:
        graph: The hypergraph.
    """

    def __init__(self, graph: Hypergraph) -> None:
        self.num_nodes = graph.num_nodes
        self._edges = graph.edges.astype(np.int64)
        self._there = self._edges >= 0
        weights = np.array([f"{weight:.{DIGITS}e}" for weight in graph.weights])
        self._label = _mixed(np.unique(weights, return_inverse=True)[1].astype(np.uint64))
        self._node = self._edges[self._there]

    def refine(self, colours: np.ndarray) -> np.ndarray | None:
        """Refines colours until nothing more is told apart.

        Args:
            colours: Of the nodes on either side ``(2, num_nodes)``.

        Returns:
            ``(2, num_nodes)``, or None where the sides differ, and no automorphism maps one to the other.
        """
        number = 0
        while True:
            values, found = np.unique(colours, return_inverse=True)
            colours = found.reshape(2, -1)
            sizes = [np.bincount(side, minlength=len(values)) for side in colours]
            if (sizes[0] != sizes[1]).any():
                return None
            if len(values) == number:
                return colours
            number = len(values)
            colours = np.stack([self._signatures(side) for side in colours])

    def _signatures(self, colours: np.ndarray) -> np.ndarray:
        """Returns a number for each node's colour and the multiset of its hyperedges' colours ``(num_nodes,)``."""
        mixed = _mixed(colours.astype(np.uint64))
        of_edges = _mixed(np.where(self._there, mixed[self._edges], np.uint64(0)).sum(1, dtype=np.uint64) ^ self._label)
        at_nodes = np.zeros(self.num_nodes, dtype=np.uint64)
        edge = np.nonzero(self._there)[0]
        np.add.at(at_nodes, self._node, of_edges[edge])
        return _mixed(at_nodes + np.uint64(3) * mixed)


def _children(colours: np.ndarray, moved: np.ndarray) -> Iterator[np.ndarray]:
    """Maps one node in every way that its colour allows, first the way of the matching."""
    sizes, stay = np.bincount(colours[0]), _stay(colours, moved)
    several = np.flatnonzero(sizes[colours[0]] > 1)
    # A node of which the matching says where to, of the smallest class: few branches, and the bound holds longest.
    chosen = min(several, key=lambda i: (not stay[i], sizes[colours[0, i]]))
    candidates = np.flatnonzero(colours[1] == colours[0, chosen])
    for candidate in sorted(candidates, key=lambda j: j != moved[chosen]):
        parted = colours * 2
        parted[0, chosen] += 1
        parted[1, candidate] += 1
        yield parted


def _stay(colours: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Says which nodes the matching leaves in their colour class ``(num_nodes,)``."""
    return (moved >= 0) & (colours[0] == colours[1][moved])


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Makes well mixed numbers of numbers, so that sums of them tell multisets apart."""
    return mix((numbers + np.uint64(1)) * GOLDEN)
