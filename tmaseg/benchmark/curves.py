"""Curves: what a frame costs against how many frames are remembered, and against its size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tmaseg.benchmark.forms import Form, form_cases, form_works
from tmaseg.benchmark.row import Row
from tmaseg.benchmark.timing import Case, measure
from tmaseg.inference.device import Precision
from tmaseg.inference.engine import Engine, prepare
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet

MEMORIES = (0, 1, 2, 4, 6, 8)
SCALES = (1 / 3, 1 / 2, 2 / 3, 1.0, 4 / 3, 2.0)

_LEAST_SIDE = 32
_FORMS: tuple[Form, ...] = ("clip", "stream")


@dataclass(frozen=True)
class Point:
    """One network and one size, in both forms."""

    memory_frames: int
    size_hw: tuple[int, int]
    clip: Row
    """The T + 1 frames recomputed. A network without memory has one form: this is `stream` then."""
    stream: Row

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        height, width = self.size_hw
        forms = {"clip": self.clip, "stream": self.stream}
        wanted = ("seconds_per_frame", "gmacs", "gmacs_paper")
        told = {form: {name: row.to_dict()[name] for name in wanted} for form, row in forms.items()}
        return {"memory_frames": self.memory_frames, "frame": f"{width}x{height}", **told}


@dataclass(frozen=True)
class Curves:
    """Measured in one precision. Weights are of no meaning: cost does not depend on them."""

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
    wanted = [(frames, size_hw) for frames in MEMORIES] + [(config.memory_frames, size) for size in sizes]
    cases = {key: _cases(engines[key[0]], key[1]) for key in wanted}  # a point on both curves is measured once
    rows = iter(measure([case for each in cases.values() for case in each], repeats=repeats))
    points = {key: _point(key, [next(rows) for _ in each]) for key, each in cases.items()}
    found = [points[key] for key in wanted]
    return Curves(precision, found[: len(MEMORIES)], found[len(MEMORIES) :])


def _cases(engine: Engine, size_hw: tuple[int, int]) -> list[Case]:
    works = form_works(engine.net, size_hw)
    shown = {form: works[form] for form in _FORMS if form in works} or works
    return form_cases(engine, size_hw, shown, "")


def _point(key: tuple[int, tuple[int, int]], rows: Sequence[Row]) -> Point:
    return Point(key[0], key[1], rows[0], rows[-1])


def _scaled(size_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = (max(_LEAST_SIDE, round(scale * side)) for side in size_hw)
    return height, width
