"""Job: what is asked for, and the folder of a run, from which it goes on."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import atomic_write
from tmaseg.training.presets import load_recipe, override, to_toml
from tmaseg.training.recipe import Recipe

_FREE = ("steps", "minutes")  # of the descent: how long it goes may be decided later


@dataclass(frozen=True)
class Source:
    """A data set as the user names it."""

    name: str
    root: Path | None = None
    """None: where `open_dataset` looks by itself."""


@dataclass(frozen=True)
class Job:
    """A run: how, on what, and where it is kept."""

    recipe: Recipe
    sources: tuple[Source, ...]
    output: Path
    """Folder of the run."""
    device: str = "auto"
    resume: bool = False

    @property
    def state(self) -> Path:
        """The last state that was written down."""
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
        names = ("recipe.toml", "run.json", "curves.png")
        pictures = sorted(self.predictions.glob("*.png"))
        return [self.state, self.log, self.best, self.last, *(self.output / name for name in names), *pictures]

    @property
    def predictions(self) -> Path:
        """Folder of the pictures of each validation."""
        return self.output / "predictions"

    def prepare(self) -> None:
        """Makes the folder and writes down what is asked for. Raises ConfigError for a folder that holds a run."""
        if not self.sources:
            raise ConfigError("no data set was given: say --dataset NAME --data DIR")
        if self.state.exists() and not self.resume:
            raise ConfigError(f"{self.output} holds a run already: go on with --resume, or choose another folder")
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            _write(self.output / "recipe.toml", to_toml(self.recipe))
            data = [
                {"name": each.name, "root": str(each.root.resolve()) if each.root else None} for each in self.sources
            ]
            _write(self.output / "run.json", json.dumps({"data": data}, indent=2) + "\n")
        except OSError as error:
            raise OutputError(
                f"{self.output}: no run can be kept there ({error.strerror}): choose another place"
            ) from error


def resumed(
    output: Path, settings: tuple[str, ...] = (), *, sources: tuple[Source, ...] = (), device: str = "auto"
) -> Job:
    """The run in a folder, to go on with. `settings` may change how it runs and how long, `sources` where its data are.

    Raises ConfigError when the folder holds no run or a setting would make it another one.
    """
    try:
        data = json.loads((output / "run.json").read_text(encoding="utf-8"))["data"]
        old = tuple(Source(each["name"], Path(each["root"]) if each["root"] else None) for each in data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{output} holds no run to go on with ({error}): leave out --resume to begin one") from error
    if sources and [each.name for each in sources] != [each.name for each in old]:
        names = ", ".join(each.name for each in old)
        raise ConfigError(f"the run in {output} trains on {names}: give the same data sets in this order, or none")
    saved = load_recipe(output / "recipe.toml")
    recipe = override(saved, settings)
    free = {name: getattr(recipe.descent, name) for name in _FREE}
    running = replace(recipe.running, seed=saved.running.seed, train_split=saved.running.train_split)
    if recipe != replace(saved, descent=replace(saved.descent, **free), running=running):
        raise ConfigError(
            f"the run in {output} has its recipe; only {', '.join(_FREE)} and the values under [running], but for "
            "seed and train_split, may change when it goes on: begin another run with --init for the rest"
        )
    return Job(recipe, sources or old, output, device, resume=True)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and only what has changed: without these files a run cannot go on."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
