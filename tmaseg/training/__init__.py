"""Training: recipe, data, batches, loss, network, optimizer, and one loop over them that can be stopped and resumed."""

from tmaseg.training.datasets import check_mixture
from tmaseg.training.job import Callback, Source, StepReport, TrainJob, TrainResult, ValidationScores, resumed
from tmaseg.training.loop import train
from tmaseg.training.recipe import Recipe, load_recipe, override, preset_names, to_toml

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
