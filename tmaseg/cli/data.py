"""`tmaseg data check`: what lies in a data folder, and what is wrong with it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmaseg.cli.guard import guarded
from tmaseg.cli.options import ConsoleOptions, Omit, PanelCommand, PanelGroup, with_options
from tmaseg.cli.tables import show_check, show_json
from tmaseg.errors import DataError

if TYPE_CHECKING:
    from tmaseg.data import Check

app = typer.Typer(
    cls=PanelGroup,
    help="Check data sets.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def data() -> None:
    """Check data sets."""


@app.command(cls=PanelCommand)
@guarded
@with_options
def check(
    console: Annotated[ConsoleOptions, Omit("strict")],
    name: Annotated[
        str, typer.Argument(help="Data set: camvid, cityscapes, kitti-step, vspw, folder ... or a YAML file.")
    ],
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of the data set; else $CAMVID_DATASET and the like, else ./data/NAME.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Masks to read of each split, evenly spread; 0 reads all.")] = 200,
    samples: Annotated[
        Path | None, typer.Option(help="PNG file for painted samples; the split is added to its name.")
    ] = None,
) -> None:
    """Report the layout of a data set, its contents, its problems and their remedies; exit with 1 if there are any."""
    from tmaseg.cli.screen import Screen
    from tmaseg.data import check_dataset, open_dataset, paint_samples

    screen = Screen(quiet=console.quiet)
    dataset = open_dataset(name, folder)
    found = check_dataset(dataset, limit=limit or None)
    painted = []
    if samples:
        for split, facts in found.splits.items():
            if facts.labelled:
                painted.append(paint_samples(dataset, split, samples.with_stem(f"{samples.stem}-{split}")))
    if console.json:
        show_json(_to_dict(found, painted))
    else:
        show_check(found)
    for kind, lines in (("note", found.notes), ("samples", painted)):
        for line in lines:
            screen.say(f"{kind}: {line}")
    for problem in found.problems:
        typer.echo(f"problem: {problem}", err=True)
    if found.problems:
        raise DataError(f"{len(found.problems)} problem{'s' * (len(found.problems) > 1)} in {dataset.root}: see above")


def _to_dict(found: "Check", painted: list[Path]) -> dict[str, Any]:
    return {
        "dataset": found.dataset,
        "layout": found.layout,
        "data": str(found.root),
        "splits": {name: asdict(split) for name, split in found.splits.items()},
        "problems": list(found.problems),
        "notes": list(found.notes),
        "samples": [str(path) for path in painted],
    }
