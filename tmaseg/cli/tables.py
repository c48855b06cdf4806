"""What `tmaseg eval`, `tmaseg data` and `tmaseg bench` print on standard output: tables, or one JSON object."""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tmaseg.benchmark import BenchReport
    from tmaseg.data import Check
    from tmaseg.evaluation import Evaluation, Pass, VideoEvaluation

_WIDEST = 250
_ACCURACY = {
    "pixel accuracy": "pixel_accuracy",
    "class accuracy": "mean_accuracy",
    "frequency-weighted IoU": "frequency_weighted_iou",
    "boundary mIoU": "boundary_miou",
}
_TEMPORAL = {
    "VC8, as published": "vc8",
    "VC8, corrected": "vc8_corrected",
    "VC16, as published": "vc16",
    "VC16, corrected": "vc16_corrected",
    "TC (DIS flow, not RAFT)": "tc",
    "flicker (DIS flow)": "flicker",
}


def show_json(values: dict[str, Any]) -> None:
    """Exactly one object on standard output."""
    typer.echo(json.dumps(values, indent=2, allow_nan=False))


def show_data_set(evaluation: "Evaluation") -> None:
    """The scores on a data set, passes side by side."""
    passes = evaluation.passes
    values = evaluation.pass_values()
    head = [f"{evaluation.dataset} {evaluation.split}, {evaluation.images} frames", *(each.title for each in passes)]
    figures = {f"mIoU, {len(evaluation.scored)} classes": "miou", **_ACCURACY} if evaluation.images else {}
    if any(each["tc_pairs"] for each in values):
        figures |= _TEMPORAL
    rows = [[title, *(_percent(each[name]) for each in values)] for title, name in figures.items()]
    rows += _speed(passes)
    rows.append(["in all, seconds a frame", f"{evaluation.seconds_per_frame:.3f}", *[""] * (len(passes) - 1)])
    rows += [
        [_memory_title(name), f"{value:,.0f}", *[""] * (len(passes) - 1)] for name, value in evaluation.peak_mb.items()
    ]
    _print(_table(head, rows))
    if evaluation.images:
        titles = [f", {each.title}" if len(passes) > 1 else "" for each in passes]
        columns = [column for each in values for column in (each["classes"], each["class_accuracy"])]
        head = ["class", *(f"{figure}{title}" for title in titles for figure in ("IoU", "accuracy"))]
        _print(_table(head, [[name, *(_percent(column[name]) for column in columns)] for name in columns[0]]))


def show_video(evaluation: "VideoEvaluation") -> None:
    """The measures of a plain video, passes side by side."""
    passes, values = evaluation.passes, evaluation.pass_values()
    figures = {"flicker (DIS flow)": "flicker", "changed in place": "changed", "TC (DIS flow, not RAFT)": "tc"}
    rows = [
        *([title, *(_percent(each[name]) for each in values)] for title, name in figures.items()),
        ["memory resets", *(str(each["memory_resets"]) for each in values)],
        *_speed(passes),
    ]
    size = f"{evaluation.width}x{evaluation.height}"
    _print(_table([f"{evaluation.images} frames of {size}", *(each.title for each in passes)], rows))


def show_check(check: "Check") -> None:
    """The contents of a data set."""
    typer.echo(f"{check.dataset.name} in {check.dataset.root}: {check.dataset.layout}")
    splits = check.splits.values()
    counts = {
        "frames": "frames",
        "labelled": "labelled",
        "past frames": "past",
        "sequences": "clips",
        "masks read": "read",
    }
    rows = [[title, *(f"{getattr(split, name):,}" for split in splits)] for title, name in counts.items()]
    rows.append(["void", *(_percent(split.void) if split.read else "" for split in splits)])
    for label in next(iter(splits)).shares if splits else ():
        rows.append([f"  {label}", *(_percent(split.shares[label]) if split.read else "" for split in splits)])
    _print(_table(["", *check.splits], rows))


def show_bench(report: "BenchReport") -> None:
    """The cost of each form of a step, and their ratios."""
    cells = [
        [
            row.name,
            _figure(row.seconds_per_frame, ".4f"),
            _figure(1 / row.seconds_per_frame if row.seconds_per_frame else None, ".1f"),
            _figure(row.macs.total if row.macs else None, ".1f"),
            _figure(row.macs.convolutions if row.macs else None, ".1f"),
            _figure(row.peak_mb, ",.0f"),
            _figure(row.working_mb, ",.0f"),
        ]
        for row in report.rows
    ]
    title = f"{report.network}, {report.frame}, T = {report.memory_frames}"
    _print(_table([title, "seconds", "frames/s", "GMACs", "GMACs, paper's", "peak MB", "working MB"], cells))
    if report.ratios:
        _print(_table(["times faster", ""], [[name, f"{value:.2f}"] for name, value in report.ratios.items()]))
    for precision, form in report.attention.items():
        typer.echo(f"attention in {precision}: {form}")


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _speed(passes: "Sequence[Pass]") -> list[list[str]]:
    return [
        ["network, seconds a frame", *(f"{each.median_seconds:.3f}" for each in passes)],
        ["GMACs a frame, attention included", *(f"{each.gmacs:.1f}" for each in passes)],
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, title in enumerate(head):
        table.add_column(Text(title), justify="right" if column else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _print(what: "RenderableType") -> None:
    from rich.console import Console

    # A line wider than the terminal is better than one cut short.
    Console(width=max(Console().width, _WIDEST)).print(what)


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f} %"


def _memory_title(name: str) -> str:
    return "peak device memory, MB" if "device" in name else "peak process memory, MB"
