"""The checkpoints of a run: its weights with where they come from, without paths of this machine."""

from pathlib import Path
from typing import Any

import tmaseg
from tmaseg.model.checkpoint import Checkpoint
from tmaseg.model.config import InputGeometry
from tmaseg.model.tmanet import TMANet
from tmaseg.training.callbacks import ValidationScores
from tmaseg.training.datasets import RunData
from tmaseg.training.presets import to_values
from tmaseg.training.recipe import Recipe


def make_checkpoint(
    net: TMANet, data: RunData, recipe: Recipe, *, step: int, seconds: float, scores: ValidationScores | None
) -> Checkpoint:
    """A copy of the network's weights, with data, recipe and scores as their provenance."""
    init = Path(recipe.init).name if Path(recipe.init).exists() else recipe.init
    provenance: dict[str, Any] = {
        "program": f"tmaseg {tmaseg.__version__} train",
        "data": {each.name: f"{each.dataset.layout}, {len(each.samples)} labelled frames" for each in data.train},
        "recipe": to_values(recipe.model_copy(update={"init": init})),
        "steps": step,
        "minutes": round(seconds / 60, 1),
        **(describe_scores(scores, recipe) if scores else {}),
    }
    state = {name: value.detach().to("cpu", copy=True) for name, value in net.state_dict().items()}
    geometry = InputGeometry(size=recipe.augmentation.input_size or recipe.augmentation.size or None)
    return Checkpoint(net.config, data.labels, state, geometry, provenance)


def describe_scores(scores: ValidationScores, recipe: Recipe) -> dict[str, Any]:
    """Scores as a checkpoint's provenance has them."""
    return {
        "miou": {name: round(value, 4) for name, value in scores.miou.items()},
        "scored": f"{scores.frames} frames of {recipe.run.val_split}",
    }
