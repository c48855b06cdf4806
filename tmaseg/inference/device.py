"""Devices: which one, in which arithmetic, and copies to and from it. The only module that names kinds of devices."""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.errors import ConfigError
from tmaseg.model.attention import Attend, chunked, fused

Precision = Literal["fp32", "bf16", "fp16"]

_KINDS = ("cpu", "cuda")
_NAMES = "auto, cpu, cuda or cuda:N"
_STREAMS = ("cuda", "xpu")  # kinds that copy while they compute
_WORTH_IT = 1.25  # by less a busy machine's noise would choose differently from run to run

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:N". Raises ConfigError for one that is unknown or absent."""
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return torch.device(found.type if found is not None and found.type in _KINDS else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device is {name!r}; it must be {_NAMES}") from error
    if device.type not in _KINDS:
        raise ConfigError(f"--device is {name!r}; it must be {_NAMES}")
    count = device_count(device.type)
    if is_accelerator(device) and (device.index or 0) >= count:
        raise ConfigError(
            f"--device is {name!r} but this machine has {count} usable {device.type.upper()} devices: use auto or cpu"
        )
    return device


def is_accelerator(device: torch.device) -> bool:
    """Whether it computes beside the CPU, in a memory of its own or not."""
    return device.type not in ("cpu", "meta")


def device_count(kind: str) -> int:
    """How many devices of an accelerator's kind there are that work."""
    module = torch.get_device_module(kind)
    return int(module.device_count()) if module.is_available() else 0


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision for "auto" or a name: bfloat16 where the device computes in it. Raises ConfigError when unknown."""
    if name == "auto":
        if is_accelerator(device):
            return "bf16" if _of(device).is_bf16_supported() else "fp16"
        return "bf16" if _cpu_computes_bf16() else "fp32"
    for precision in get_args(Precision):
        if name == precision:
            chosen: Precision = precision
            return chosen
    raise ConfigError(f"--precision is {name!r}; it must be auto, fp32, bf16 or fp16")


def dtype_of(precision: Precision) -> torch.dtype:
    """The torch type of a precision."""
    return _DTYPES[precision]


def precision_of(dtype: torch.dtype) -> Precision:
    """The precision of a torch type."""
    return next((precision for precision, each in _DTYPES.items() if each == dtype), "fp32")


def attention_for(device: torch.device, dtype: torch.dtype) -> Attend:
    """The faster way to read memory without gradients.

    Measured on CPUs at M 2700, N 10800, Ck 64, Cv 256, bf16. With AMX: whole matrix 51 ms, fused 23. Without it
    (AVX512-BF16, Zen 5): whole matrix 50, fused 180, chunks 62. In fp32 on a Xeon without AMX: whole 135, fused 125,
    heads of 64 apart 316, chunks of 64 to 512 rows 82 to 104. float16 takes the fused form on CPUs, whose plain
    half-precision products are twenty times slower.
    """
    if device.type != "cpu" or dtype == torch.float16:
        return fused
    return fused if dtype == torch.bfloat16 and "amx_bf16" in cpu_flags() else chunked


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on an accelerator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("allocate memory" in text or "out of memory" in text)


def free_cached_memory(device: torch.device) -> None:
    """Gives back what an accelerator's allocator keeps for later; on a CPU nothing is kept that could be."""
    if is_accelerator(device):
        _of(device).empty_cache()


def peak_memory_mb(device: torch.device) -> float | None:
    """Most memory that tensors on an accelerator took so far, in MB of 2**20 bytes; None on a CPU."""
    return _of(device).max_memory_allocated(device) / 2**20 if is_accelerator(device) else None


def compile_options(device: torch.device) -> dict[str, Any]:
    """For torch.compile. CUDA's kernels are launched as one graph (not measured: no GPU was at hand)."""
    return {"triton.cudagraphs": True} if device.type == "cuda" else {}


def begin_graphs(device: torch.device) -> None:
    """A compiled frame begins: what the last frame's graphs returned may be overwritten."""
    if device.type == "cuda":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


class Arrival:
    """An array on its way from the device."""

    def __init__(self, there: Tensor, event: Any = None) -> None:
        """`there` is complete in host memory once `event` has happened, or now where there is none."""
        self._there = there
        self._event = event

    def wait(self) -> NDArray[np.uint8]:
        """The array, complete."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return np.asarray(self._there.cpu().numpy(), np.uint8)


class Transfer:
    """Copies for one device. On a CPU nothing is copied.

    Where the device copies while it computes: through pinned memory, up on one stream and down on another. Labels wait
    for the network of their frame, so that pixels queued behind them on the same stream would wait for it as well; on a
    stream of its own the next frame goes up while this one is computed. Nothing waits on the host until the labels are
    read. Not measured: no GPU was at hand.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams = [_of(device).Stream(device) for _ in range(2)] if device.type in _STREAMS else None

    def up(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The array on the device; kernels launched from now on find it complete. The copy waits for nothing."""
        host = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        if self._streams is None:
            return host.to(self._device) if is_accelerator(self._device) else host
        stream, _ = self._streams
        with _of(self._device).stream(stream):
            there = host.pin_memory().to(self._device, non_blocking=True)
        current = _of(self._device).current_stream(self._device)
        current.wait_stream(stream)
        there.record_stream(current)  # its memory is not given away before the network has read it
        return there

    def down(self, labels: Tensor) -> Arrival:
        """Starts the way back of uint8 `labels`; kernels launched before are waited for by the copy, not by us."""
        if self._streams is None:
            return Arrival(labels)
        _, stream = self._streams
        stream.wait_stream(_of(self._device).current_stream(self._device))
        with _of(self._device).stream(stream):
            there = torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
            there.copy_(labels, non_blocking=True)
            labels.record_stream(stream)  # nor that of the labels before they are copied
            event = _of(self._device).Event()
            event.record(stream)
        return Arrival(there, event)


def _of(device: torch.device) -> Any:
    """torch's module for a kind of accelerator, such as torch.cuda."""
    return torch.get_device_module(device)
