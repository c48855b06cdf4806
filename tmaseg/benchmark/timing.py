"""Timing: cases measured in turn."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from tmaseg.benchmark.peak import peak_of
from tmaseg.benchmark.row import Row
from tmaseg.model.work import Work


@dataclass(frozen=True)
class Case:
    """A way to do a frame, ready to be timed."""

    name: str
    run: Callable[[], object]
    device: torch.device
    work: Work | None = None


def measure(cases: Sequence[Case], *, repeats: int = 5) -> list[Row]:
    """Times the cases in turn, `repeats` rounds after one to warm up: what slows the machine slows all alike."""
    firsts = [seconds_of(case.run, case.device) for case in cases]
    peaks = [peak_of(case.run, case.device) for case in cases]
    seconds: list[list[float]] = [[] for _ in cases]
    for _ in range(repeats):
        for case, taken in zip(cases, seconds, strict=True):
            taken.append(seconds_of(case.run, case.device))
    return [
        Row(
            case.name,
            median(taken),
            case.work,
            peak.highest if peak else None,
            peak.working if peak else None,
            first,
        )
        for case, taken, peak, first in zip(cases, seconds, peaks, firsts, strict=True)
    ]


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """One call: by events of the device where it is CUDA, by the clock elsewhere."""
    if device.type != "cuda":
        begun = time.perf_counter()
        run()
        return time.perf_counter() - begun
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    with torch.cuda.device(device):
        begin.record()
        run()
        end.record()
        end.synchronize()
    return float(begin.elapsed_time(end)) / 1000
