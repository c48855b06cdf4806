"""Compiling: the passes over a frame through torch.compile, whether that repays its time, and artefacts kept for later.

Measured by `scripts/bench --compile on` on two AVX-512 cores without AMX, at 480x360 in fp32: `street` 116 -> 113 ms a
frame, the authors' ResNet-50 708 -> 703. The first compilation of `street` took 14 s, later ones 5 s with its artefacts
kept. With AMX in bf16 the ResNet-50 gained far more: 200 -> 126 ms.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch

from tmaseg.errors import ConfigError
from tmaseg.inference.device import compile_options, cpu_flags, is_accelerator

CompileChoice = Literal["auto", "on", "off"]
F = TypeVar("F", bound=Callable[..., Any])

_GAIN, _GAIN_AMX = 0.03, 0.3  # fraction of a frame's time that compiling saves, cautiously
_GAIN_GPU = 0.2  # not measured: no GPU was at hand
_FIRST_SECONDS, _AGAIN_SECONDS = 30.0, 9.0

# All engines of a process share this limit. Torch has 8, and goes on uncompiled silently when they are spent.
_MOST_SHAPES = 64


def compiled(function: F, device: torch.device) -> F:
    """The function, compiled at its first call for each shape, with the parameters that it reads frozen into it.

    It must be called without gradients: with them nothing is frozen. Where compiling fails, for one shape too many,
    too, a call raises an error of torch's compiler: see `is_compilers`. Raises ConfigError when this machine has no
    compiler that torch.compile could use.
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

    return cast(F, call)


def is_compilers(error: BaseException) -> bool:
    """Whether an error is one of torch's compiler, not of the function that was compiled."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def cause(error: BaseException) -> str:
    """What an error of torch's compiler is about, in a line."""
    if type(error).__name__ in ("FailOnRecompileLimitHit", "FailOnCacheLimitHit"):
        return "frames came in too many different sizes"
    while isinstance(inner := getattr(error, "inner_exception", None), BaseException):
        error = inner
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0]}" if lines else name


def free_compiled() -> None:
    """Frees what all compiled functions of this process hold: code, weights in other layouts, a GPU's graphs.

    At their next call they are compiled anew.
    """
    torch.compiler.reset()


def can_compile() -> bool:
    """Whether there is a C++ compiler, which torch.compile needs for CPUs."""
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else ["g++", "clang++", "c++"]))


def repays(frame_seconds: float, frames: int, dtype: torch.dtype, device: torch.device, *, again: bool) -> bool:
    """Whether compiling is sooner done with `frames` more frames that take `frame_seconds` each as they are.

    `again`: it has been compiled here before.
    """
    gain = _GAIN_AMX if dtype == torch.bfloat16 and "amx_bf16" in cpu_flags() else _GAIN
    if is_accelerator(device):
        gain = _GAIN_GPU
    return frames * frame_seconds * gain > (_AGAIN_SECONDS if again else _FIRST_SECONDS)


def cache_folder() -> Path:
    """Where artefacts are kept: $XDG_CACHE_HOME/tmaseg/compiled, by default in the user's .cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tmaseg" / "compiled"


class CompiledBefore:
    """Notes in the cache folder what has been compiled here, so that `auto` knows what it costs."""

    def __init__(self, *what: object) -> None:
        """`what`: everything that the artefacts depend on, such as the network and the size."""
        text = repr((torch.__version__, *what))
        self._mark = cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.made"

    def __bool__(self) -> bool:
        return self._mark.exists()

    def note(self) -> None:
        """From now on it is true; where nothing can be written it stays false."""
        try:
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            self._mark.touch()
        except OSError:
            return
