"""Multimodal knowledge graphs and zero-shot relations: data, queries, ranking, networks."""

from relbench_pretrain.knowledge_graph.boosted_ranker import BoostedRanker
from relbench_pretrain.knowledge_graph.floors import NearestRelations
from relbench_pretrain.knowledge_graph.graph import KnowledgeGraph, KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.pair_features import PairFeatures
from relbench_pretrain.knowledge_graph.pair_ranker import MeanRanker, PairRanker
from relbench_pretrain.knowledge_graph.pair_scorer import PairScorer
from relbench_pretrain.knowledge_graph.reading import read_knowledge_graph

__all__ = [
    "BoostedRanker",
    "KnowledgeGraph",
    "KnowledgeGraphError",
    "MeanRanker",
    "NearestRelations",
    "PairFeatures",
    "PairRanker",
    "PairScorer",
    "Role",
    "read_knowledge_graph",
]
