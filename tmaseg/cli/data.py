"""`tmaseg data check`: what lies in a data folder, and what is wrong with it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmaseg.cli import options as shared
from tmaseg.cli.guard import guarded
from tmaseg.cli.tables import show_check, show_json
from tmaseg.errors import DataError

if TYPE_CHECKING:
    from tmaseg.data import Check

app = typer.Typer(
    help="Check data sets.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def data() -> None:
    """Check data sets."""


@app.command()
@guarded
def check(
    name: Annotated[str, typer.Argument(help="camvid, cityscapes, kitti-step, vspw, folder ... or a YAML file.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Its folder. Otherwise $CAMVID_DATASET and the like, or ./data/NAME.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Masks to read of each split, evenly spread; 0: all.")] = 200,
    samples: Annotated[Path | None, typer.Option(help="Write painted samples of each split to this PNG.")] = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (the guard takes it)
) -> None:
    """Say which layout lies there, what is in it, what is wrong, and how to mend it. Exit code 1 when anything is."""
    from tmaseg.cli.screen import Screen
    from tmaseg.data import check_dataset, open_dataset, paint_samples

    screen = Screen(quiet=quiet)
    dataset = open_dataset(name, folder)
    found = check_dataset(dataset, limit=limit or None)
    painted = []
    if samples:
        for split, facts in found.splits.items():
            if facts.labelled:
                painted.append(paint_samples(dataset, split, samples.with_stem(f"{samples.stem}-{split}")))
    if json:
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
