"""Multimodal relation extrapolation: learner, consolidator, generator (Cai et al. 2024)."""

from relbench_pretrain.knowledge_graph.mre.batches import MultimodalTraining
from relbench_pretrain.knowledge_graph.mre.consolidator import DistMult, StructureConsolidator, TransE
from relbench_pretrain.knowledge_graph.mre.generator import Critic, PairExtractor, RelationGenerator
from relbench_pretrain.knowledge_graph.mre.inputs import GraphWords, PretrainedTokenizer
from relbench_pretrain.knowledge_graph.mre.learner import EntityTable
from relbench_pretrain.knowledge_graph.mre.m3ae import M3AE, Concatenation, Gate, LateFusion
from relbench_pretrain.knowledge_graph.mre.network import ExtrapolationNetwork

__all__ = [
    "M3AE",
    "Concatenation",
    "Critic",
    "DistMult",
    "EntityTable",
    "ExtrapolationNetwork",
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
