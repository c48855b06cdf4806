"""`tmaseg data check`: what lies in a data folder, and what is wrong with it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmaseg.cli.command import ConsoleOptions, Omit
from tmaseg.cli.screen import Screen
from tmaseg.cli.tables import show_check, show_json
from tmaseg.errors import DataError

if TYPE_CHECKING:
    from tmaseg.data import Check, Dataset

_SAMPLES, _SAMPLE_WIDTH_PX = 6, 480


def check(
    console: Annotated[ConsoleOptions, Omit("strict")],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Data set: camvid, cityscapes, kitti-step, vspw, folder ... or a YAML file."
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="Folder of the data set; else $CAMVID_DATASET and the like, else ./data/NAME."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Masks to read of each split, evenly spread; 0 reads all.")
    ] = 200,
    samples: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="PNG file for painted samples; the split is added to its name."),
    ] = None,
) -> None:
    """Report the layout of a data set, its contents, its problems and their remedies; exit with 1 if there are any."""
    from tmaseg.data import check_dataset, open_dataset

    screen = Screen(quiet=console.quiet)
    dataset = open_dataset(name, folder)
    found = check_dataset(dataset, limit=limit or None)
    painted = []
    if samples:
        for split, facts in found.splits.items():
            if facts.labelled:
                painted.append(_write_samples(dataset, split, samples.with_stem(f"{samples.stem}-{split}")))
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


def _write_samples(dataset: "Dataset", split: str, path: Path) -> Path:
    """Writes a PNG of some labelled frames of a split, each beside its labels. Raises OutputError."""
    import cv2
    from PIL import Image

    from tmaseg.data import spread
    from tmaseg.files import check_not_read, output_file
    from tmaseg.render import Painter, contact_sheet

    check_not_read([path], dataset.paths())
    painter, rows = Painter(dataset.labels, opacity=0.6, legend=True), []
    for frame in spread([sample.frame for sample in dataset.samples(split)], _SAMPLES):
        rgb, truth = dataset.image(frame), dataset.truth(frame)
        size = (_SAMPLE_WIDTH_PX, max(1, round(_SAMPLE_WIDTH_PX * rgb.shape[0] / rgb.shape[1])))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype("uint8", copy=False)
        truth = cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST).astype("uint8", copy=False)
        rows.append([(frame.name, rgb), ("", painter.paint(rgb, truth))])
    with output_file(path, "the picture") as part:
        Image.fromarray(contact_sheet(rows, width=_SAMPLE_WIDTH_PX)).save(part, "PNG")
    return path


def _to_dict(found: "Check", painted: list[Path]) -> dict[str, Any]:
    return {
        "dataset": found.dataset.name,
        "layout": found.dataset.layout,
        "data": str(found.dataset.root),
        "splits": {name: asdict(split) for name, split in found.splits.items()},
        "problems": list(found.problems),
        "notes": list(found.notes),
        "samples": [str(path) for path in painted],
    }
