"""Weighted hypergraphs, corpora drawn from them, and what masked modelling recovers of them."""

from relbench_pretrain.hypergraph.bert import NodeBert
from relbench_pretrain.hypergraph.dissimilarity import Dissimilarity, dissimilarity
from relbench_pretrain.hypergraph.draws import (
    BiasedDraws,
    CorrelatedDraws,
    Draws,
    DriftingDraws,
    IndependentDraws,
    NoisyDraws,
)
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
from relbench_pretrain.hypergraph.masking import (
    ByFrequency,
    EveryNode,
    Masking,
    OneNode,
    SeveralNodes,
    Together,
    WholeHyperedge,
)
from relbench_pretrain.hypergraph.readout import Chaining, LeastSquares, ReadOut, Stationary
from relbench_pretrain.hypergraph.recovery import ComponentMass, CorpusMass, MarginalMass, recover

__all__ = [
    "Arms",
    "BiasedDraws",
    "ByFrequency",
    "Chain",
    "Chaining",
    "ComponentMass",
    "ConnectedRandomGraph",
    "CorpusMass",
    "CorrelatedDraws",
    "Dissimilarity",
    "Draws",
    "DriftingDraws",
    "ErdosRenyi",
    "EveryNode",
    "Hypergraph",
    "HypergraphError",
    "HypergraphFile",
    "HypergraphSource",
    "IndependentDraws",
    "LeastSquares",
    "MarginalMass",
    "Masking",
    "NodeBert",
    "NoisyDraws",
    "OneNode",
    "RandomHypergraph",
    "ReadOut",
    "SeveralNodes",
    "Star",
    "Stationary",
    "Together",
    "WholeHyperedge",
    "dissimilarity",
    "recover",
]
