"""Where and in which arithmetic a network runs."""

import time
from collections.abc import Callable
from functools import cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.errors import ConfigError
from tmaseg.model.cpu import cpu_flags

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


class Arrival:
    """An array on its way from the device."""

    def __init__(self, there: Tensor, event: torch.cuda.Event | None = None) -> None:
        """`there` is in host memory; it is complete once `event` has happened, or now where there is none."""
        self._there = there
        self._event = event

    def wait(self) -> NDArray[np.uint8]:
        """The array, complete."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return np.asarray(self._there.numpy(), np.uint8)


class Transfer:
    """Copies for one device. On a CPU nothing is copied.

    To CUDA: through pinned memory, up on one stream and down on another. Labels wait for the network of their frame, so
    that pixels queued behind them on the same stream would wait for it as well; on a stream of its own the next frame
    goes up while this one is computed. Nobody waits on the host until the labels are looked at. Not measured: no GPU
    was at hand.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams = (_stream_of(device), _stream_of(device)) if device.type == "cuda" else None

    def up(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The array on the device; kernels launched from now on find it complete. The copy waits for nothing."""
        host = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        if self._streams is None:
            return host
        stream, _ = self._streams
        with torch.cuda.stream(stream):
            there = host.pin_memory().to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(stream)
        there.record_stream(current)  # its memory is not given away before the network has read it
        return there

    def down(self, labels: Tensor) -> Arrival:
        """Starts the way back of uint8 `labels`; kernels launched before are waited for by the copy, not by us."""
        if self._streams is None:
            return Arrival(labels)
        _, stream = self._streams
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            there = torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
            there.copy_(labels, non_blocking=True)
            labels.record_stream(stream)  # nor that of the labels before they are copied
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(stream)
        return Arrival(there, event)


def _stream_of(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
