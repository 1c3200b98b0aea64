"""One LightningModule per objective."""

from lightning_modules.contrastive_pretraining import ContrastivePretraining
from lightning_modules.fine_tuning import FineTuning

__all__ = ["ContrastivePretraining", "FineTuning"]
