"""One LightningModule per objective."""

from lightning_modules.contrastive_pretraining import ContrastivePretraining
from lightning_modules.episodic_extrapolation import EpisodicExtrapolation
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.forecast_pretraining import ForecastPretraining
from lightning_modules.masked_modeling import MaskedModeling
from lightning_modules.recommendation import Recommendation
from lightning_modules.relation_extrapolation import RelationExtrapolation

__all__ = [
    "ContrastivePretraining",
    "EpisodicExtrapolation",
    "FineTuning",
    "ForecastPretraining",
    "MaskedModeling",
    "Recommendation",
    "RelationExtrapolation",
]
