"""Weighted hypergraphs, corpora drawn from them, and what masked modelling recovers of them."""

from relbench_pretrain.hypergraph.alignment import Matcher
from relbench_pretrain.hypergraph.automorphisms import Agreement, agreement
from relbench_pretrain.hypergraph.dissimilarity import Dissimilarity, dissimilarity
from relbench_pretrain.hypergraph.generators import (
    Arms,
    Chain,
    ConnectedRandomGraph,
    ErdosRenyi,
    HypergraphFile,
    HypergraphSource,
    RandomHypergraph,
    Star,
)
from relbench_pretrain.hypergraph.hypergraph import Hypergraph, HypergraphError
from relbench_pretrain.hypergraph.matchers import FAQ, GromovWasserstein, Spectral

__all__ = [
    "FAQ",
    "Agreement",
    "Arms",
    "Chain",
    "ConnectedRandomGraph",
    "Dissimilarity",
    "ErdosRenyi",
    "GromovWasserstein",
    "Hypergraph",
    "HypergraphError",
    "HypergraphFile",
    "HypergraphSource",
    "Matcher",
    "RandomHypergraph",
    "Spectral",
    "Star",
    "agreement",
    "dissimilarity",
]
