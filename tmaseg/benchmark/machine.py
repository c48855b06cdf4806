"""The machine that figures are of."""

import platform
from pathlib import Path

import torch


def machine(device: torch.device | None = None) -> str:
    """The processor (with a CUDA `device`, that first), how many cores torch uses, and torch's version."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    if device is not None and device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}, {name}"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"
