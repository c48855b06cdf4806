"""TrainJob: what is to be trained, on what; the folder of the run with its state; and what the run reports."""

import json
import math
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tmaseg.arrays import RGB, Labels
from tmaseg.errors import CheckpointError, ConfigError
from tmaseg.files import output_file
from tmaseg.labels import LabelSet
from tmaseg.training.recipe import Recipe, load_recipe, override, to_toml

_FIXED = ("seed", "train_split")  # of [run]; the rest of it may change when the run is resumed
_FORMAT = 2  # of states


@dataclass(frozen=True)
class Source:
    """A data set as the user names it."""

    name: str
    root: Path | None = None  # None: where `open_dataset` finds it


@dataclass(frozen=True)
class TrainJob:
    """A run: its recipe, its data, and the folder that it writes to."""

    recipe: Recipe
    sources: tuple[Source, ...]
    output: Path
    device: str = "auto"
    resume: bool = False

    @property
    def state(self) -> Path:
        """The last state that was written."""
        return self.output / "state.pt"

    @property
    def log(self) -> Path:
        """One row for each step."""
        return self.output / "log.csv"

    @property
    def best(self) -> Path:
        """The weights that scored best."""
        return self.output / "best.safetensors"

    @property
    def last(self) -> Path:
        """The weights of the last validation, stop or end."""
        return self.output / "last.safetensors"

    @property
    def outputs(self) -> list[Path]:
        """Every file that the run may write over."""
        others = (self.output / name for name in ("recipe.toml", "run.json", "curves.png"))
        return [self.state, self.log, self.best, self.last, *others, *self.output.glob("predictions/*.png")]

    def prepare(self) -> None:
        """Writes recipe and sources into the folder. Raises ConfigError for one that holds a run, and OutputError."""
        if not self.sources:
            raise ConfigError("no data set was given: say --dataset NAME --data DIR")
        if self.state.exists() and not self.resume:
            raise ConfigError(f"{self.output} holds a run already: go on with --resume, or choose another folder")
        data = [{"name": each.name, "root": str(each.root.resolve()) if each.root else None} for each in self.sources]
        texts = {"recipe.toml": to_toml(self.recipe), "run.json": json.dumps({"data": data}, indent=2) + "\n"}
        for name, text in texts.items():  # completely or not at all: without these files a run cannot be resumed
            path = self.output / name
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                with output_file(path, "the run") as part:
                    part.write_text(text, encoding="utf-8")


def resumed(
    output: Path, settings: tuple[str, ...] = (), *, sources: tuple[Source, ...] = (), device: str = "auto"
) -> TrainJob:
    """The run in a folder, to be resumed.

    `settings` may change how long it is and how it is executed, `sources` where its data are. Raises ConfigError when
    the folder holds no run or a setting would make it another one.
    """
    try:
        data = json.loads((output / "run.json").read_text(encoding="utf-8"))["data"]
        old = tuple(Source(each["name"], Path(each["root"]) if each["root"] else None) for each in data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{output} holds no run to resume ({error}): leave out --resume to begin one") from error
    if sources and [each.name for each in sources] != [each.name for each in old]:
        names = ", ".join(each.name for each in old)
        raise ConfigError(f"the run in {output} trains on {names}: give the same data sets in this order, or none")
    saved = load_recipe(output / "recipe.toml")
    recipe = override(saved, settings)
    fixed = {name: getattr(saved.run, name) for name in _FIXED}
    if recipe != saved.model_copy(update={"run": recipe.run.model_copy(update=fixed)}):
        raise ConfigError(
            f"the run in {output} has its recipe; when it is resumed only the settings of [run] may change, but for "
            f"{' and '.join(_FIXED)}: begin another run with --init for the rest"
        )
    return TrainJob(recipe, sources or old, output, device, resume=True)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes the state. Raises OutputError when it cannot be written; the old one is still there then."""
    with output_file(path, "the run's state") as part, part.open("wb") as file:
        try:
            torch.save({"format": _FORMAT, **state}, file)
        except RuntimeError as error:  # so torch's writer reports a full disk
            raise OSError(str(error).splitlines()[0]) from error
        file.flush()
        os.fsync(file.fileno())


def load_state(path: Path) -> dict[str, Any]:
    """The state on the CPU; nothing in it is executed. Raises CheckpointError when it is missing or damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file: the run ended before its state was first written") from error
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: a damaged state ({reason}): begin again from the run's last weights") from error
    if state.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: no state of this version of tmaseg: begin again from the run's last weights")
    return state


# What a run reports ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepReport:
    """One step."""

    step: int  # steps done, this one included
    loss: float
    lr: float
    progress: float  # how far the run is, 0 to 1
    seconds: float  # duration of the run, validations included, but not the time between a stop and a resume
    left_seconds: float | None  # until the end; None before that is known


@dataclass(frozen=True, eq=False)
class ValidationSample:
    """A frame that was scored; truth and prediction are ids of `labels`."""

    name: str
    labels: LabelSet
    rgb: RGB
    truth: Labels
    prediction: Labels


@dataclass(frozen=True)
class ValidationScores:
    """One validation."""

    miou: dict[str, float]  # of each data set, 0 to 1; NaN where none of its classes was scored
    frames: int  # number of scored frames
    samples: tuple[ValidationSample, ...] = field(default=(), repr=False)  # some that this process scored
    step: int = 0  # of the weights
    best: bool = False  # whether it is the best so far
    final: bool = False  # whether these are the best weights, scored on every frame at the end

    @property
    def mean(self) -> float:
        """What the best is chosen by: the mean over the data sets; 0 without any."""
        known = [value for value in self.miou.values() if not math.isnan(value)]
        return sum(known) / len(known) if known else 0.0


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    output: Path
    steps: int
    seconds: float
    interrupted: bool  # whether it was stopped before its end; it can be resumed
    scores: ValidationScores | None  # of the last validation
    best: float | None  # highest mean mIoU of all validations


class Callback:
    """Gets every event and does nothing: override what matters."""

    def note(self, text: str) -> None:
        """Something worth saying once."""

    def labels_checked(self, name: str, done: int, total: int) -> None:
        """Label files of a data set that were read before the first step."""

    def step_done(self, report: StepReport) -> None:
        """A step is done."""

    def frames_validated(self, done: int, total: int) -> None:
        """Frames scored by this process."""

    def validation_done(self, scores: ValidationScores) -> None:
        """A validation is done."""
