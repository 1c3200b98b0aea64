"""Weighted hypergraphs, corpora drawn from them, and what masked modelling recovers of them."""

from relbench_pretrain.hypergraph.alignment import Matcher
from relbench_pretrain.hypergraph.answers import Answer, answer_dissimilarity, edge_prompt, parse_answer
from relbench_pretrain.hypergraph.assertions import Assertions, read_assertions
from relbench_pretrain.hypergraph.automorphisms import Agreement, agreement
from relbench_pretrain.hypergraph.bert import NodeBert
from relbench_pretrain.hypergraph.conceptnet import (
    ConceptGraph,
    ConceptGraphEntry,
    ConceptNeighborhood,
    read_concept_graphs,
)
from relbench_pretrain.hypergraph.database import DatabaseHypergraph
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
from relbench_pretrain.hypergraph.language_model import HuggingFaceModel, LanguageModel, StoredAnswers, ask_once
from relbench_pretrain.hypergraph.masking import (
    ByFrequency,
    EveryNode,
    Masking,
    OneNode,
    SeveralNodes,
    Together,
    WholeHyperedge,
)
from relbench_pretrain.hypergraph.matchers import FAQ, GromovWasserstein, Spectral
from relbench_pretrain.hypergraph.readout import Chaining, LeastSquares, ReadOut, Stationary
from relbench_pretrain.hypergraph.recovery import ComponentMass, CorpusMass, WiderMasks, recover

__all__ = [
    "FAQ",
    "Agreement",
    "Answer",
    "Arms",
    "Assertions",
    "BiasedDraws",
    "ByFrequency",
    "Chain",
    "Chaining",
    "ComponentMass",
    "ConceptGraph",
    "ConceptGraphEntry",
    "ConceptNeighborhood",
    "ConnectedRandomGraph",
    "CorpusMass",
    "CorrelatedDraws",
    "DatabaseHypergraph",
    "Dissimilarity",
    "Draws",
    "DriftingDraws",
    "ErdosRenyi",
    "EveryNode",
    "GromovWasserstein",
    "HuggingFaceModel",
    "Hypergraph",
    "HypergraphError",
    "HypergraphFile",
    "HypergraphSource",
    "IndependentDraws",
    "LanguageModel",
    "LeastSquares",
    "Masking",
    "Matcher",
    "NodeBert",
    "NoisyDraws",
    "OneNode",
    "RandomHypergraph",
    "ReadOut",
    "SeveralNodes",
    "Spectral",
    "Star",
    "Stationary",
    "StoredAnswers",
    "Together",
    "WholeHyperedge",
    "WiderMasks",
    "agreement",
    "answer_dissimilarity",
    "ask_once",
    "dissimilarity",
    "edge_prompt",
    "parse_answer",
    "read_assertions",
    "read_concept_graphs",
    "recover",
]
