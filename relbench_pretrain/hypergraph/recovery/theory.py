"""What errors to expect: the floor of counting, and the bound on recovery."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from relbench_pretrain.hypergraph.hypergraph import Hypergraph


def counting_error(weights: np.ndarray, num_samples: int) -> float:
    """Returns the expected error of counting independent draws.

    The sum over hyperedges of the binomial distribution's mean absolute deviation over the number of draws (De
    Moivre's closed form), about the sum of √(2 w (1 − w) / (π N)): Θ(√(m / N)).

    Args:
        weights: The true weights ``(num_edges,)``.
        num_samples: N.
    """
    w = np.asarray(weights, dtype=np.float64)
    v = np.floor(num_samples * w) + 1
    deviation = 2 * v * (1 - w) * binom.pmf(v, num_samples, w)
    return float(np.where(w < 1, deviation, 0.0).sum() / num_samples)


def recovery_bound(graph: Hypergraph, num_samples: int, diameter: int) -> float:
    """Returns √(κ m L² / N), on which the bound on the error depends, without its constant and logarithms.

    Source: Chen et al. 2024: N = Õ(κ m L² / ε²) draws suffice for an error of ε.

    Args:
        graph: The truth, with κ and m.
        num_samples: N.
        diameter: L.
    """
    return float(np.sqrt(graph.kappa * graph.num_edges * diameter**2 / num_samples))
