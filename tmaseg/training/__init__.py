"""Training: recipe, data, batches, loss, network, optimizer, and one loop over them that can be stopped and resumed."""

from tmaseg.training.callbacks import Callback, StepReport, TrainResult, ValidationScores
from tmaseg.training.datasets import check_mixture
from tmaseg.training.job import Source, TrainJob, resumed
from tmaseg.training.loop import train
from tmaseg.training.presets import load_recipe, override, preset_names, to_toml
from tmaseg.training.recipe import Recipe

__all__ = [
    "Callback",
    "Recipe",
    "Source",
    "StepReport",
    "TrainJob",
    "TrainResult",
    "ValidationScores",
    "check_mixture",
    "load_recipe",
    "override",
    "preset_names",
    "resumed",
    "to_toml",
    "train",
]
