"""Weighted hypergraphs, corpora drawn from them, and what masked modelling recovers of them."""

from relbench_pretrain.hypergraph.answers import Answer, answer_dissimilarity, edge_prompt, parse_answer
from relbench_pretrain.hypergraph.assertions import Assertions, read_assertions
from relbench_pretrain.hypergraph.conceptnet import (
    ConceptGraph,
    ConceptGraphEntry,
    ConceptNeighborhood,
    read_concept_graphs,
)
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
from relbench_pretrain.hypergraph.language_model import HuggingFaceModel, LanguageModel, StoredAnswers, ask_once

__all__ = [
    "Answer",
    "Arms",
    "Assertions",
    "Chain",
    "ConceptGraph",
    "ConceptGraphEntry",
    "ConceptNeighborhood",
    "ConnectedRandomGraph",
    "Dissimilarity",
    "ErdosRenyi",
    "HuggingFaceModel",
    "Hypergraph",
    "HypergraphError",
    "HypergraphFile",
    "HypergraphSource",
    "LanguageModel",
    "RandomHypergraph",
    "Star",
    "StoredAnswers",
    "answer_dissimilarity",
    "ask_once",
    "dissimilarity",
    "edge_prompt",
    "parse_answer",
    "read_assertions",
    "read_concept_graphs",
]
