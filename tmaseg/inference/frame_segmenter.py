"""FrameSegmenter, base class of segmenters: scene cuts, gaps in time, key frames and counters of one video."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.arrays import RGB
from tmaseg.errors import ConfigError
from tmaseg.inference.device import HostCopy
from tmaseg.inference.key_frames import KeyFrames
from tmaseg.inference.postprocess import best_probability
from tmaseg.inference.scene_cut import SceneCutDetector, TimeGapDetector
from tmaseg.labels import LabelSet


class Segmentation:
    """The result of one frame."""

    def __init__(
        self,
        labels: HostCopy,
        logits: Tensor | None,
        reset: bool,
        *,
        carried: bool = False,
        confidence: NDArray[np.uint8] | None = None,
    ) -> None:
        self._labels = labels
        self.confidence = confidence
        """(H, W) uint8, on request: the probability of each pixel's class, in 255ths."""
        self.logits = logits
        """(K, H, W) float32 on the network's device, on request."""
        self.reset = reset
        """Whether the memory was emptied before this frame: new size, scene cut, gap in time, a discontinuity of the
        source, or because the machine ran out of memory."""
        self.carried = carried
        """Whether the frame lies between key frames: its labels are those of the frame before, moved along."""

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) uint8 class ids at the frame's own size. On a GPU the first access waits for them."""
        return self._labels.wait()

    def __repr__(self) -> str:
        return f"Segmentation(shape={self.labels.shape}, reset={self.reset})"


class FrameSegmenter(ABC):
    """Base class: segments the frames of one video in order."""

    device: torch.device

    def __init__(self, labels: LabelSet, memory_frames: int, *, detect_cuts: bool, key_frames: int | None) -> None:
        self.labels = labels
        self.memory_frames = memory_frames
        """T."""
        self._cuts = SceneCutDetector() if detect_cuts else None
        self._gaps = TimeGapDetector()
        self._key_frames = KeyFrames(key_frames)
        self.reset()

    @property
    def key_frames(self) -> int:
        """k: the network runs on every k-th frame; 1 where `step` says which."""
        return self._key_frames.every or 1

    @property
    @abstractmethod
    def precision(self) -> str:
        """The arithmetic the network runs in."""

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

    def reset(self) -> None:
        """Resets all state, for another video."""
        self.network_frames = 0
        """Number of frames that passed the network: all but those between key frames."""
        self.memory_resets = 0
        """Number of frames, without the first, that started with empty memory; see `Segmentation.reset`."""
        self._size_hw: tuple[int, int] | None = None
        self._gaps.reset()
        self._key_frames.reset()
        if self._cuts:
            self._cuts.reset()

    @property
    def detectors(self) -> dict[str, Any]:
        """State of the detectors of cuts and gaps, as JSON takes it; may be set."""
        return {"cuts": self._cuts.state if self._cuts else None, "gaps": self._gaps.state}

    @detectors.setter
    def detectors(self, state: dict[str, Any]) -> None:
        self._gaps.state = state["gaps"]
        if self._cuts:
            self._cuts.state = state["cuts"]

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

        rgb (H, W, 3) uint8, red first, upright. `seconds`: its time, by which gaps are noticed; None: no gaps.
        `discontinuity`: the source reports that this frame does not continue the last; `continues`: it is known to
        continue it, and nothing is detected. `logits`, `confidence`: what the result has beside labels. `key_frame`:
        whether the network runs on this frame, where `key_frames` is None.
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
        labels, values, emptied = self._segment(rgb, logits or confidence)
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
    def _segment(self, rgb: RGB, logits: bool) -> tuple[HostCopy, Tensor | None, bool]:
        """A frame's labels, on request its logits at its own size, and whether memory was emptied on the way."""

    @abstractmethod
    def _empty_memory(self, *, new_size: bool) -> None:
        """The next frame begins a video or a shot; `new_size`: frames are of another size than before, if any."""

    def _reset_where_needed(self, rgb: RGB, seconds: float | None, discontinuity: bool, continues: bool) -> bool:
        """Empties the memory when this frame does not continue the last; returns whether it did."""
        size_hw, last_hw = (rgb.shape[0], rgb.shape[1]), self._size_hw
        cut = not continues and self._cuts is not None and self._cuts.is_cut(rgb)
        gap = not continues and self._gaps.is_gap(seconds)
        self._size_hw = size_hw
        reset = last_hw is not None and (size_hw != last_hw or cut or gap or discontinuity)
        if reset or last_hw is None:
            self._empty_memory(new_size=size_hw != last_hw)
        if reset:
            self._key_frames.reset()
            self.memory_resets += 1
        return reset


def _check_frame(rgb: RGB) -> None:
    if not isinstance(rgb, np.ndarray):
        raise ConfigError(
            f"a frame of type {type(rgb).__name__} came; it must be a NumPy array (H, W, 3) uint8, such as "
            "np.asarray(image.convert('RGB'))"
        )
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise ConfigError(f"a frame of shape {rgb.shape} and type {rgb.dtype} came; it must be (H, W, 3) uint8")
