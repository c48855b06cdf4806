"""What a frame costs: the network streaming against recomputing the clip, in each precision, and its work in GMACs."""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from tmaseg.model.device import Precision
from tmaseg.model.engine import prepare
from tmaseg.model.memory import MemoryRing
from tmaseg.model.tmanet import TMANet
from tmaseg.model.work import Work, clip_work, step_work
from tmaseg.overlay import Painter
from tmaseg.stream import Segmenter
from tmaseg.video.sink import Sink
from tmaseg.video.source import Source


@dataclass(frozen=True)
class Row:
    """One measured way to do a frame."""

    name: str
    seconds_per_frame: float
    """Median."""
    work: Work | None = None
    """None where it means nothing, such as decoding."""
    peak_mb: float | None = None
    """Largest resident memory of the process while it ran; None where the system does not tell."""

    def to_dict(self) -> dict[str, float | str | None]:
        """Plain values: GMACs with attention, and in the paper's convention without."""
        return {
            "name": self.name,
            "seconds_per_frame": round(self.seconds_per_frame, 5),
            "gmacs": round(self.work.total, 2) if self.work else None,
            "gmacs_paper": round(self.work.convolutions, 2) if self.work else None,
            "peak_mb": round(self.peak_mb, 1) if self.peak_mb else None,
        }


@dataclass(frozen=True)
class Case:
    """A way to do a frame, ready to be timed."""

    name: str
    run: Callable[[], object]
    work: Work | None = None


def network_cases(net: TMANet, size_hw: tuple[int, int], precisions: Sequence[Precision]) -> list[Case]:
    """For each precision: the clip form, one streaming step, and a frame alone; all on random frames of `size_hw`.

    `net` is on its device and not folded yet; it is copied for each precision.
    """
    device = next(net.parameters()).device
    works = {"alone": step_work(net.config, size_hw, 0)}
    if net.config.memory_frames:
        works |= {"clip": clip_work(net.config, size_hw), "stream": step_work(net.config, size_hw)}
    cases = []
    for precision in precisions:
        copy = TMANet(net.config)
        copy.load_state_dict(net.state_dict())
        ready = prepare(copy, device, precision)
        forms: dict[str, Callable[[], Tensor]] = {"alone": _alone(ready, size_hw)}
        if net.config.memory_frames:
            forms = {"clip": _clip(ready, size_hw), "stream": _stream(ready, size_hw), **forms}
        cases += [Case(f"{form} {precision}", _synchronised(run, device), works[form]) for form, run in forms.items()]
    return cases


def measure(cases: Sequence[Case], *, repeats: int = 5) -> list[Row]:
    """Times the cases in turn, `repeats` rounds after one to warm up: what slows the machine slows all alike."""
    peaks: list[float | None] = []
    for case in cases:
        forgot = _forget_peak()
        case.run()
        peaks.append(_peak_mb() if forgot else None)
    seconds: list[list[float]] = [[] for _ in cases]
    for _ in range(repeats):
        for case, taken in zip(cases, seconds, strict=True):
            begun = time.perf_counter()
            case.run()
            taken.append(time.perf_counter() - begun)
    return [
        Row(case.name, median(taken), case.work, peak) for case, taken, peak in zip(cases, seconds, peaks, strict=True)
    ]


def measure_stages(source: Source, segmenter: Segmenter, sink: Sink, *, frames: int = 60) -> list[Row]:
    """Decode, model, render and encode of up to `frames` frames of a video, one stage after the other, and their sum.

    `tmaseg run` overlaps them: where cores are free it takes the time of the slowest.
    """
    painter = Painter(segmenter.labels)
    taken: dict[str, list[float]] = {"decode": [], "model": [], "render": [], "encode": []}
    given = iter(source)
    for _ in range(frames):
        with _timed(taken["decode"]):
            frame = next(given, None)
        if frame is None:
            break
        with _timed(taken["model"]):
            labels = segmenter.step(frame.rgb, seconds=frame.seconds, fresh=frame.fresh).labels
        with _timed(taken["render"]):
            painted = frame.with_rgb(painter.paint(frame.rgb, labels))
        with _timed(taken["encode"]):
            sink.write(painted)
    rows = [Row(stage, median(seconds)) for stage, seconds in taken.items()]
    return [*rows, Row("all stages, one after the other", sum(row.seconds_per_frame for row in rows))]


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """How many times faster streaming is than the clip form, and each precision than fp32, where both were measured."""
    seconds = {row.name: row.seconds_per_frame for row in rows}
    pairs = {
        f"stream over clip, {precision}": (f"clip {precision}", f"stream {precision}")
        for precision in ("fp32", "bf16", "fp16")
    } | {f"{precision} over fp32, stream": ("stream fp32", f"stream {precision}") for precision in ("bf16", "fp16")}
    return {
        name: seconds[slow] / seconds[fast]
        for name, (slow, fast) in pairs.items()
        if slow in seconds and fast in seconds
    }


def machine() -> str:
    """The processor, how many of its cores torch uses, and the versions that matter."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    if torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name()}, {name}"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _frames(net: TMANet, size_hw: tuple[int, int], count: int) -> Tensor:
    weight = next(net.parameters())
    return torch.randn(count, 3, *size_hw, device=weight.device).to(weight.dtype)  # (count, 3, H, W)


def _clip(net: TMANet, size_hw: tuple[int, int]) -> Callable[[], Tensor]:
    frames = _frames(net, size_hw, net.config.memory_frames + 1)

    @torch.inference_mode()
    def run() -> Tensor:
        return net.head_logits(frames[:1], frames[None, 1:])

    return run


def _stream(net: TMANet, size_hw: tuple[int, int]) -> Callable[[], Tensor]:
    frame = _frames(net, size_hw, 1)
    ring: MemoryRing | None = None

    @torch.inference_mode()
    def run() -> Tensor:
        nonlocal ring
        features = net.features(frame)
        keys, values = net.encode_memory(features.stage4)
        if ring is None:
            ring = MemoryRing(keys, values, frames=net.config.memory_frames)
            ring.push(keys, values)
        logits = net.answer(features, *ring.read())
        ring.push(keys, values)
        return logits

    return run


def _alone(net: TMANet, size_hw: tuple[int, int]) -> Callable[[], Tensor]:
    frame = _frames(net, size_hw, 1)

    @torch.inference_mode()
    def run() -> Tensor:
        features = net.features(frame)
        if not net.config.memory_frames:
            return net.answer(features, None, None)
        return net.answer(features, *net.encode_clip(features.stage4[:, None]))

    return run


def _synchronised(run: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    def timed() -> Tensor:
        answer = run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return answer

    return timed


@contextmanager
def _timed(seconds: list[float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - begun)


def _forget_peak() -> bool:
    """Starts the process's peak of resident memory again, where Linux lets it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
