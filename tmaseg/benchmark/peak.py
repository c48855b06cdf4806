"""Peak: the most memory that something takes while it runs."""

import contextlib
import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


@dataclass(frozen=True)
class Peak:
    """In MB (2^20 bytes)."""

    highest: float
    before: float

    @property
    def working(self) -> float:
        """What was taken in between."""
        return max(0.0, self.highest - self.before)


def peak_of(run: Callable[[], object], device: torch.device) -> Peak | None:
    """Runs it once. Memory of tensors on a CUDA device, else of the whole process; None where it does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return Peak(torch.cuda.max_memory_allocated(device) / 2**20, before / 2**20)
    told = _forget_peak()
    before_mb = _resident_mb("VmRSS") if told else 0.0
    run()
    return Peak(_resident_mb("VmHWM"), before_mb) if told else None


def _forget_peak() -> bool:
    """Starts the process's peak of resident memory again, where Linux lets it."""
    # Memory that was freed but kept for later would pass for memory that is in use.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _resident_mb(name: str) -> float:
    status = (_PROCESS / "status").read_text(encoding="utf-8")
    return next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(name))
