"""FrameSegmenter, base class of segmenters: scene cuts, gaps in time, key frames and counters of one video.

LoadedNetwork, base class of networks: it makes segmenters.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.arrays import RGB
from tmaseg.errors import ConfigError
from tmaseg.inference.device import HostCopy
from tmaseg.inference.engine import CompileChoice
from tmaseg.inference.key_frames import KeyFrames
from tmaseg.inference.postprocess import best_probability
from tmaseg.inference.scene_cut import DiscontinuityDetector
from tmaseg.labels import LabelSet
from tmaseg.model.config import InputGeometry, TMANetConfig


@dataclass(eq=False, repr=False)
class Segmentation:
    """The result of one frame."""

    _labels: HostCopy
    logits: Tensor | None
    """(K, H, W) float32 on the network's device, on request."""
    reset: bool
    """Whether the memory was emptied before this frame: new size, scene cut, gap in time, a discontinuity of the
    source, too late a frame for what a moving camera saw, or because the machine ran out of memory."""
    carried: bool = False
    """Whether the frame lies between key frames: its labels are those of the frame before, moved along."""
    confidence: NDArray[np.uint8] | None = None
    """(H, W) uint8, on request: the probability of each pixel's class, in 255ths."""

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) uint8 class ids at the frame's own size. On a GPU the first access waits for them."""
        return self._labels.wait()

    def __repr__(self) -> str:
        return f"Segmentation(shape={self.labels.shape}, reset={self.reset})"


class StreamOptions(TypedDict, total=False):
    """Options of one video; `Segmenter` says what each does."""

    geometry: InputGeometry | None
    memory_frames: int | None
    smooth: bool
    detect_cuts: bool
    compile: CompileChoice
    key_frames: int | None
    may_shrink: bool


class FrameSegmenter(ABC):
    """Base class: segments the frames of one video in order."""

    device: torch.device
    precision: str
    """The arithmetic that the network runs in."""

    def __init__(
        self,
        labels: LabelSet,
        memory_frames: int,
        *,
        smooth: bool = False,
        detect_cuts: bool = True,
        self_in_memory: bool = False,
        key_frames: int | None = 1,
    ) -> None:
        """`self_in_memory`: of the network; one that finds the frame itself does without those far from it in time."""
        self.labels = labels
        self.memory_frames = memory_frames
        """T."""
        self.smooth = smooth
        """Whether class probabilities are averaged over the last T frames."""
        self.discontinuity = DiscontinuityDetector(cuts=detect_cuts, far=self_in_memory)
        """Finds cuts and gaps; its `state` is what a run that goes on needs."""
        self._key_frames = KeyFrames(key_frames)
        self.reset()

    @property
    def key_frames(self) -> int:
        """k: the network runs on every k-th frame; 1 where `step` says which."""
        return self._key_frames.every or 1

    @property
    def past_frames(self) -> int:
        """How many frames before it, of those that pass the network, a frame's labels depend on."""
        return self.memory_frames * (2 if self.smooth else 1)  # what is averaged has a memory as well

    @property
    def compiled(self) -> bool:
        """Whether torch compiled the network."""
        return False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that a user should read about how this video was processed; may grow while frames come."""
        return ()

    def expect(self, frames: int | None) -> None:  # noqa: B027  (few care)
        """How many frames will come; None: unknown."""

    def looking_ahead(self) -> AbstractContextManager[Callable[[RGB], None]]:
        """A context that gives a function to announce frames to, each right before the `step` of the one before it.

        It takes the very array that `step` will get. Results are the same; on some machines they come sooner.
        """
        return nullcontext(lambda _: None)

    def reset(self) -> None:
        """Resets all state, for another video."""
        self.network_frames = 0
        """Number of frames that passed the network: all but those between key frames."""
        self.memory_resets = 0
        """Number of frames, without the first, that started with empty memory; see `Segmentation.reset`."""
        self._size_hw: tuple[int, int] | None = None
        self._key_frames.reset()
        self.discontinuity.reset()

    @torch.inference_mode()
    def step(
        self,
        rgb: RGB,
        *,
        seconds: float | None = None,
        discontinuity: bool = False,
        continues: bool = False,
        logits: bool = False,
        confidence: bool = False,
        key_frame: bool = True,
    ) -> Segmentation:
        """The next frame of the video.

        rgb (H, W, 3) uint8, red first, upright. `seconds`: its time, by which gaps are noticed; None: unknown.
        `discontinuity`: the source reports that this frame does not continue the last; `continues`: it is known to
        continue it, and no cut or gap is looked for. `logits`, `confidence`: what the result has beside labels.
        `key_frame`: whether the network runs on this frame, where `key_frames` is None.
        Raises ConfigError when `rgb` is not such an array, or when they are requested together with key frames;
        ShortageError when memory runs out and nothing more may be given up.
        """
        _check_frame(rgb)
        if (logits or confidence) and self._key_frames.every != 1:
            raise ConfigError(
                "confidence and logits need the network on every frame: leave out --key-frames and --keep-all"
            )
        reset = self._reset_where_needed(rgb, seconds, discontinuity, continues)
        moved = self._key_frames.carry(rgb, key_frame=key_frame)
        if moved is not None:
            return Segmentation(HostCopy(torch.from_numpy(moved)), None, reset, carried=True)
        labels, values, emptied = self._segment(rgb, logits or confidence, seconds)
        if emptied and self.network_frames and not reset:
            reset = True
            self.memory_resets += 1
        best = best_probability(values) if confidence and values is not None else None
        segmentation = Segmentation(labels, values if logits else None, reset, confidence=best)
        if self._key_frames.every != 1:
            self._key_frames.keep(segmentation.labels)
        self.network_frames += 1
        return segmentation

    @abstractmethod
    def _segment(self, rgb: RGB, logits: bool, seconds: float | None) -> tuple[HostCopy, Tensor | None, bool]:
        """A frame's labels, on request its logits at its own size, and whether memory was emptied on the way."""

    @abstractmethod
    def _empty_memory(self, *, new_size: bool) -> None:
        """The next frame begins a video or a shot; `new_size`: frames are of another size than before, if any."""

    def _reset_where_needed(self, rgb: RGB, seconds: float | None, discontinuity: bool, continues: bool) -> bool:
        """Empties the memory when this frame does not continue the last; returns whether it did."""
        size_hw, last_hw = (rgb.shape[0], rgb.shape[1]), self._size_hw
        discontinuity |= self.discontinuity.found(rgb, seconds, continues=continues)
        self._size_hw = size_hw
        reset = last_hw is not None and (size_hw != last_hw or discontinuity)
        if reset or last_hw is None:
            self._empty_memory(new_size=size_hw != last_hw)
        if reset:
            self._key_frames.reset()
            self.memory_resets += 1
        return reset


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedNetwork(ABC):
    """Base class: a network on its device, which any number of videos share."""

    name: str  # name or path of the weights, as the user gave it
    config: TMANetConfig
    labels: LabelSet
    geometry: InputGeometry  # input size and sliding windows
    device: torch.device
    precision: str

    @abstractmethod
    def segmenter(self, **options: Unpack[StreamOptions]) -> FrameSegmenter:
        """For one video. The geometry in `options` replaces the weights' size, window and stride where it sets them.

        Raises ConfigError for what this network cannot do.
        """

    def batch_logits(self, rgbs: Sequence[RGB], geometry: InputGeometry) -> Tensor:  # noqa: ARG002
        """B frames (H, W, 3), each alone -> logits (B, K, h, w) of the head, float32. Raises ConfigError."""
        raise ConfigError(f"{self.name} takes frames one by one: leave out --batch")


def _check_frame(rgb: RGB) -> None:
    is_array = isinstance(rgb, np.ndarray)
    if not is_array or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        came = f"shape {rgb.shape} and type {rgb.dtype}" if is_array else f"type {type(rgb).__name__}"
        raise ConfigError(
            f"a frame of {came} came; it must be a NumPy array (H, W, 3) uint8, such as "
            "np.asarray(image.convert('RGB'))"
        )
