"""Devices: choice of device and precision, copies, timing. The only module that names kinds of devices."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from tmaseg.errors import ConfigError
from tmaseg.files import peak_resident_mb, reset_peak, resident_mb
from tmaseg.model.memory import Attend, chunked, fused

Precision = Literal["fp32", "bf16", "fp16"]

_ACCELERATORS = ("cuda", "mps", "xpu")
_WITH_STREAMS = ("cuda", "xpu")  # they copy while they compute
_CPU = torch.device("cpu")
_ONNX_PROVIDERS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "cpu": [("OpenVINOExecutionProvider", {"device_type": "CPU"}), ("CPUExecutionProvider", {})],
    "cuda": [("CUDAExecutionProvider", {})],
    "mps": [("CoreMLExecutionProvider", {})],
    "xpu": [("OpenVINOExecutionProvider", {"device_type": "GPU"})],
}
_WORTH_IT = 1.25  # by less a busy machine's noise would choose differently from run to run

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device for "auto", "cpu", or an accelerator such as "cuda" or "cuda:1". Raises ConfigError.

    "auto" prefers the accelerator that torch was built for and that works.
    """
    if name == "auto":
        return next(iter(accelerators()), _CPU)
    with suppress(RuntimeError):
        device = torch.device(name)
        if device.type == "cpu":
            return device
        if is_accelerator(device):
            usable = [each for each in accelerators() if each.type == device.type]
            if (device.index or 0) < len(usable):
                return device
            raise ConfigError(
                f"--device is {name!r} but this machine has {len(usable)} usable {device.type.upper()} devices: "
                "use auto or cpu"
            )
    raise ConfigError(f"--device is {name!r}; it must be auto, cpu, cuda, cuda:N, mps or xpu")


def accelerators() -> list[torch.device]:
    """The accelerators of this machine that work; the first one without its number."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None or found.type not in _ACCELERATORS:
        return []
    others = range(1, _module(found).device_count())
    return [torch.device(found.type), *(torch.device(found.type, index) for index in others)]


def device_of_process(name: str, local_rank: int) -> str:
    """For "auto" or a kind of accelerator, that of this process among the processes of a machine; else `name`."""
    found = accelerators()
    if not found or name not in ("auto", found[0].type):
        return name
    return f"{found[0].type}:{local_rank % len(found)}"


def use_device_of_process(local_rank: int) -> str:
    """Makes this process's accelerator its current one. Returns the backends of `init_process_group` for it."""
    found = accelerators()
    if not found or found[0].type not in _WITH_STREAMS:
        return "gloo"
    _module(found[0]).set_device(local_rank % len(found))
    return f"cpu:gloo,{found[0].type}:{distributed.Backend.default_device_backend_map[found[0].type]}"


def is_accelerator(device: torch.device) -> bool:
    """Whether the device is a GPU or the like, not a CPU."""
    return device.type in _ACCELERATORS


def has_streams(device: torch.device) -> bool:
    """Whether the device copies from pinned memory while it computes."""
    return device.type in _WITH_STREAMS


def describe_device(device: torch.device) -> str:
    """An accelerator's name and memory, such as "NVIDIA H100, 79 GiB", as far as it is known; "" for a CPU."""
    if not is_accelerator(device):
        return ""
    if not has_streams(device):
        return device.type.upper()
    facts = _module(device).get_device_properties(device)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision for "auto" or a name: bfloat16 where the device computes in it. Raises ConfigError when unknown."""
    if name == "auto" and is_accelerator(device):
        return "bf16" if _accelerator_computes_bf16(device) else "fp16"
    if name == "auto":  # with AMX bfloat16 always pays; without any instructions for it, it is emulated
        pays = "amx_bf16" in cpu_flags() or ("avx512_bf16" in cpu_flags() and bf16_gain() > _WORTH_IT)
        return "bf16" if pays else "fp32"
    for precision in _DTYPES:
        if name == precision:
            return precision
    raise ConfigError(f"--precision is {name!r}; it must be auto, fp32, bf16 or fp16")


def dtype_of(precision: Precision) -> torch.dtype:
    """The torch type of a precision."""
    return _DTYPES[precision]


def precision_of(dtype: torch.dtype) -> Precision:
    """The precision of a torch type."""
    return next((precision for precision, each in _DTYPES.items() if each == dtype), "fp32")


def attention_for(device: torch.device, dtype: torch.dtype) -> Attend:
    """The faster way to read memory without gradients."""
    # Measured on CPUs at M 2700, N 10800, Ck 64, Cv 256, bf16. With AMX: whole matrix 51 ms, fused 23. Without it
    # (AVX512-BF16, Zen 5): whole matrix 50, fused 180, chunks 62. In fp32 on a Xeon without AMX: whole 135, fused 125,
    # heads of 64 apart 316, chunks of 64 to 512 rows 82 to 104. float16 takes the fused form on CPUs, whose plain
    # half-precision products are twenty times slower.
    if is_accelerator(device) or dtype == torch.float16:
        return fused
    return fused if dtype == torch.bfloat16 and "amx_bf16" in cpu_flags() else chunked


def tried_precisions(device: torch.device) -> dict[Precision, str]:
    """For each precision, tried on the device: the form of attention, "fused" or "explicit", or why it fails."""
    found = {}
    for precision, dtype in _DTYPES.items():
        attend = attention_for(device, dtype)
        try:
            x = torch.ones(1, 8, 8, 8, device=device, dtype=dtype)
            x = torch.conv2d(x, x.new_ones(8, 8, 3, 3), padding=1)
            rows = x.flatten(2).transpose(1, 2)
            attend(rows, rows, rows, None).cpu()
            found[precision] = "fused" if attend is fused else "explicit"
        except (RuntimeError, TypeError) as error:
            found[precision] = f"fails: {str(error).splitlines()[0]}"
    return found


@cache
def cpu_flags() -> frozenset[str]:
    """The CPU's instruction sets by Linux's names, such as "amx_bf16"; empty where they are unknown."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(word for line in info.splitlines() if line.startswith("flags") for word in line.split())


def _accelerator_computes_bf16(device: torch.device) -> bool:
    """Whether the device supports bfloat16, as torch reports or by trying."""
    if hasattr(_module(device), "is_bf16_supported"):
        return bool(_module(device).is_bf16_supported())
    try:
        torch.ones(1, 1, device=device, dtype=torch.bfloat16).mm(torch.ones(1, 1, device=device, dtype=torch.bfloat16))
    except (RuntimeError, TypeError):
        return False
    return True


@cache
def bf16_gain() -> float:
    """How many times faster this CPU does one convolution in bfloat16 than in float32; takes a fraction of a second."""
    # Instruction sets do not decide it. Measured with AVX512-BF16 and no AMX, a frame of ResNet-18 in fp32 and bf16: on
    # a Zen 5 83 and 45 ms; on a Xeon whose AMX was hidden by its virtual machine 120 and 190.
    seconds = {}
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            conv = torch.nn.Conv2d(128, 128, 3, padding=1, device="cpu", dtype=dtype)
            conv = conv.to(memory_format=torch.channels_last)
            x = torch.zeros(1, 128, 48, 64, dtype=dtype).contiguous(memory_format=torch.channels_last)
            seconds[dtype] = min(seconds_of(partial(conv, x), _CPU) for _ in range(4))
    return seconds[torch.float32] / seconds[torch.bfloat16]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on the CPU or on an accelerator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("allocate memory" in text or "out of memory" in text)


def free_cached_memory(device: torch.device) -> None:
    """Frees the cached memory of an accelerator's allocator; nothing on a CPU."""
    if is_accelerator(device):
        _module(device).empty_cache()


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """Most memory used so far, in MB of 2**20 bytes: of this process, and of tensors on an accelerator."""
    peak = {"peak_rss_mb": peak_resident_mb()}
    if is_accelerator(device) and hasattr(_module(device), "max_memory_allocated"):
        peak["peak_device_mb"] = float(_module(device).max_memory_allocated(device) / 2**20)
    return peak


def peak_memory(run: Callable[[], object], device: torch.device) -> tuple[float, float] | tuple[None, None]:
    """(peak, working) of a call, in MB of 2**20 bytes: of tensors on an accelerator, else of the process.

    Working memory is what was not held before. (None, None) where the system does not report it.
    """
    module = _module(device) if is_accelerator(device) else None
    if not (hasattr(module, "reset_peak_memory_stats") if module else reset_peak()):  # Apple's counts no peak
        run()
        return None, None
    if module:
        module.reset_peak_memory_stats(device)
    before = module.memory_allocated(device) / 2**20 if module else resident_mb()
    run()
    peak = module.max_memory_allocated(device) / 2**20 if module else peak_resident_mb()
    return float(peak), max(0.0, float(peak - before))


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Duration of a call in seconds: on an accelerator by its own events, since work goes on after the call returns."""
    if not is_accelerator(device):
        begun = time.perf_counter()
        run()
        return time.perf_counter() - begun
    with _module(device).device(device) if hasattr(_module(device), "device") else nullcontext():
        begin, end = (_module(device).Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def compile_options(device: torch.device) -> dict[str, Any]:
    """Options of torch.compile. CUDA's kernels are launched as one graph (not measured: no GPU was at hand)."""
    return {"triton.cudagraphs": True} if device.type == "cuda" else {}


def begin_graphs(device: torch.device) -> None:
    """Marks the begin of a compiled frame: outputs of the last frame's CUDA graphs may be overwritten."""
    if device.type == "cuda":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


def onnx_providers(device: torch.device, available: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """ONNX Runtime's providers for a device, by preference. Raises ConfigError where it has none of them."""
    wanted = [each for each in _ONNX_PROVIDERS[device.type] if each[0] in available]
    if not wanted:
        raise ConfigError(
            f"--device is {device.type!r}, for which this onnxruntime has no provider (it has "
            f"{', '.join(available)}): install its package for that device, or give --device cpu"
        )
    if device.type == "cuda":
        return [(wanted[0][0], {"device_id": device.index or 0})]
    return wanted


def onnx_place(device: torch.device) -> tuple[str, int]:
    """Where ONNX Runtime keeps tensors between frames: device and number."""
    return ("cuda", device.index or 0) if device.type == "cuda" else ("cpu", 0)


class HostCopy:
    """A copy from the device to host memory that may still be under way."""

    def __init__(self, there: Tensor, event: Any = None) -> None:
        """`there` is complete in host memory once `event` has happened, or now where there is none."""
        self._there, self._event = there, event

    def wait(self) -> NDArray[np.uint8]:
        """The complete array."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return np.asarray(self._there.cpu().numpy(), np.uint8)


class Transfer:
    """Copies to and from one device. On a CPU nothing is copied.

    Where the device copies while it computes: through pinned memory, up on one stream and down on another, so that the
    next frame goes up while this one is computed. Nothing waits on the host until the labels are read.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams = [_module(device).Stream(device) for _ in range(2)] if has_streams(device) else None

    def to_device(self, pixels: NDArray[Any]) -> Tensor:
        """Copies an array to the device; kernels launched later wait for it, and the caller does not."""
        host = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        if self._streams is None:
            return host.to(self._device) if is_accelerator(self._device) else host
        stream, _ = self._streams
        with _module(self._device).stream(stream):
            there = host.pin_memory().to(self._device, non_blocking=True)
        current = _module(self._device).current_stream(self._device)
        current.wait_stream(stream)
        there.record_stream(current)  # its memory is not given away before the network has read it
        return there

    def to_host(self, labels: Tensor) -> HostCopy:
        """Starts the copy of uint8 `labels` to the host; it waits for kernels launched before, the caller does not."""
        if self._streams is None:
            return HostCopy(labels)
        _, stream = self._streams
        stream.wait_stream(_module(self._device).current_stream(self._device))
        with _module(self._device).stream(stream):
            there = torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
            there.copy_(labels, non_blocking=True)
            labels.record_stream(stream)  # nor that of the labels before they are copied
            event = _module(self._device).Event()
            event.record(stream)
        return HostCopy(there, event)


def _module(device: torch.device) -> Any:
    """torch's module for a kind of accelerator, such as torch.cuda."""
    return torch.get_device_module(device)
