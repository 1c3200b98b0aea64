"""Multimodal knowledge graphs and zero-shot relations: data, queries, ranking, networks."""

from relbench_pretrain.knowledge_graph.data.folder import read_knowledge_graph
from relbench_pretrain.knowledge_graph.data.graph import KnowledgeGraph, KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.data.images import RandomConvolutions
from relbench_pretrain.knowledge_graph.data.texts import FirstWords, ShuffledWords, WithIdentifier
from relbench_pretrain.knowledge_graph.features.pair_features import PairFeatures
from relbench_pretrain.knowledge_graph.rankers.boosted import BoostedRanker
from relbench_pretrain.knowledge_graph.rankers.pair_ranker import MeanRanker, PairRanker
from relbench_pretrain.knowledge_graph.rankers.pair_scorer import NearestRelations, PairScorer

__all__ = [
    "BoostedRanker",
    "FirstWords",
    "KnowledgeGraph",
    "KnowledgeGraphError",
    "MeanRanker",
    "NearestRelations",
    "PairFeatures",
    "PairRanker",
    "PairScorer",
    "RandomConvolutions",
    "Role",
    "ShuffledWords",
    "WithIdentifier",
    "read_knowledge_graph",
]
