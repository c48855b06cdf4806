"""Rows: ways to process a frame, timed in turn, with the memory they take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from tmaseg.files import peak_resident_mb, reset_peak, resident_mb
from tmaseg.inference.device import is_accelerator, peak_memory_mb, reset_peak_memory, seconds_of
from tmaseg.model.macs import Macs


@dataclass(frozen=True)
class Case:
    """A way to process a frame, ready to be timed."""

    name: str
    run: Callable[[], object]
    device: torch.device
    work: Macs | None = None


@dataclass(frozen=True)
class Row:
    """A measured, or only counted, way to process a frame."""

    name: str
    seconds_per_frame: float | None
    """Median; None if only counted."""
    work: Macs | None = None
    """Multiply-adds; None for stages such as decoding."""
    peak_mb: float | None = None
    """Peak memory while it ran: of the process, on a GPU of tensors; None where the system does not report it."""
    working_mb: float | None = None
    """How much of the peak was not held before the call: activations, scratch."""
    first_seconds: float | None = None
    """The first call, which includes compilation."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values: GMACs with attention, and in the paper's convention without."""
        return {
            "name": self.name,
            "seconds_per_frame": _rounded(self.seconds_per_frame, 5),
            "gmacs": round(self.work.total, 2) if self.work else None,
            "gmacs_paper": round(self.work.convolutions, 2) if self.work else None,
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
        Row(case.name, median(seconds), case.work, peak_mb, working_mb, first)
        for case, seconds, (peak_mb, working_mb), first in zip(
            cases, zip(*rounds, strict=True), memory, firsts, strict=True
        )
    ]


def peak_memory(run: Callable[[], object], device: torch.device) -> tuple[float, float] | tuple[None, None]:
    """(peak, working) in MB (2^20 bytes) of one call: of tensors on a GPU, else of the process.

    (None, None) where the system does not report it.
    """
    if is_accelerator(device):
        before = reset_peak_memory(device)
        run()
        peak = peak_memory_mb(device)
        return peak, peak - before
    if not reset_peak():
        run()
        return None, None
    before = resident_mb()
    run()
    peak = peak_resident_mb()
    return peak, max(0.0, peak - before)


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
    return {
        name: seconds[slow] / seconds[fast]
        for name, (slow, fast) in pairs.items()
        if slow != fast and slow in seconds and fast in seconds
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
