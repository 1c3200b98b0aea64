"""One LightningDataModule per benchmark and way of sampling."""

from datamodules.contrastive import ContrastiveDataModule
from datamodules.entity_task import EntityTaskDataModule

__all__ = ["ContrastiveDataModule", "EntityTaskDataModule"]
