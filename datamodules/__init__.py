"""One LightningDataModule per benchmark and way of sampling."""

from datamodules.contrastive import ContrastiveDataModule
from datamodules.entity_task import EntityTaskDataModule
from datamodules.forecast import ForecastDataModule
from datamodules.hypergraph import HypergraphDataModule
from datamodules.recommendation import RecommendationDataModule
from datamodules.zero_shot_kg import (
    EpisodicKGDataModule,
    MultimodalKGDataModule,
    ZeroShotKGDataModule,  # noqa: F401  # the name of both in earlier versions
)

__all__ = [
    "ContrastiveDataModule",
    "EntityTaskDataModule",
    "EpisodicKGDataModule",
    "ForecastDataModule",
    "HypergraphDataModule",
    "MultimodalKGDataModule",
    "RecommendationDataModule",
]
