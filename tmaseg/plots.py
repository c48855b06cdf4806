"""Plots by matplotlib: line charts as PNG files or as SVG inside an HTML page. No pyplot, so no global state.

matplotlib takes a third of a second to import: it is imported inside the functions.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tmaseg.files import output_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#1b2430", "#5a6675", "#dde2e8"
COLOURS = ("#1f6fd1", "#e07b1a", "#2c8c3c", "#9650aa", "#be283c")
# In a page these follow its style sheet, light or dark.
_PAGE_COLOURS = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--line)", COLOURS[0]: "var(--first)"}
_PAGE_COLOURS[COLOURS[1]] = "var(--second)"
_DPI = 100


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str  # name in the legend
    points: Sequence[tuple[float, float]]  # (x, y), x ascending; NaN leaves a gap


def new_figure(size_px: tuple[int, int]) -> "Figure":
    """A figure of (width, height) pixels; add axes with `figure.subplots`."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width, height = size_px
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.02)
    return Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout=layout)


def draw_lines(
    axes: "Axes",
    series: Sequence[Series],
    *,
    ylabel: str,
    xlabel: str = "",
    ylim: tuple[float, float | None] | None = None,
    markers: bool = False,
) -> None:
    """Draws the series with grid and legend; `markers` puts a dot at each point."""
    for each, colour in zip(series, COLOURS, strict=False):
        x, y = zip(*each.points, strict=True) if each.points else ((), ())
        marker, size = ("o", 4.5) if markers else (".", 4) if _has_lone_points(y) else ("", 0)
        axes.plot(x, y, color=colour, linewidth=1.6, marker=marker, markersize=size, label=each.name)
    if ylim:
        axes.set_ylim(*ylim)
    axes.set_title(ylabel, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(xlabel, fontsize=9, color=SOFT)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(series), frameon=False, fontsize=9, labelcolor=SOFT)


def save_png(figure: "Figure", path: Path) -> None:
    """Writes the figure, folders included; it appears when complete. Raises OutputError."""
    with output_file(path, "the picture") as part:
        figure.savefig(part, format="png", dpi=_DPI)


def to_svg(figure: "Figure") -> str:
    """The figure as an `<svg>` element for an HTML page, in the colours of the page's style sheet."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tmaseg"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)  # of no use inside HTML
    text = re.sub(r' id="[a-z0-9.]+_\d+"', "", text)  # the same in every figure, and referred to by nothing
    text = re.sub(r" font-family: [^;]*;", "", text)  # the page's
    for colour, variable in _PAGE_COLOURS.items():
        text = text.replace(colour, variable)
    return text


def _has_lone_points(values: Sequence[float]) -> bool:
    """Whether a value stands between gaps, where a line alone would not show it."""
    known = np.isfinite(np.array([np.nan, *values, np.nan], float))
    return bool((known[1:-1] & ~known[:-2] & ~known[2:]).any())
