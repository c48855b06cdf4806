"""Training: one readable loop, and everything it needs to survive."""

from tmaseg.training.build import check_mixture
from tmaseg.training.job import Job, Source, resumed
from tmaseg.training.listener import Listener, Outcome, Scores, StepReport
from tmaseg.training.loop import train
from tmaseg.training.presets import load_recipe, override, preset_names, to_toml
from tmaseg.training.recipe import Recipe

__all__ = [
    "Job",
    "Listener",
    "Outcome",
    "Recipe",
    "Scores",
    "Source",
    "StepReport",
    "check_mixture",
    "load_recipe",
    "override",
    "preset_names",
    "resumed",
    "to_toml",
    "train",
]
