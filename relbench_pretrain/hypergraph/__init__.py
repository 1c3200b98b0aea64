"""Weighted hypergraphs, corpora drawn from them, and what masked modelling recovers of them."""

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

__all__ = [
    "Arms",
    "Chain",
    "ConnectedRandomGraph",
    "Dissimilarity",
    "ErdosRenyi",
    "Hypergraph",
    "HypergraphError",
    "HypergraphFile",
    "HypergraphSource",
    "RandomHypergraph",
    "Star",
    "dissimilarity",
]
