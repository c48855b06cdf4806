"""The report: one self-contained HTML file about an evaluation."""

import math
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tmaseg.errors import OutputError
from tmaseg.evaluation.charts import DASH, KEYS, Line, class_bars, confusion, percent, table, timeline
from tmaseg.evaluation.result import Evaluation, Pass, usual
from tmaseg.evaluation.scores import DEFINITIONS, VC_FRAMES
from tmaseg.evaluation.video import VideoEvaluation, VideoPass
from tmaseg.evaluation.worst import WorstFrame
from tmaseg.files import atomic_write

_WORST_TITLES = ("picture", "ground truth", "prediction", "mistakes in red")
_SEQUENCES = 60
_VC_IS = (
    "VC: of the pixels whose truth stands still for 8 or 16 frames, the share predicted so. As published (VSPW's "
    "script): the prediction stands still, right or wrong; void counts; the last window is left out. Corrected: every "
    "prediction equals the truth, void never counts, all windows. Count: windows for VC, pairs of frames for the rest."
)
_FLICKER_IS = (
    "Flicker: share of pixels whose class is not the one they had in the frame before, followed along the motion of "
    "the picture where that is trusted. TC: mIoU between a frame's classes and the moved ones of the frame before. "
    "Motion is OpenCV's DIS optical flow: no figures to compare with ones made with RAFT."
)


def write_report(evaluation: Evaluation | VideoEvaluation, path: Path) -> None:
    """Writes the report; nothing in it is fetched from anywhere. Raises OutputError."""
    page = dataset_page(evaluation) if isinstance(evaluation, Evaluation) else video_page(evaluation)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: the report cannot be written ({error.strerror}): choose another place") from error


def dataset_page(evaluation: Evaluation) -> str:
    """The page about a data set."""
    first = evaluation.passes[0]
    measured = [_section("Accuracy", _accuracy(evaluation.passes))] if first.scores.frames else []
    if first.scores.frames:
        bars = class_bars(evaluation.labels, [each.scores.accuracy.iou for each in evaluation.passes])
        measured += [
            _section("IoU of each class", bars),
            _section("Temporal consistency", _temporal(evaluation.passes)),
            _section("mIoU of each frame", _over_time(evaluation)),
            _section("Worst frames", _worst(first.worst)) if first.worst else "",
            _section(
                "Confusion",
                '<p class="soft">Share, in %, of each true class (row) that was predicted as each class (column).</p>'
                + confusion(first.scores.accuracy.confusion, evaluation.labels),
            ),
            _section("Sequences", _sequences(first)),
        ]
    body = [
        f"<h1>{escape(evaluation.dataset)}, {escape(evaluation.split)}: {escape(Path(evaluation.weights).name)}</h1>",
        f'<p class="soft">{evaluation.images} frames scored, {_many(evaluation.sequences, "sequence")}. '
        f"{escape(evaluation.layout)}. {escape(evaluation.device)}, {escape(evaluation.precision)}.</p>",
        _cards(_dataset_cards(evaluation), len(evaluation.passes)),
        *measured,
        _section("Speed", _speed(evaluation.passes, evaluation.seconds_per_frame, evaluation.peak_mb)),
        _section("Read this with the figures", _list(evaluation.notes)),
    ]
    return _page(f"{evaluation.dataset} {evaluation.split}, {evaluation.weights}", body)


def video_page(evaluation: VideoEvaluation) -> str:
    """The page about a plain video."""
    lines = [Line(each.title, [value for _, value in each.per_frame]) for each in evaluation.passes]
    known = [value for line in lines for value in line.values if not math.isnan(value)]
    seconds = evaluation.passes[0].per_frame[-1][0] if evaluation.passes[0].per_frame else 0.0
    rows = {
        "flicker": [percent(each.flicker.flicker, 2) for each in evaluation.passes],
        "changed in place": [percent(each.flicker.changed, 2) for each in evaluation.passes],
        "TC": [percent(each.tc, 2) for each in evaluation.passes],
    }
    cards = {
        "flicker": [percent(each.flicker.flicker, 2) for each in evaluation.passes],
        "TC": [percent(each.tc) for each in evaluation.passes],
        "network a frame": [_seconds(usual(each.network_seconds)) for each in evaluation.passes],
    }
    body = [
        f"<h1>{escape(Path(evaluation.video).name)}: {escape(Path(evaluation.weights).name)}</h1>",
        f'<p class="soft">{evaluation.frames} frames of {evaluation.width}x{evaluation.height}. '
        f"{escape(evaluation.device)}, {escape(evaluation.precision)}. No ground truth is used.</p>",
        _cards(cards, len(evaluation.passes)),
        _section(
            "Flicker",
            table(_head(evaluation.passes), [[title, *values] for title, values in rows.items()])
            + f'<p class="soft">{_FLICKER_IS}</p>',
        ),
        _section(
            "Flicker of each frame, %",
            timeline(lines, under=("0 s", f"{seconds:.1f} s"), top=_round_up(max(known, default=1.0))),
        ),
        _section("Speed", _speed(evaluation.passes, evaluation.seconds_per_frame, evaluation.peak_mb)),
        _section("Read this with the figures", _list(evaluation.notes)) if evaluation.notes else "",
    ]
    return _page(f"{Path(evaluation.video).name}, {evaluation.weights}", body)


def _dataset_cards(evaluation: Evaluation) -> dict[str, list[str]]:
    scores = [each.scores for each in evaluation.passes]
    cards = {
        f"mIoU, {evaluation.scored_classes} classes": [percent(each.accuracy.miou) for each in scores],
        "pixel accuracy": [percent(each.accuracy.pixel_accuracy) for each in scores],
        "boundary mIoU": [percent(each.boundary_miou) for each in scores],
        "VC8, corrected": [percent(each.vc[8, "corrected"]) for each in scores],
        "TC (DIS flow)": [percent(each.tc) for each in scores],
        "network a frame": [_seconds(usual(each.network_seconds)) for each in evaluation.passes],
    }
    return {title: values for title, values in cards.items() if values[0] != DASH}


def _cards(cards: dict[str, list[str]], passes: int) -> str:
    """What was asked for large, what it is compared with small beneath."""
    shown = []
    for title, values in cards.items():
        other = f'<span class="soft other">{values[1]} memory off</span>' if passes > 1 else ""
        shown.append(f'<div class="card"><span class="soft">{escape(title)}</span><b>{values[0]}</b>{other}</div>')
    return f'<div class="cards">{"".join(shown)}</div>'


def _accuracy(passes: Sequence[Pass]) -> str:
    scores = [each.scores for each in passes]
    rows = {
        "mIoU": [each.accuracy.miou for each in scores],
        "pixel accuracy": [each.accuracy.pixel_accuracy for each in scores],
        "class accuracy": [each.accuracy.mean_accuracy for each in scores],
        "frequency-weighted IoU": [each.accuracy.frequency_weighted_iou for each in scores],
        "boundary mIoU": [each.boundary_miou for each in scores],
    }
    return table(_head(passes), [[title, *(percent(value, 2) for value in values)] for title, values in rows.items()])


def _temporal(passes: Sequence[Pass]) -> str:
    scores = [each.scores for each in passes]
    rows = [
        [
            f"VC{frames}, {'as published' if definition == 'published' else definition}",
            *(percent(each.vc[frames, definition], 2) for each in scores),
            str(scores[0].vc_windows[frames, definition]),
        ]
        for frames in VC_FRAMES
        for definition in DEFINITIONS
    ]
    pairs = str(scores[0].flicker.pairs)
    rows.append(["TC", *(percent(each.tc, 2) for each in scores), pairs])
    rows.append(["flicker (less is better)", *(percent(each.flicker.flicker, 2) for each in scores), pairs])
    return table([*_head(passes), "count"], rows) + f'<p class="soft">{_VC_IS}</p><p class="soft">{_FLICKER_IS}</p>'


def _head(passes: Sequence[Pass | VideoPass]) -> list[str]:
    return ["", *(_key(place, each.title) for place, each in enumerate(passes))]


def _over_time(evaluation: Evaluation) -> str:
    frames = evaluation.passes[0].scores.frames
    breaks = [place for place in range(1, len(frames)) if frames[place].clip != frames[place - 1].clip]
    lines = [Line(each.title, [frame.miou for frame in each.scores.frames]) for each in evaluation.passes]
    shown = breaks if len(breaks) <= _SEQUENCES else []
    return timeline(lines, breaks=shown, under=(frames[0].name, frames[-1].name))


def _worst(frames: Sequence[WorstFrame]) -> str:
    parts = []
    for frame in frames:
        pictures = "".join(
            f'<img alt="{title}" title="{title}" src="data:image/jpeg;base64,{b64encode(data).decode()}">'
            for title, data in zip(_WORST_TITLES, frame.pictures, strict=True)
        )
        parts.append(f'<div class="worst"><p>{escape(frame.name)}: mIoU {percent(-frame.badness)}</p>{pictures}</div>')
    return f'<p class="soft">{", ".join(_WORST_TITLES)}</p>' + "".join(parts)


def _sequences(each: Pass) -> str:
    found = each.scores.sequences()
    rows = [[escape(name), str(count), percent(miou)] for name, count, miou in found[:_SEQUENCES]]
    more = f'<p class="soft">and {len(found) - _SEQUENCES} more</p>' if len(found) > _SEQUENCES else ""
    return table(["", "frames", "mean mIoU of a frame"], rows) + more


def _speed(passes: Sequence[Pass | VideoPass], whole: float, peak_mb: dict[str, float]) -> str:
    rows = [
        [_key(place, each.title), _seconds(usual(each.network_seconds)), f"{each.gmacs:.1f}"]
        for place, each in enumerate(passes)
    ]
    memory = ", ".join(
        f"{'device' if 'device' in name else 'process'} {value:,.0f} MB" for name, value in peak_mb.items()
    )
    return table(["", "network a frame", "GMACs a frame"], rows) + (
        f'<p class="soft">The whole, reading and scoring included: {_seconds(whole)} a frame and pass. '
        f"Peak memory: {memory}. GMACs are multiply-adds counted by torch, attention included.</p>"
    )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _seconds(value: float) -> str:
    if math.isnan(value):
        return DASH
    return f"{1000 * value:.0f} ms" if value < 10 else f"{value:.1f} s"


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten, at most 1."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-4)))
    return min(1.0, next(step * power for step in (1, 2, 5, 10) if step * power >= value))


def _key(place: int, title: str) -> str:
    return f'<span class="key {KEYS[place]}"></span>{escape(title)}' if place < len(KEYS) else escape(title)


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _page(title: str, body: Sequence[str]) -> str:
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>tmaseg: {escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>"
    )
