"""The curves as a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tmaseg.benchmark.curves import Curves, Point
from tmaseg.chart import Curve, Panel, caption, draw_panel, write_png

_PANEL_HW = (440, 720)


def draw_curves(curves: Curves, title: str, path: Path) -> None:
    """Seconds a frame of both forms against memory length and against frame size, as a PNG. Raises OutputError."""
    of_memory, of_size = curves.against_memory, curves.against_size
    height, width = of_memory[0].size_hw
    panels = [
        _panel(of_memory, f"memory frames T, at {width}x{height}", lambda point: point.memory_frames),
        _panel(of_size, f"short side in pixels, T = {of_size[0].memory_frames}", lambda point: min(point.size_hw)),
    ]
    sheet = np.concatenate([draw_panel(panel, _PANEL_HW) for panel in panels], axis=1)
    write_png(np.concatenate([caption(title, sheet.shape[1]), sheet]), path)


def _panel(points: Sequence[Point], across: str, place: Callable[[Point], int]) -> Panel:
    forms = {
        "clip form: T + 1 backbones": [(float(place(each)), each.clip.seconds_per_frame or 0.0) for each in points],
        "streaming": [(float(place(each)), each.stream.seconds_per_frame or 0.0) for each in points],
    }
    return Panel(
        title="seconds a frame",
        curves=[Curve(name, line) for name, line in forms.items()],
        across=across,
        marks=[place(each) for each in points],
        from_zero=True,
        dots=True,
        values=True,
    )
