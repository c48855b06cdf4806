"""Resident memory of this process, in MB of 2**20 bytes."""

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

_PROCESS = Path("/proc/self")  # Linux


def resident_mb() -> float:
    """Now; at most so far where the system tells no more."""
    now = _told("VmRSS")
    return _most() if now is None else now


def peak_resident_mb() -> float:
    """At most so far, or since `forget_peak`."""
    # Linux's own count first: the other one begins with that of the process that started this one.
    peak = _told("VmHWM")
    return _most() if peak is None else peak


def forget_peak() -> bool:
    """Starts the peak again at what is held now, where Linux lets it; says whether it did."""
    # Memory that was freed but kept for later would pass for memory that is in use.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _told(name: str) -> float | None:
    try:
        status = (_PROCESS / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return next((float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{name}:")), None)


def _most() -> float:
    unit = 1024 if sys.platform == "darwin" else 1  # kilobytes, but bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / unit
