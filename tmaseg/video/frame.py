"""Frame: one picture of a video and its time."""

from dataclasses import dataclass, replace
from fractions import Fraction

from tmaseg.arrays import RGB


@dataclass(frozen=True, repr=False)
class Frame:
    """An upright RGB picture and its exact time."""

    rgb: RGB
    """(H, W, 3) uint8, red first, full range, upright."""
    pts: int
    """Presentation time in units of `time_base`."""
    time_base: Fraction
    """Seconds a unit of `pts`."""
    index: int
    """Position among the decoded frames of the source, from 0; skipped frames are counted."""
    discontinuity: bool = False
    """Whether this picture does not continue the one before (another size, or the clock jumped): a memory of earlier
    frames must start again here."""
    duration: int = 0
    """How long it is shown, in units of `time_base`; 0: not known, one step of the nominal rate."""
    arrival: float | None = None
    """Time of arrival from a live source, in seconds of `time.monotonic`; None: from a file."""

    @property
    def seconds(self) -> float:
        """Presentation time in seconds, from the beginning of the source's time line."""
        return float(self.pts * self.time_base)

    def with_rgb(self, rgb: RGB) -> "Frame":
        """The same frame with other pixels."""
        return replace(self, rgb=rgb)

    def __repr__(self) -> str:
        return f"Frame(index={self.index}, shape={self.rgb.shape}, seconds={self.seconds:.3f})"
