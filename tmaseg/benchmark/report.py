"""run_bench: measures the network, the stages of a run, and the cost of a frame against T and against its size."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tmaseg.benchmark.rows import Row, bench_onnx, form_cases, form_macs, measure, network_cases, ratios
from tmaseg.benchmark.stages import measure_stages
from tmaseg.errors import ConfigError
from tmaseg.inference.device import (
    Precision,
    attention_for,
    choose_device,
    choose_precision,
    describe_device,
    dtype_of,
    is_accelerator,
)
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.onnx_runtime import OnnxNetwork
from tmaseg.inference.segmenter import load_network
from tmaseg.labels import generic_labels
from tmaseg.model.checkpoint import Checkpoint, load_checkpoint, read_weights_info
from tmaseg.model.config import TMANetConfig
from tmaseg.model.memory import fused
from tmaseg.model.tmanet import TMANet
from tmaseg.options import BenchOptions
from tmaseg.plots import COLOURS, INK, Series, draw_lines, new_figure, save_png
from tmaseg.video.source import open_source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEFAULT_WEIGHTS = "street"
_PAPER_CONFIGS = {
    "camvid": TMANetConfig(classes=12, memory_encoder="per-slot"),
    "cityscapes": TMANetConfig(classes=19, memory_frames=2, memory_encoder="per-slot", align_corners=True),
}
MEMORIES = (0, 1, 2, 4, 6, 8)
_SCALES = (1 / 3, 1 / 2, 2 / 3, 1.0, 4 / 3, 2.0)
_MIN_SIDE_PX = 32
_SIZE_PX = (1440, 480)


class Point(NamedTuple):
    """One network at one size, in both forms."""

    memory_frames: int
    size_hw: tuple[int, int]
    clip: Row  # the T + 1 frames recomputed; the same as `stream` for a network without memory, which has one form
    stream: Row

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        height, width = self.size_hw
        names = ("seconds_per_frame", "gmacs", "gmacs_paper")
        forms = {"clip": self.clip.to_dict(), "stream": self.stream.to_dict()}
        costs = {form: {name: row[name] for name in names} for form, row in forms.items()}
        return {"memory_frames": self.memory_frames, "frame": f"{width}x{height}", **costs}


class Curves(NamedTuple):
    """Cost of a frame, measured with untrained networks: it does not depend on weights."""

    against_memory: list[Point]  # T as in MEMORIES, at one size; 0 is a network built without memory
    against_size: list[Point]  # multiples of that size, with T as configured


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """The result of `tmaseg bench`."""

    network: str
    machine: str
    device: str
    frame: str  # size of the network's input, WIDTHxHEIGHT
    memory_frames: int  # memory frames T of the network
    rows: Sequence[Row]  # the network in its forms and precisions, then the stages of a run
    attention: Mapping[str, str] = field(default_factory=dict)  # by precision: "fused" or "explicit" (in parts)
    run_precision: str | None = None  # the precision that stages and curves were measured in; None: neither was
    curves: Curves | None = None

    @property
    def headline(self) -> str:
        """Title of the plot: network, precision and machine."""
        return f"{self.network}, {self.run_precision}, on {self.machine}"

    @property
    def ratios(self) -> dict[str, float]:
        """How many times faster one row is than another."""
        return ratios(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = vars(self) | {
            "attention": dict(self.attention),
            "rows": [row.to_dict() for row in self.rows],
            "ratios": {name: round(value, 3) for name, value in self.ratios.items()},
        }
        if self.curves:
            curves = {name: [point.to_dict() for point in points] for name, points in self.curves._asdict().items()}
            return values | {"curves": {"precision": self.run_precision, **curves}}
        del values["curves"]
        return values


def run_bench(
    options: BenchOptions,
    *,
    weights: str = DEFAULT_WEIGHTS,
    device: str = "auto",
    progress: Callable[[str], None] = lambda _: None,
) -> BenchReport:
    """Measures the network, then the stages of a run, then the curves if `options.plot` is set.

    Stages and curves are measured in the precision that a run would take if it is among those compared, else in the
    first. `progress` is called with what comes next. Raises TmasegError.
    """
    target = choose_device(device)
    where = _machine(target)
    report = partial(BenchReport, machine=where, device=str(target))
    if not options.paper and read_weights_info(weights).onnx:
        exported = OnnxNetwork.load(weights, device)
        title = f"{weights} with {exported.session.name}"
        progress(f"{title}, on {where}")
        (height, width), rows = bench_onnx(options, exported, progress)
        frames = exported.spec.memory_frames
        return report(network=title, frame=f"{width}x{height}", memory_frames=frames, rows=rows)
    title, config, checkpoint = _network(options, weights)
    report = partial(report, network=title, frame=options.frame, memory_frames=config.memory_frames)
    if options.count_only:
        macs = form_macs(config, options.size_hw)
        return report(rows=[Row(form, None, count) for form, count in macs.items()])
    if options.plot and not config.memory_frames:
        raise ConfigError("--plot compares streaming with recomputing, but this network has no memory: leave it out")
    if options.video:
        open_source(options.video).close()  # a bad video is an error before minutes of measuring
    precisions = [choose_precision(name, target) for name in options.precisions]
    usual = choose_precision("auto", target)
    usual = usual if usual in precisions else precisions[0]

    progress(f"the network: {title}, {' and '.join(precisions)}, on {where}")
    if checkpoint is None:
        checkpoint = Checkpoint(config, generic_labels(config.classes), TMANet(config).state_dict())
    rows = measure(  # whose networks are freed before the stages
        network_cases(checkpoint, options.size_hw, target, precisions, compiled=options.compile == "on"),
        repeats=options.repeats,
    )
    progress(f"the stages of a run, {usual}")
    rows += measure_stages(
        load_network(checkpoint, device=target, precision=usual).segmenter(smooth=True), options.video
    )
    curves = None
    if options.plot:
        progress(f"cost against memory length and frame size, {usual}")
        curves = measure_curves(config, options.size_hw, target, usual, repeats=options.repeats)
    attention = {
        precision: "fused" if attention_for(target, dtype_of(precision)) is fused else "explicit"
        for precision in (precisions if config.memory_frames else ())
    }
    return report(rows=rows, attention=attention, run_precision=usual, curves=curves)


def measure_curves(
    config: TMANetConfig, size_hw: tuple[int, int], device: torch.device, precision: Precision, *, repeats: int = 5
) -> Curves:
    """Both curves of networks like `config`, which needs a memory; all points are measured in turn."""
    engines = {
        frames: Engine(prepare(TMANet(replace(config, memory_frames=frames)), device, precision))
        for frames in {*MEMORIES, config.memory_frames}
    }
    sizes = [tuple(max(_MIN_SIDE_PX, round(scale * side)) for side in size_hw) for scale in _SCALES]
    against_memory = [(frames, size_hw) for frames in MEMORIES]
    against_size = [(config.memory_frames, (height, width)) for height, width in dict.fromkeys(sizes)]
    cases = {}
    for frames, size in dict.fromkeys([*against_memory, *against_size]):  # a point on both curves is measured once
        macs = form_macs(engines[frames].net.config, size)
        if frames:
            macs.pop("alone")
        cases[frames, size] = form_cases(engines[frames], size, macs, "")
    rows = iter(measure([case for each in cases.values() for case in each], repeats=repeats))
    points = {}
    for key, each in cases.items():
        forms = [next(rows) for _ in each]
        points[key] = Point(*key, forms[0], forms[-1])
    return Curves([points[key] for key in against_memory], [points[key] for key in against_size])


def draw_curves(curves: Curves, title: str, path: Path) -> None:
    """Seconds a frame of both forms against memory length and against frame size, as a PNG. Raises OutputError."""
    figure = new_figure(_SIZE_PX)
    figure.suptitle(title, x=0.012, ha="left", fontsize=10, color=INK)
    left, right = figure.subplots(1, 2)
    height, width = curves.against_memory[0].size_hw
    frames = curves.against_size[0].memory_frames
    by_memory = [(point.memory_frames, point) for point in curves.against_memory]
    by_size = [(min(point.size_hw), point) for point in curves.against_size]
    _draw(left, by_memory, f"memory frames T, at {width}x{height}")
    _draw(right, by_size, f"short side in pixels, T = {frames}")
    save_png(figure, path)


def _draw(axes: "Axes", points: Sequence[tuple[int, Point]], xlabel: str) -> None:
    clip = [(x, point.clip.seconds_per_frame or 0.0) for x, point in points]
    stream = [(x, point.stream.seconds_per_frame or 0.0) for x, point in points]
    top = 1.1 * max(seconds for _, seconds in (*clip, *stream))
    series = [Series("clip form: T + 1 backbones", clip), Series("streaming", stream)]
    draw_lines(axes, series, ylabel="seconds a frame", xlabel=xlabel, ylim=(0, top), markers=True)
    axes.set_xticks([x for x, _ in clip])
    label: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9, "ha": "center"}
    room = top / 24  # of a label; those without it are left out
    for (x, slow), (_, fast) in zip(clip, stream, strict=True):
        if fast > room:
            axes.annotate(f"{fast:.3g}", (x, fast), (0, -14), color=COLOURS[1], **label)
        if slow - fast > room:
            axes.annotate(f"{slow:.3g}", (x, slow), (0, 7), color=COLOURS[0], **label)


def _machine(device: torch.device) -> str:
    """The processor (a GPU's name first), how many threads torch uses, and torch's version."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    if is_accelerator(device):
        name = f"{describe_device(device)}, {name}"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _network(options: BenchOptions, weights: str) -> tuple[str, TMANetConfig, Checkpoint | None]:
    """Title, configuration, and the weights where these are measured: cost does not depend on them.

    Raises ConfigError for a change that the configuration cannot take.
    """
    changes = options.config_changes()
    if options.paper:
        if weights != DEFAULT_WEIGHTS:
            raise ConfigError(f"--paper {options.paper} is measured without weights: leave out --weights or --paper")
        title, config, checkpoint = f"the authors' network for {options.paper}", _PAPER_CONFIGS[options.paper], None
    else:
        checkpoint = load_checkpoint(weights)
        title, config = weights, checkpoint.config
    if changes:
        title += ", " + ", ".join(f"{name}={value}" for name, value in changes.items())
        config, checkpoint = TMANetConfig.from_dict({**config.to_dict(), **changes}), None
    return title, config, checkpoint
