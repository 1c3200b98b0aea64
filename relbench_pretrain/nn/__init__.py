"""Networks: attribute encoders, tabular models, time and graph encoders, heads."""

from relbench_pretrain.nn.backbone import Backbone
from relbench_pretrain.nn.graph_sage import GraphEncoder, GraphSAGE
from relbench_pretrain.nn.heads import MLPHead, TwoTower
from relbench_pretrain.nn.schedules import WarmupCosine
from relbench_pretrain.nn.subgraph import Subgraph
from relbench_pretrain.nn.table_encoders import (
    LinearTableEncoder,
    ResNetTableEncoder,
    TableEncoder,
    TransformerTableEncoder,
)
from relbench_pretrain.nn.task_network import EntityNetwork, RecommendationNetwork, TaskNetwork
from relbench_pretrain.nn.temporal_transformer import TemporalTransformer
from relbench_pretrain.nn.time_encoder import TimeEncoder

__all__ = [
    "Backbone",
    "EntityNetwork",
    "GraphEncoder",
    "GraphSAGE",
    "LinearTableEncoder",
    "MLPHead",
    "RecommendationNetwork",
    "ResNetTableEncoder",
    "Subgraph",
    "TableEncoder",
    "TaskNetwork",
    "TemporalTransformer",
    "TimeEncoder",
    "TransformerTableEncoder",
    "TwoTower",
    "WarmupCosine",
]
