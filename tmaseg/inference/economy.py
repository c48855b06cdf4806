"""Economy: what a stream gives up when memory is short: first size, then past frames."""

from dataclasses import dataclass, replace

import torch

from tmaseg.errors import ConfigError, ShortageError
from tmaseg.inference.footprint import step_megabytes
from tmaseg.model.checkpoint import View
from tmaseg.model.config import TMANetConfig
from tmaseg.model.preprocess import network_size

_STEP = 0.8  # of the short side, each time: a third less memory
_LEAST_SIDE = 96
_SPARE = 1.3  # on what tensors take: convolutions have buffers of their own, allocators keep some (measured: 1.1)
_FRAMES_ABOUT = 20  # pictures of the frame's own size that are alive in a run: queues, decoder, encoder


@dataclass(frozen=True)
class Thrift:
    """That something may be given up rather than fail."""

    limit_mb: float | None = None
    """Memory not to be passed, in MB of 2**20 bytes: of the process, or of tensors on a GPU. None: what there is."""

    def __post_init__(self) -> None:
        if self.limit_mb is not None and not self.limit_mb > 0:
            raise ConfigError(f"--max-memory is {self.limit_mb:g}; it must be above 0 MB")


@dataclass(frozen=True)
class Viewing:
    """How frames are looked at, as far as it costs memory."""

    view: View
    frames: int
    """T; 0: each frame alone."""

    def short_side(self, size_hw: tuple[int, int]) -> int:
        """Of the network's input for frames of `size_hw`."""
        return min(network_size(size_hw, self.view.size))

    def input_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """How much of a frame of `size_hw` the network sees at once, in pixels of its input."""
        return self.view.window_hw(network_size(size_hw, self.view.size))

    def cheaper(self, size_hw: tuple[int, int], slots: int) -> "Viewing":
        """The next way down. Raises ShortageError at the bottom."""
        side = self.short_side(size_hw)
        if side > _LEAST_SIDE:
            return replace(self, view=replace(self.view, size=max(_LEAST_SIDE, int(side * _STEP))))
        if self.frames > 1 and slots == 1:
            return replace(self, frames=self.frames // 2)
        raise ShortageError(
            f"memory is too short even for frames seen at a short side of {side} with {self.frames} past frames: close "
            "other programs, raise --max-memory, or take smaller weights"
        )

    def megabytes(self, config: TMANetConfig, dtype: torch.dtype, size_hw: tuple[int, int]) -> float:
        """Roughly what looking at frames of `size_hw` takes beside the program and its weights."""
        pictures = _FRAMES_ABOUT * 3 * size_hw[0] * size_hw[1] / 2**20
        return _SPARE * step_megabytes(config, self.input_hw(size_hw), max(1, self.frames), dtype) + pictures

    def differs(self, other: "Viewing", size_hw: tuple[int, int]) -> str:
        """What is given up against `other`, in words."""
        words = []
        if self.short_side(size_hw) != other.short_side(size_hw):
            words.append(
                f"frames are seen at a short side of {self.short_side(size_hw)} instead of {other.short_side(size_hw)}"
            )
        if self.frames != other.frames:
            words.append(f"with {self.frames} past frames instead of {other.frames}")
        return " ".join(words)


def within(
    limit_mb: float, base_mb: float, wanted: Viewing, config: TMANetConfig, dtype: torch.dtype, size_hw: tuple[int, int]
) -> Viewing:
    """The first way down from `wanted` that a process of `base_mb` can afford below `limit_mb` of resident memory.

    Raises ShortageError when there is none.
    """
    look = wanted
    while base_mb + look.megabytes(config, dtype, size_hw) > limit_mb:
        try:
            look = look.cheaper(size_hw, config.slots)
        except ShortageError as error:
            least = base_mb + look.megabytes(config, dtype, size_hw)
            raise ShortageError(
                f"--max-memory is {limit_mb:.0f} MB, but frames of {size_hw[1]}x{size_hw[0]} need about {least:.0f} at "
                f"least, of which {base_mb:.0f} are the program and its weights: give more"
            ) from error
    return look


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on a GPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("allocate memory" in text or "out of memory" in text)
