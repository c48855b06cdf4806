"""What `tmaseg train` trains on, from what, where to, and by which recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tmaseg.options.panels import option


def _run_option(*flags: str, **about: Any) -> Any:
    return option("Run", *flags, show_default=False, **about)


def _setting(*flags: str, **about: Any) -> Any:
    return option("Settings of the recipe", *flags, show_default=False, **about)


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """On what, from what, and where to."""

    dataset: Annotated[
        list[str] | None,
        _run_option(
            help="Data set: camvid, cityscapes, cityscapes256, kitti, kitti-step, vspw, folder, or a YAML file; "
            "repeatable.",
            metavar="NAME|FILE.yaml",
        ),
    ] = None
    data: Annotated[
        list[Path] | None,
        _run_option(
            help="Folder of each data set that is no YAML file, in order; else $CAMVID_DATASET and the like, else "
            "./data/NAME.",
            metavar="DIR",
        ),
    ] = None
    output: Annotated[Path | None, _run_option("--output", "-o", help="Folder of the run.", metavar="DIR")] = None
    init: Annotated[
        str | None,
        _run_option(
            help="Initial weights: a name or file, imagenet for the backbone's, or none.",
            metavar="WEIGHTS|imagenet|none",
        ),
    ] = None
    preset: Annotated[
        str | None,
        _run_option(
            help="Recipe: paper-camvid, paper-cityscapes, finetune, scratch, street, camvid, or a .toml file; finetune "
            "by default, or scratch with --init none.",
            metavar="NAME|FILE.toml",
        ),
    ] = None
    show_preset: Annotated[
        bool, _run_option("--show-preset", help="Print the recipe with all its values and exit.")
    ] = False
    resume: Annotated[bool, _run_option("--resume", help="Continue the run in the folder.")] = False


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """Values of the recipe with an option of their own, by the recipe's names."""

    steps: Annotated[int | None, _setting(help="Number of optimizer steps.", metavar="N")] = None
    minutes: Annotated[float | None, _setting(help="Duration of the run, instead of --steps.", metavar="MINUTES")] = (
        None
    )
    batch: Annotated[int | None, _setting(help="Crops in a step, over all processes.", metavar="N")] = None
    lr: Annotated[float | None, _setting(help="Peak learning rate.", metavar="RATE")] = None
    crop: Annotated[str | None, _setting(help="Size of crops.", metavar="WIDTHxHEIGHT")] = None
    size: Annotated[int | None, _setting(help="Short side of pictures; 0 keeps theirs.", metavar="PIXELS")] = None
    labels: Annotated[
        str | None,
        _setting(help="Label set of the network; the first data set's by default.", metavar="NAME|FILE"),
    ] = None
    seed: Annotated[int | None, _setting(help="Random seed.", metavar="N")] = None
    threads: Annotated[int | None, _setting(help="Data-loading threads.", metavar="N")] = None
    precision: Annotated[
        str | None, _setting(help="Arithmetic of convolutions: auto, fp32, bf16 or fp16.", metavar="NAME")
    ] = None
    compile: Annotated[bool, _setting("--compile", help="Compile the network (torch.compile).")] = False
    settings: Annotated[
        list[str] | None,
        _setting("--set", help="Any value of the recipe, such as lr=0.01; repeatable.", metavar="NAME=VALUE"),
    ] = None

    def given(self, init: str | None) -> tuple[str, ...]:
        """The values that were given, as NAME=VALUE."""
        flags: dict[str, object] = {**vars(self), "init": init, "compile": self.compile or None}
        del flags["settings"]
        named = (
            f"{name}={str(value).lower() if isinstance(value, bool) else value}"
            for name, value in flags.items()
            if value is not None
        )
        return (*named, *(self.settings or ()))
