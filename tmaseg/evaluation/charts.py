"""Charts of the report as HTML and SVG: bars for classes, a line over time, a matrix of confusions. No script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from tmaseg.labels import LabelSet

KEYS = ("first", "second")
DASH = "\u2013"
_WIDTH, _HEIGHT = 1000.0, 200.0
_MATRIX_CLASSES = 40
_CONFUSIONS = 25


def percent(value: float | None, digits: int = 1) -> str:
    """ "57.3 %", or a dash where nothing was measured."""
    return DASH if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """Cells are HTML already; all but the first `text_columns` are right-aligned."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = ["" if place < text_columns else ' class="number"' for place in range(len(cells))]
        return (
            "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"
        )

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table>{line(head, "th")}{body}</table></div>'


def class_bars(labels: LabelSet, passes: Sequence[NDArray[np.float64]]) -> str:
    """A bar for each scored class, its colour beside the name; further passes as thinner bars below."""
    parts = []
    for index, name in enumerate(labels.names):
        if index in labels.void:
            continue
        red, green, blue = labels.colours[index]
        values = [float(iou[index]) for iou in passes]
        tracks = "".join(
            f'<i class="{key}" style="width:{0 if math.isnan(value) else 100 * value:.1f}%"></i>'
            for key, value in zip(KEYS, values, strict=False)
        )
        swatch = f'<span class="key" style="background:rgb({red},{green},{blue})"></span>'
        shown = " / ".join(percent(value) for value in values)
        parts.append(
            f'<div class="name">{swatch}{escape(name)}</div><div class="track">{tracks}</div>'
            f'<div class="value">{shown}</div>'
        )
    return f'<div class="bars">{"".join(parts)}</div>'


@dataclass(frozen=True)
class Line:
    """Values over time; NaN leaves a gap."""

    title: str
    values: Sequence[float]


def timeline(lines: Sequence[Line], *, breaks: Sequence[int] = (), under: tuple[str, str], top: float = 1.0) -> str:
    """Lines from 0 to `top` over equally spaced places; `breaks` are places where another sequence begins."""
    count = max((len(line.values) for line in lines), default=0)
    if not count:
        return '<p class="soft">Nothing to show.</p>'
    across = _WIDTH / max(1, count - 1)
    grid = "".join(
        f'<line x1="0" x2="{_WIDTH:g}" y1="{y:g}" y2="{y:g}" stroke="var(--line)" vector-effect="non-scaling-stroke"/>'
        for y in np.linspace(0, _HEIGHT, 5)
    )
    marks = "".join(
        f'<line x1="{(place - 0.5) * across:.1f}" x2="{(place - 0.5) * across:.1f}" y1="0" y2="{_HEIGHT:g}" '
        'stroke="var(--soft)" stroke-dasharray="3 4" vector-effect="non-scaling-stroke"/>'
        for place in breaks
    )
    paths = "".join(
        f'<path d="{_path(line.values, across, top)}" fill="none" stroke="var(--{key})" stroke-width="1.6" '
        'stroke-linejoin="round" stroke-linecap="round" vector-effect="non-scaling-stroke"/>'
        for key, line in reversed(list(zip(KEYS, lines, strict=False)))
    )
    scale = "".join(f"<span>{100 * value:.3g}</span>" for value in np.linspace(top, 0, 5))
    legend = " &nbsp; ".join(
        f'<span class="key {key}"></span>{escape(line.title)}' for key, line in zip(KEYS, lines, strict=False)
    )
    return (
        f'<p class="soft">{legend}</p><div class="chart"><div class="scale soft">{scale}</div>'
        f'<svg viewBox="0 -2 {_WIDTH:g} {_HEIGHT + 4:g}" preserveAspectRatio="none" role="img">'
        f"{grid}{marks}{paths}</svg>"
        f'<div class="under soft"><span>{escape(under[0])}</span><span>{escape(under[1])}</span></div></div>'
    )


def _path(values: Sequence[float], across: float, top: float) -> str:
    steps, pen_down = [], False
    for place, value in enumerate(values):
        if math.isnan(value):
            pen_down = False
            continue
        y = _HEIGHT * (1 - min(value, top) / top)
        # A lone value between gaps is drawn as a dot: a line of no length with round ends.
        steps.append(f"{'L' if pen_down else 'M'}{place * across:.1f} {y:.1f}" + ("" if pen_down else "h0"))
        pen_down = True
    return "".join(steps)


def confusion(counts: NDArray[np.int64], labels: LabelSet) -> str:
    """Shares of each true class by what it was predicted as; for very many classes, the largest confusions."""
    shown = [index for index in range(len(labels)) if index not in labels.void and counts[index].sum()]
    if not shown:
        return '<p class="soft">Nothing was scored.</p>'
    if len(shown) > _MATRIX_CLASSES:
        return _largest(counts, labels, shown)
    columns = [
        index for index in range(len(labels)) if index not in labels.void and (index in shown or counts[:, index].any())
    ]
    nothing = bool(counts[:, -1].any())
    names = [*(labels.names[index] for index in columns), *(["none of them"] if nothing else [])]
    head = "<th></th>" + "".join(f'<th class="column">{escape(name)}</th>' for name in names)
    lines = []
    for index in shown:
        shares = counts[index] / counts[index].sum()
        cells = [shares[column] for column in columns] + ([shares[-1]] if nothing else [])
        lines.append(f'<tr><th class="row">{escape(labels.names[index])}</th>{"".join(map(_cell, cells))}</tr>')
    return f'<div class="wide"><table class="matrix"><tr>{head}</tr>{"".join(lines)}</table></div>'


def _cell(share: float) -> str:
    kind = ' class="strong"' if share > 0.5 else ""
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    return f'<td{kind} style="background:rgba(var(--heat),{share:.3f})">{text}</td>'


def _largest(counts: NDArray[np.int64], labels: LabelSet, shown: Sequence[int]) -> str:
    wrong = [
        (int(counts[true, said]), true, said)
        for true in shown
        for said in range(counts.shape[1])
        if said != true and counts[true, said]
    ]
    rows = [
        [
            escape(labels.names[true]),
            escape(labels.names[said] if said < len(labels) else "none of them"),
            percent(pixels / int(counts[true].sum())),
            percent(pixels / int(counts.sum()), 2),
        ]
        for pixels, true, said in sorted(wrong, reverse=True)[:_CONFUSIONS]
    ]
    return table(["True", "Predicted", "of the class", "of all pixels"], rows, text_columns=2)
