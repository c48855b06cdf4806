"""Where and in which arithmetic a network runs."""

from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch

from tmaseg.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:N". Raises ConfigError for one that is unknown or absent."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device is {name!r}; it must be auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device is {name!r}; it must be auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ConfigError(f"--device is {name!r} but this machine has {count} usable CUDA devices: use auto or cpu")
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision for "auto" or a name: bfloat16 where the device computes in it. Raises ConfigError when unknown."""
    if name == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        return "bf16" if _cpu_computes_bf16() else "fp32"
    for precision in get_args(Precision):
        if name == precision:
            chosen: Precision = precision
            return chosen
    raise ConfigError(f"--precision is {name!r}; it must be auto, fp32, bf16 or fp16")


def dtype_of(precision: Precision) -> torch.dtype:
    """The torch type of a precision."""
    return _DTYPES[precision]


@cache
def cpu_flags() -> frozenset[str]:
    """The CPU's instruction sets by Linux's names, such as "amx_bf16"; empty where they cannot be known."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(word for line in info.splitlines() if line.startswith("flags") for word in line.split())


def _cpu_computes_bf16() -> bool:
    """Whether the CPU has bfloat16 products; elsewhere they are emulated, and slow."""
    return bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})
