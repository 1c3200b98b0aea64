"""Multimodal relation extrapolation: learner, consolidator, generator (Cai et al. 2024)."""

from relbench_pretrain.knowledge_graph.extrapolation.consolidator import DistMult, StructureConsolidator, TransE
from relbench_pretrain.knowledge_graph.extrapolation.generator import Critic, PairExtractor, RelationGenerator
from relbench_pretrain.knowledge_graph.extrapolation.late_fusion import Concatenation, Gate, LateFusion
from relbench_pretrain.knowledge_graph.extrapolation.learner import EntityTable
from relbench_pretrain.knowledge_graph.extrapolation.m3ae import M3AE
from relbench_pretrain.knowledge_graph.extrapolation.plan import MultimodalTraining
from relbench_pretrain.knowledge_graph.extrapolation.tokenizers import GraphWords, PretrainedTokenizer

__all__ = [
    "M3AE",
    "Concatenation",
    "Critic",
    "DistMult",
    "EntityTable",
    "Gate",
    "GraphWords",
    "LateFusion",
    "MultimodalTraining",
    "PairExtractor",
    "PretrainedTokenizer",
    "RelationGenerator",
    "StructureConsolidator",
    "TransE",
]
