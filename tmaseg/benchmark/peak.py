"""Peak: the most memory that something takes while it runs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tmaseg.files import peak_resident_mb, reset_peak, resident_mb


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
    told = reset_peak()
    before_mb = resident_mb()
    run()
    return Peak(peak_resident_mb(), before_mb) if told else None
