"""Where and in which arithmetic a network runs."""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch

from tmaseg.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]

_WORTH_IT = 1.25  # by less a busy machine's noise would choose differently from run to run

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
    """Whether bfloat16 products are worth it here. With AMX they always are; without any they are emulated."""
    if "amx_bf16" in cpu_flags():
        return True
    return "avx512_bf16" in cpu_flags() and bf16_gain() > _WORTH_IT


@cache
def bf16_gain() -> float:
    """How many times faster this CPU does one convolution in bfloat16 than in float32; takes a fraction of a second.

    The instruction set does not tell. Measured with AVX512-BF16 and no AMX, a frame of ResNet-18 in fp32 and bf16: on a
    Zen 5 83 and 45 ms; on a Xeon whose AMX was hidden by its virtual machine 120 and 190.
    """
    seconds = {}
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            conv = torch.nn.Conv2d(128, 128, 3, padding=1, device="cpu", dtype=dtype)
            conv = conv.to(memory_format=torch.channels_last)
            x = torch.zeros(1, 128, 48, 64, dtype=dtype).contiguous(memory_format=torch.channels_last)
            seconds[dtype] = min(_seconds(lambda conv=conv, x=x: conv(x)) for _ in range(4))  # type: ignore[misc]
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
