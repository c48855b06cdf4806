"""Rows: ways to process a frame, timed in turn, with the memory they take: the network's forms, and ONNX runtimes.

clip     the query and its T memory frames, everything recomputed: T + 1 backbones
stream   one step with T frames in memory
alone    memory off: a frame that reads itself
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor

from tmaseg.arrays import RGB
from tmaseg.errors import CheckpointError, ConfigError
from tmaseg.inference.device import Precision, choose_precision, is_accelerator, peak_memory, seconds_of
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.frame_segmenter import FrameSegmenter
from tmaseg.inference.macs import Macs, clip_macs, step_macs
from tmaseg.inference.onnx_runtime import OnnxNetwork, OpenVinoSession, fitted
from tmaseg.inference.segmenter import load_network
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.model.checkpoint import Checkpoint
from tmaseg.model.config import InputGeometry, TMANetConfig
from tmaseg.options import BenchOptions
from tmaseg.video import DEMO
from tmaseg.video.source import open_source

Form = Literal["clip", "stream", "alone"]
_FRAMES = 8  # of the video that runtimes are timed on


@dataclass(frozen=True)
class Case:
    """A way to process a frame, ready to be timed."""

    name: str
    run: Callable[[], object]
    device: torch.device
    macs: Macs | None = None


@dataclass(frozen=True)
class Row:
    """A measured, or only counted, way to process a frame."""

    name: str
    seconds_per_frame: float | None  # median; None if only counted
    macs: Macs | None = None  # multiply-adds; None for stages such as decoding
    peak_mb: float | None = None  # while it ran: of the process, on a GPU of tensors; None where not reported
    working_mb: float | None = None  # part of the peak that was not held before the call: activations, scratch
    first_seconds: float | None = None  # the first call, which includes compilation

    def to_dict(self) -> dict[str, Any]:
        """Plain values: GMACs with attention, and in the paper's convention without."""
        return {
            "name": self.name,
            "seconds_per_frame": _rounded(self.seconds_per_frame, 5),
            "gmacs": round(self.macs.total, 2) if self.macs else None,
            "gmacs_paper": round(self.macs.convolutions, 2) if self.macs else None,
            "peak_mb": _rounded(self.peak_mb, 1),
            "working_mb": _rounded(self.working_mb, 1),
            "first_seconds": _rounded(self.first_seconds, 3),
        }


def measure(cases: Sequence[Case], *, repeats: int = 5) -> list[Row]:
    """Times the cases in turn, `repeats` rounds after a warm-up: what slows the machine slows all alike."""
    firsts = [seconds_of(case.run, case.device) for case in cases]
    memory = [peak_memory(case.run, case.device) for case in cases]
    rounds = [[seconds_of(case.run, case.device) for case in cases] for _ in range(repeats)]
    return [
        Row(case.name, median(seconds), case.macs, peak, working, first)
        for case, seconds, (peak, working), first in zip(cases, zip(*rounds, strict=True), memory, firsts, strict=True)
    ]


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """How many times faster one row is than another, for all pairs of interest that were measured."""
    seconds = {row.name: row.seconds_per_frame for row in rows if row.seconds_per_frame}
    pairs: dict[str, tuple[str, str]] = {}
    for precision in ("fp32", "bf16", "fp16"):
        stream, compiled = f"stream {precision}", f"stream {precision} compiled"
        pairs[f"stream over clip, {precision}"] = (f"clip {precision}", stream)
        pairs[f"memory off over on, {precision}"] = (stream, f"alone {precision}")
        pairs[f"{precision} over fp32, stream"] = ("stream fp32", stream)
        pairs[f"compiled over not, stream {precision}"] = (stream, compiled)
        pairs[f"compiled over not, alone {precision}"] = (f"alone {precision}", f"alone {precision} compiled")
    for fast in seconds:  # runtimes of an exported file
        if fast.startswith(("onnx", "openvino")):
            pairs |= {f"{fast} over {slow}": (slow, fast) for slow in seconds if slow.startswith("torch")}
    return {
        name: seconds[slow] / seconds[fast]
        for name, (slow, fast) in pairs.items()
        if slow != fast and slow in seconds and fast in seconds
    }


def network_cases(
    checkpoint: Checkpoint,
    size_hw: tuple[int, int],
    device: torch.device,
    precisions: Sequence[Precision],
    *,
    compiled: bool = False,
) -> list[Case]:
    """For each precision every form, and the streaming ones once more compiled; on random frames of `size_hw`.

    A compiled case raises ConfigError when it runs and compiling fails.
    """
    macs = form_macs(checkpoint.config, size_hw)
    cases = []
    for precision in precisions:
        engine = Engine(prepare(checkpoint.build(), device, precision))
        cases += form_cases(engine, size_hw, macs, precision)
        if compiled:
            faster = Engine(engine.net)
            faster.compile()
            cases += form_cases(faster, size_hw, macs, f"{precision} compiled")
    return cases


def form_macs(config: TMANetConfig, size_hw: tuple[int, int]) -> dict[Form, Macs]:
    """The forms that such a network has, and the multiply-adds of each; nothing is run."""
    alone: dict[Form, Macs] = {"alone": step_macs(config, size_hw, 0)}
    if not config.memory_frames:
        return alone
    return {"clip": clip_macs(config, size_hw), "stream": step_macs(config, size_hw), **alone}


def form_cases(engine: Engine, size_hw: tuple[int, int], macs: dict[Form, Macs], suffix: str) -> list[Case]:
    """The forms in `macs`, each named with the suffix; without the clip form for a compiled engine."""
    return [
        Case(f"{form} {suffix}".strip(), form_call(engine, size_hw, form), engine.device, count)
        for form, count in macs.items()
        if not (engine.compiled and form == "clip")
    ]


def form_call(engine: Engine, size_hw: tuple[int, int], form: Form) -> Callable[[], Tensor]:
    """One call is one random frame, (1, 3, H, W) -> logits at the head's resolution, as in a run."""
    net = engine.net
    frames = torch.randn(net.config.memory_frames + 1, 3, *size_hw, device=engine.device).to(engine.dtype)
    frames = frames.contiguous(memory_format=torch.channels_last)  # (T + 1, 3, H, W)
    windows = SlidingWindow(engine, InputGeometry(), net.config.memory_frames if form == "stream" else 0)

    @torch.inference_mode()
    def run() -> Tensor:
        logits = net.head_logits(frames[:1], frames[None, 1:]) if form == "clip" else windows.step(frames[:1])
        if engine.failure:  # it fell back to uncompiled methods: that is another row
            raise ConfigError(f"--compile on cannot be measured here: {engine.failure}; leave it out")
        return logits

    return run


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def bench_onnx(
    options: BenchOptions, network: OnnxNetwork, progress: Callable[[str], None]
) -> tuple[tuple[int, int], list[Row]]:
    """(H, W) of the frames, and a row for each runtime: a frame from its pixels to its labels.

    Raises ConfigError for options that change the network, VideoError for a bad video.
    """
    if options.paper or options.changes or options.plot or options.count_only or options.compile == "on":
        raise ConfigError(
            f"{network.name} is measured as it is: leave out --paper, --set, --compile, --plot and --count-only"
        )
    spec, device = network.spec, network.device
    with open_source(options.video or DEMO) as source:
        frames = [fitted(frame.rgb, spec.frame_hw) for frame in islice(source, _FRAMES)]
    cases = [Case(f"onnx {spec.precision}", _steps(network.segmenter(), frames), device)]
    if find_spec("openvino") and not is_accelerator(device):
        other = replace(network, session=OpenVinoSession(network.path))
        cases.append(Case(f"openvino {spec.precision}", _steps(other.segmenter(), frames), device))
    for name in options.precisions:
        precision = choose_precision(name, device)
        try:
            there = load_network(_weights(spec.weights, network.path), device=device, precision=precision)
        except CheckpointError as error:
            progress(f"no row of torch: {error}")
            break
        segmenter = there.segmenter(geometry=network.geometry, memory_frames=spec.memory_frames)
        cases.append(Case(f"torch {precision}", _steps(segmenter, frames), device))
    size_hw = (frames[0].shape[0], frames[0].shape[1])
    return size_hw, measure(cases, repeats=options.repeats)


def _weights(name: str, exported: Path) -> str:
    """What the file was exported from: a name, a path, or a file that lies beside it."""
    beside = exported.with_name(Path(name).name)
    return str(beside) if beside.is_file() else name


def _steps(segmenter: FrameSegmenter, frames: list[RGB]) -> Callable[[], object]:
    """One call is the next frame, labels included."""
    return partial(lambda following: segmenter.step(next(following)).labels, cycle(frames))
