"""Forecasting as pretraining: how many rows come next, and which values they have."""

from relbench_pretrain.forecasting.objective import ForecastObjective
from relbench_pretrain.forecasting.targets import NUM_CLASSES, Forecasts, column_classes, forecasts

__all__ = ["NUM_CLASSES", "ForecastObjective", "Forecasts", "column_classes", "forecasts"]
