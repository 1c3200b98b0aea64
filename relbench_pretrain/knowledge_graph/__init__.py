"""Multimodal knowledge graphs and zero-shot relations: data, queries, ranking, networks."""

from relbench_pretrain.knowledge_graph.floors import NearestRelations
from relbench_pretrain.knowledge_graph.graph import KnowledgeGraph, KnowledgeGraphError, Role
from relbench_pretrain.knowledge_graph.pair_encoder import PairEncoder
from relbench_pretrain.knowledge_graph.pair_scorer import PairScorer
from relbench_pretrain.knowledge_graph.reading import read_knowledge_graph

__all__ = [
    "KnowledgeGraph",
    "KnowledgeGraphError",
    "NearestRelations",
    "PairEncoder",
    "PairScorer",
    "Role",
    "read_knowledge_graph",
]
