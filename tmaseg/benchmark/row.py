"""Row: one way to do a frame, measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from tmaseg.model.work import Work


@dataclass(frozen=True)
class Row:
    """One measured, or only counted, way to do a frame."""

    name: str
    seconds_per_frame: float | None
    """Median; None where it was only counted."""
    work: Work | None = None
    """None where it means nothing, such as decoding."""
    peak_mb: float | None = None
    """Most memory while it ran: resident in the process, on a GPU what tensors took; None where nobody tells."""
    working_mb: float | None = None
    """How much of it was not held before: activations, scratch."""
    first_seconds: float | None = None
    """The very first frame: with compilation, where there is one."""

    def to_dict(self) -> dict[str, float | str | None]:
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
