"""Curves: the cost of a frame against the memory's length and against the frame's size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tmaseg.benchmark.forms import form_cases, form_works
from tmaseg.benchmark.rows import Row, measure
from tmaseg.inference.device import Precision
from tmaseg.inference.engine import Engine, prepare
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet
from tmaseg.plots import COLOURS, INK, Series, draw_lines, new_figure, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEMORIES = (0, 1, 2, 4, 6, 8)
SCALES = (1 / 3, 1 / 2, 2 / 3, 1.0, 4 / 3, 2.0)

_MIN_SIDE_PX = 32
_SIZE_PX = (1440, 480)
_LABEL_GAP_PX = 15


@dataclass(frozen=True)
class Point:
    """One network at one size, in both forms."""

    memory_frames: int
    size_hw: tuple[int, int]
    clip: Row
    """The T + 1 frames recomputed; the same as `stream` for a network without memory, which has one form."""
    stream: Row

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        height, width = self.size_hw
        fields = ("seconds_per_frame", "gmacs", "gmacs_paper")
        forms = {"clip": self.clip.to_dict(), "stream": self.stream.to_dict()}
        costs = {form: {name: row[name] for name in fields} for form, row in forms.items()}
        return {"memory_frames": self.memory_frames, "frame": f"{width}x{height}", **costs}


@dataclass(frozen=True)
class Curves:
    """Measured in one precision, with untrained weights: cost does not depend on them."""

    precision: Precision
    against_memory: Sequence[Point]
    """T as in MEMORIES, at one size; 0 is a network built without memory."""
    against_size: Sequence[Point]
    """Sizes SCALES times that size, with T as configured."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "precision": self.precision,
            "against_memory": [point.to_dict() for point in self.against_memory],
            "against_size": [point.to_dict() for point in self.against_size],
        }


def measure_curves(
    config: TMANetConfig, size_hw: tuple[int, int], device: torch.device, precision: Precision, *, repeats: int = 5
) -> Curves:
    """Both curves of networks like `config`, which needs a memory; all points are measured in turn."""
    engines = {
        frames: Engine(prepare(TMANet(replace(config, memory_frames=frames)), device, precision))
        for frames in {*MEMORIES, config.memory_frames}
    }
    sizes = list(dict.fromkeys(_scaled(size_hw, scale) for scale in SCALES))
    keys = [(frames, size_hw) for frames in MEMORIES] + [(config.memory_frames, size) for size in sizes]
    cases = {}
    for frames, size in dict.fromkeys(keys):  # a point on both curves is measured once
        works = form_works(engines[frames].net, size)
        if frames:
            works.pop("alone")
        cases[frames, size] = form_cases(engines[frames], size, works, "")
    rows = iter(measure([case for each in cases.values() for case in each], repeats=repeats))
    points = {}
    for key, each in cases.items():
        forms = [next(rows) for _ in each]
        points[key] = Point(*key, forms[0], forms[-1])
    found = [points[key] for key in keys]
    return Curves(precision, found[: len(MEMORIES)], found[len(MEMORIES) :])


def draw_curves(curves: Curves, title: str, path: Path) -> None:
    """Seconds a frame of both forms against memory length and against frame size, as a PNG. Raises OutputError."""
    figure = new_figure(_SIZE_PX)
    figure.suptitle(title, x=0.012, ha="left", fontsize=10, color=INK)
    left, right = figure.subplots(1, 2)
    height, width = curves.against_memory[0].size_hw
    _draw(left, curves.against_memory, f"memory frames T, at {width}x{height}", lambda point: point.memory_frames)
    frames = curves.against_size[0].memory_frames
    _draw(right, curves.against_size, f"short side in pixels, T = {frames}", lambda point: min(point.size_hw))
    save_png(figure, path)


def _draw(axes: "Axes", points: Sequence[Point], xlabel: str, x_of: Callable[[Point], int]) -> None:
    clip = [(x_of(point), point.clip.seconds_per_frame or 0.0) for point in points]
    stream = [(x_of(point), point.stream.seconds_per_frame or 0.0) for point in points]
    series = [Series("clip form: T + 1 backbones", clip), Series("streaming", stream)]
    top = 1.1 * max(seconds for _, seconds in (*clip, *stream))
    draw_lines(axes, series, ylabel="seconds a frame", xlabel=xlabel, ylim=(0, top), markers=True)
    axes.set_xticks([x for x, _ in clip])
    pixels_per_second = 0.75 * _SIZE_PX[1] / top
    for (x, slow), (_, fast) in zip(clip, stream, strict=True):
        if fast * pixels_per_second > _LABEL_GAP_PX:
            axes.annotate(f"{fast:.3g}", (x, fast), (0, -14), textcoords="offset points", **_label(1))
        if (slow - fast) * pixels_per_second > _LABEL_GAP_PX:
            axes.annotate(f"{slow:.3g}", (x, slow), (0, 7), textcoords="offset points", **_label(0))


def _label(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index], "fontsize": 9, "ha": "center"}


def _scaled(size_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = (max(_MIN_SIDE_PX, round(scale * side)) for side in size_hw)
    return height, width
