"""Engine: a network optimized for inference: batch norm folded, encoders joined, compiled where that repays.

Notation: B batch, S memory encoders, N memory positions, P = h w positions of a frame, Ck key and Cv value channels,
K classes.
"""

import hashlib
import logging
import math
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tmaseg.errors import ConfigError
from tmaseg.inference.device import (
    HostCopy,
    Precision,
    attention_for,
    begin_graphs,
    compile_options,
    cpu_flags,
    dtype_of,
    is_accelerator,
)
from tmaseg.model.resnet import Features
from tmaseg.model.tmanet import TMANet

CompileChoice = Literal["auto", "on", "off"]

# Compiling, measured by `tmaseg bench --compile on` on two Zen 4 cores, `street` at 640x360: in fp32 119 ms a frame,
# then 106, in bf16 73, then 61. The first compilation took 45 s, later ones 19 with its artefacts kept. ResNets gain
# less: the authors' ResNet-50 708 ms, then 703 (fp32, AVX-512); but with AMX in bf16 200, then 126.
_GAIN, _GAIN_AMX = 0.08, 0.3  # fraction of a frame's time that compiling saves, cautiously
_GAIN_GPU = 0.25  # cautiously, by CUDA graphs: measured from 0.27 (ResNet-50 at 2048x1024) to 0.75 (at 480x360)
_FIRST_SECONDS, _AGAIN_SECONDS = 45.0, 19.0

# All engines of a process share this limit. Torch has 8, and beyond it runs uncompiled without an error.
_MOST_SHAPES = 64
_TIMED_FRAMES = 5  # the first left out


def fold_batch_norm(module: nn.Module) -> None:
    """Folds, in place and in every submodule, each batch normalisation that directly follows a convolution.

    The module must be in evaluation mode; it cannot be trained afterwards.
    """
    assert not module.training
    for (name, conv), (next_name, norm) in pairwise(list(module.named_children())):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(conv, norm))
            setattr(module, next_name, nn.Identity().eval())
    for _, child in module.named_children():
        fold_batch_norm(child)


class BitReLU(nn.Module):
    """ReLU or ReLU6 of bfloat16 or float16 on a CPU by integer arithmetic: the same numbers, but for NaN."""

    # From 0 on, floats are in the order of their bits as integers, and those below 0 are integers below 0. Measured on
    # one Zen 4 core in bfloat16, 1248 x 23 x 40: ReLU6 0.26 ms, so 0.04.

    def __init__(self, plain: nn.ReLU | nn.ReLU6, dtype: torch.dtype) -> None:
        super().__init__()
        self._plain = plain
        highest = 6.0 if isinstance(plain, nn.ReLU6) else math.inf
        self._highest = int(torch.tensor(highest, dtype=dtype).view(torch.int16))

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape -> the same shape; in place where the plain one is."""
        if torch.compiler.is_compiling():  # which joins the plain one to the convolution before it
            return cast(Tensor, self._plain(x))
        bits = x.view(torch.int16)
        return torch.clamp(bits, 0, self._highest, out=bits if self._plain.inplace else None).view(x.dtype)


def _use_bits(module: nn.Module, dtype: torch.dtype) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU | nn.ReLU6):
            setattr(module, name, BitReLU(child, dtype))
        _use_bits(child, dtype)


def prepare(net: TMANet, device: torch.device, precision: Precision) -> TMANet:
    """Prepares a network for inference, in place: batch norm folded, device, precision, channels last."""
    fold_batch_norm(net.eval())
    dtype = dtype_of(precision)
    net.attend = attention_for(device, dtype)
    if device.type == "cpu" and dtype != torch.float32:
        _use_bits(net, dtype)
    return net.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Engine:
    """`TMANet.encode_frame`, `encode_memory` and `decode`, optimized. It keeps no video state."""

    def __init__(self, net: TMANet) -> None:
        """`net` as `prepare` leaves it."""
        self.net = net
        self.compiled = False
        """Whether the three methods are compiled."""
        self.failure = ""
        """Why compiling failed, in a line."""
        weight = next(net.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        fast = net.for_inference()
        self._eager: dict[str, Callable[..., Any]] = {
            name: getattr(fast, name) for name in ("encode_frame", "encode_memory", "decode")
        }
        self._methods = self._eager

    def encode_frame(self, frames: Tensor) -> Features:
        """frames (B, 3, H, W), normalised, in the network's precision."""
        if self.compiled:
            begin_graphs(self.device)
        return cast(Features, self._call("encode_frame", frames))

    def encode_memory(self, stage4: Tensor) -> tuple[Tensor, Tensor]:
        """stage4 as `encode_frame` gave it -> keys (B, S, P, Ck), values (B, S, P, Cv) for every slot."""
        return cast(tuple[Tensor, Tensor], self._call("encode_memory", stage4))

    def decode(self, frame: Features, keys: Tensor | None, values: Tensor | None) -> Tensor:
        """A frame, and keys (B, N, Ck) and values (B, N, Cv) of memory -> logits (B, K, h', w') of the head."""
        return cast(Tensor, self._call("decode", frame, keys, values))

    def compile(self) -> None:
        """Compiles the methods with the weights frozen into them; the first frame of each size pays for it.

        It holds for frames in inference mode or without gradients; what is loaded into the network later has no
        effect. Should it fail, now or on the way, the methods stay as they are and `failure` says why.
        """
        if self.compiled or self.failure:  # a second try would fail again
            return
        try:
            self._methods = {name: compiled(method, self.device) for name, method in self._eager.items()}
            self.compiled = True
        except ConfigError as error:
            self.failure = str(error)

    def use_eager(self, *, free: bool = False) -> None:
        """Stops using the compiled methods.

        `free`: frees what the compiled functions of all engines hold: code, weights in other layouts, a GPU's graphs.
        """
        self._methods = self._eager
        self.compiled = False
        if free:
            torch.compiler.reset()

    def _call(self, name: str, *arguments: object) -> Any:
        try:
            return self._methods[name](*arguments)
        except Exception as error:
            if not self.compiled or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            self.failure = f"torch.compile failed ({_cause(error)})"
        self.use_eager()
        return self._eager[name](*arguments)


class CompilePolicy:
    """When a stream's network is compiled: at once, never, or once that repays for the video at hand."""

    def __init__(self, engine: Engine, choice: CompileChoice) -> None:
        self._engine = engine
        self._choice = choice
        self._seconds: list[float] = []
        self._left: int | None = None
        self._tried = False
        self._noted: tuple[tuple[int, int], int] | None = None
        self.warnings: tuple[str, ...] = ()
        """Why the network is not compiled although that was requested, or would repay."""

    def begin(self, frames: int | None) -> None:
        """A video of `frames` frames begins; None: their number is unknown."""
        self._left = frames
        self._seconds, self.warnings, self._tried = [], (), False
        if self._choice == "on":
            self._compile()
        elif self._choice == "auto":
            self._engine.use_eager()  # another size would be compiled again

    def frame_done(self, labels: HostCopy, begun: float, input_hw: tuple[int, int], memory_frames: int) -> None:
        """A frame, begun at that perf_counter, has its `labels`; it passed the network at `input_hw` pixels."""
        engine = self._engine
        if self._tried and engine.failure:
            self.warnings = (f"not compiled: {engine.failure}",)
        if engine.compiled and self._noted != (input_hw, memory_frames):
            with suppress(OSError):  # without the mark, it counts as a first compilation again
                mark = self._mark(input_hw, memory_frames)
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()
            self._noted = input_hw, memory_frames
        if not self._timing:
            return
        assert self._left is not None
        labels.wait()  # a GPU is not done when the step returns
        self._seconds.append(perf_counter() - begun)
        self._left -= 1
        if len(self._seconds) == _TIMED_FRAMES:
            again = self._mark(input_hw, memory_frames).exists()
            if repays(median(self._seconds[1:]), self._left, engine.dtype, engine.device, again=again):
                self._compile()

    def give_up(self) -> bool:
        """Memory ran out: stops using the compiled network until the next video. False if it is not compiled."""
        if not self._engine.compiled:
            return False
        self._engine.use_eager(free=True)
        self.warnings = ("memory is short: it goes on without compiling",)
        return True

    @property
    def _timing(self) -> bool:
        """Whether the time of a frame still decides about compiling."""
        decided = len(self._seconds) >= _TIMED_FRAMES or self._left is None
        return self._choice == "auto" and not (decided or self._engine.compiled or self._engine.failure)

    def _compile(self) -> None:
        self._tried = True
        self._engine.compile()

    def _mark(self, input_hw: tuple[int, int], memory_frames: int) -> Path:
        """A file that exists once such a network has been compiled here: `auto` estimates the cost from it."""
        engine = self._engine
        depends_on = (engine.net.config.to_dict(), input_hw, memory_frames, str(engine.dtype), engine.device.type)
        digest = hashlib.sha256(repr((torch.__version__, *depends_on)).encode()).hexdigest()
        return cache_folder() / f"{digest[:24]}.made"


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function, compiled at its first call for each shape, with the parameters that it reads frozen into it.

    It must be called without gradients: with them nothing is frozen. Where compiling fails, also for one shape too
    many, a call raises an error of torch's compiler. Raises ConfigError when there is no C++ compiler.
    """
    if not can_compile():
        raise ConfigError("torch.compile needs a C++ compiler and there is none: install g++, or give --compile off")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns of CUDA kits without a GPU
    fast = torch.compile(function, dynamic=False, options=compile_options(device))
    # Slow to import, and not needed before.
    from torch._dynamo import config as tracing
    from torch._inductor import config as building

    @wraps(function)
    def call(*arguments: object) -> object:
        # As an option of torch.compile, freezing would come too late: parameters would already be inputs of the graph.
        # The other names are torch 2.6's; later ones still take them. All this takes 0.1 ms.
        limits = {"cache_size_limit": _MOST_SHAPES, "fail_on_cache_limit_hit": True}
        with building.patch(freezing=True), tracing.patch(limits):
            return fast(*arguments)

    return call


def _cause(error: BaseException) -> str:
    """The cause of an error of torch's compiler, in a line."""
    if type(error).__name__ in ("FailOnRecompileLimitHit", "FailOnCacheLimitHit"):
        return "frames came in too many different sizes"
    while isinstance(inner := getattr(error, "inner_exception", None), BaseException):
        error = inner
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0]}" if lines else name


def can_compile() -> bool:
    """Whether there is a C++ compiler, which torch.compile needs for CPUs."""
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else ["g++", "clang++", "c++"]))


def repays(frame_seconds: float, frames: int, dtype: torch.dtype, device: torch.device, *, again: bool) -> bool:
    """Whether compiling saves time for `frames` more frames that take `frame_seconds` each uncompiled.

    `again`: it has been compiled here before.
    """
    gain = _GAIN_AMX if dtype == torch.bfloat16 and "amx_bf16" in cpu_flags() else _GAIN
    if is_accelerator(device):
        gain = _GAIN_GPU
    return frames * frame_seconds * gain > (_AGAIN_SECONDS if again else _FIRST_SECONDS)


def cache_folder() -> Path:
    """Folder of compiled artefacts: $XDG_CACHE_HOME/tmaseg/compiled, by default in the user's .cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tmaseg" / "compiled"
