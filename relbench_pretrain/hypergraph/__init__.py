"""Weighted hypergraphs, and their recovery by masked modelling of sampled hyperedges (Chen et al. 2024).

A hyperedge's way to its weight: ``generators``, ``conversion``, ``database`` and ``concepts`` give the true hypergraph,
``corpus`` samples hyperedges from it and masks their nodes, ``model`` learns to predict these, and ``recovery`` reads
the weights out of the model. ``alignment`` then finds which node of one recovered hypergraph is which of another.
"""

from typing import TYPE_CHECKING

from relbench_pretrain.lazy import lazy_exports

if TYPE_CHECKING:
    from relbench_pretrain.hypergraph.alignment.accuracy import Agreement, agreement
    from relbench_pretrain.hypergraph.alignment.matchers import FAQ, GromovWasserstein, Matcher, Spectral
    from relbench_pretrain.hypergraph.concepts.answers import Answer, answer_dissimilarity, edge_prompt, parse_answer
    from relbench_pretrain.hypergraph.concepts.assertions import Assertions, read_assertions
    from relbench_pretrain.hypergraph.concepts.graphs import (
        ConceptGraph,
        ConceptGraphEntry,
        ConceptNeighborhood,
        read_concept_graphs,
    )
    from relbench_pretrain.hypergraph.concepts.language_model import (
        HuggingFaceModel,
        LanguageModel,
        StoredAnswers,
        ask_once,
    )
    from relbench_pretrain.hypergraph.corpus.masking import (
        ByFrequency,
        CompositeMasking,
        EveryNode,
        Masking,
        OneNode,
        SeveralNodes,
        WholeHyperedge,
    )
    from relbench_pretrain.hypergraph.corpus.sampling import (
        BiasedSampling,
        CorrelatedSampling,
        DriftingSampling,
        IndependentSampling,
        NoisySampling,
        Sampling,
    )
    from relbench_pretrain.hypergraph.database import DatabaseHypergraph
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
    from relbench_pretrain.hypergraph.model import NodeBert
    from relbench_pretrain.hypergraph.recovery.dissimilarity import Dissimilarity, dissimilarity
    from relbench_pretrain.hypergraph.recovery.readout import Chaining, LeastSquares, ReadOut, Stationary
    from relbench_pretrain.hypergraph.recovery.recover import ComponentMass, CorpusMass, WiderMasks, recover

__all__ = [
    "FAQ",
    "Agreement",
    "Answer",
    "Arms",
    "Assertions",
    "BiasedSampling",
    "ByFrequency",
    "Chain",
    "Chaining",
    "ComponentMass",
    "CompositeMasking",
    "ConceptGraph",
    "ConceptGraphEntry",
    "ConceptNeighborhood",
    "ConnectedRandomGraph",
    "CorpusMass",
    "CorrelatedSampling",
    "DatabaseHypergraph",
    "Dissimilarity",
    "DriftingSampling",
    "ErdosRenyi",
    "EveryNode",
    "GromovWasserstein",
    "HuggingFaceModel",
    "Hypergraph",
    "HypergraphError",
    "HypergraphFile",
    "HypergraphSource",
    "IndependentSampling",
    "LanguageModel",
    "LeastSquares",
    "Masking",
    "Matcher",
    "NodeBert",
    "NoisySampling",
    "OneNode",
    "RandomHypergraph",
    "ReadOut",
    "Sampling",
    "SeveralNodes",
    "Spectral",
    "Star",
    "Stationary",
    "StoredAnswers",
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

__getattr__ = lazy_exports(__name__, __file__)  # alignment needs no torch, and recovery no language model
