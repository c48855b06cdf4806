"""Segmenter: one video's state. Each frame passes the backbone once and reads the memory of the frames before it."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.arrays import RGB
from tmaseg.errors import ConfigError, ShortageError
from tmaseg.inference.device import HostCopy, Precision, Transfer, free_cached_memory, is_out_of_memory, precision_of
from tmaseg.inference.engine import CompileChoice, CompilePolicy, Engine
from tmaseg.inference.key_frames import KeyFrames
from tmaseg.inference.loading import load_network
from tmaseg.inference.postprocess import classify
from tmaseg.inference.scene_cut import SceneCutDetector, TimeGapDetector
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.labels import LabelSet
from tmaseg.model.config import InputGeometry
from tmaseg.model.preprocess import Preprocess
from tmaseg.model.tmanet import TMANet

_SMALLER = 0.75  # of the short side, each time that memory runs out: little more than half of the pixels
_LEAST_SIDE = 128


class Segmentation:
    """The result of one frame."""

    def __init__(self, labels: HostCopy, logits: Tensor | None, reset: bool, *, carried: bool = False) -> None:
        self._labels = labels
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


class Segmenter:
    """Streams one video through a network. Make one for each video; any number may share an `Engine`."""

    def __init__(
        self,
        network: TMANet | Engine,
        labels: LabelSet,
        *,
        geometry: InputGeometry | None = None,
        memory_frames: int | None = None,
        detect_cuts: bool = True,
        compile: CompileChoice = "off",  # noqa: A002  (as the option)
        key_frames: int = 1,
        may_shrink: bool = True,
    ) -> None:
        """`network` decides device and dtype and must be in evaluation mode; give an `Engine` to share it.

        `memory_frames` is T; None: as trained. 0: each frame alone, reading only its own key and value, as a
        first frame does. `detect_cuts` empties the memory at scene cuts. `compile`: "auto" compiles where the number
        of frames that `expect` was given repays it. `key_frames` k: the network sees every k-th frame, and every frame
        that follows a cut or a gap; memory holds those, and labels between follow the motion. `may_shrink`: where the
        machine runs out of memory and giving up compiling does not help, frames are fed to the network smaller; else
        `step` raises ShortageError. Raises ConfigError for values that do not go together.
        """
        self.engine = network if isinstance(network, Engine) else Engine(network)
        self.net = self.engine.net
        if len(labels) != self.net.config.classes:
            raise ConfigError(
                f"the network has {self.net.config.classes} outputs but {labels.name!r} has {len(labels)} classes"
            )
        self.labels = labels
        self.memory_frames = self.net.config.checked_memory_frames(memory_frames)
        """T."""
        self.device = self.engine.device
        self._wanted = geometry or InputGeometry()
        self._wanted.check()
        self._may_shrink = may_shrink
        self._compilation = CompilePolicy(self.engine, compile)
        self._preprocess = Preprocess(self.net.config).to(self.device)
        self._transfer = Transfer(self.device)
        self._cuts = SceneCutDetector() if detect_cuts else None
        self._gaps = TimeGapDetector()
        self._key_frames = KeyFrames(key_frames)
        self.reset()

    @property
    def precision(self) -> Precision:
        """The arithmetic the network runs in."""
        return precision_of(self.engine.dtype)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that a user should read about how this video was processed; may grow while frames come."""
        found = self._compilation.warnings
        if self._size_hw is None:
            return found
        now, before = (min(each.input_hw(self._size_hw)) for each in (self._geometry, self._wanted))
        if self._wanted.is_bounded(self._size_hw):
            found += (
                "frames whose sides differ more than 8 to 1 are fed to the network at a short side of "
                f"{before} instead of {self._wanted.size}",
            )
        if now != before:
            found += (f"memory is short: frames are fed to the network at a short side of {now} instead of {before}",)
        return found

    @property
    def key_frames(self) -> int:
        """k: the network sees every k-th frame."""
        return self._key_frames.every

    def reset(self) -> None:
        """Makes it as new, ready for another video."""
        self._compilation.begin(None)
        self.network_frames = 0
        """How many frames went through the network; all, but for those between key frames."""
        self.memory_resets = 0
        """How many frames, the first one aside, found the memory emptied; see `Segmentation.reset`."""
        self._size_hw: tuple[int, int] | None = None
        self._use(self._wanted)
        self._gaps.reset()
        self._key_frames.reset()
        if self._cuts:
            self._cuts.reset()

    def expect(self, frames: int | None) -> None:
        """How many frames will come; None: unknown. It decides whether compiling repays."""
        self._compilation.begin(None if frames is None else -(-frames // self.key_frames))

    @torch.inference_mode()
    def step(
        self, rgb: RGB, *, seconds: float | None = None, discontinuity: bool = False, logits: bool = False
    ) -> Segmentation:
        """The next frame of the video.

        rgb (H, W, 3) uint8, red first, upright. `seconds`: its time, by which gaps are noticed; None: no gaps.
        `discontinuity`: the source knows that this frame does not continue the last.
        Raises ConfigError when `rgb` is not such an array, or when logits are requested together with key frames;
        ShortageError when memory runs out and nothing more may be given up.
        """
        _check_frame(rgb)
        if logits and self.key_frames > 1:
            raise ConfigError("logits were asked for, but between key frames there are only labels: leave one out")
        reset = self._start_again_where_needed(rgb, seconds, discontinuity)
        moved = self._key_frames.carry(rgb)
        if moved is not None:
            return Segmentation(HostCopy(torch.from_numpy(moved)), None, reset, carried=True)
        begun, geometry = perf_counter(), self._geometry
        segmented = self._segment(rgb, logits)
        if (
            self._geometry != geometry and self.network_frames and not reset
        ):  # smaller frames start with an empty memory
            reset = True
            self.memory_resets += 1
        input_hw = self._geometry.window_hw((rgb.shape[0], rgb.shape[1]))
        self._compilation.stepped(segmented[0], begun, input_hw, self.memory_frames)
        segmentation = Segmentation(*segmented, reset)
        if self.key_frames > 1:
            self._key_frames.keep(segmentation.labels)
        self.network_frames += 1
        return segmentation

    def _segment(self, rgb: RGB, logits: bool) -> tuple[HostCopy, Tensor | None]:
        """A frame's labels, and its logits at its own size on request; where memory runs out, in a cheaper way."""
        while True:
            try:
                return self._forward(rgb, logits)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._give_up_something(error)
            free_cached_memory(self.device)  # now that the error's traceback, which holds tensors, is gone

    def _forward(self, rgb: RGB, logits: bool) -> tuple[HostCopy, Tensor | None]:
        size_hw = (rgb.shape[0], rgb.shape[1])
        pixels = self._transfer.to_device(rgb)[None]  # (1, H, W, 3)
        x = self._preprocess(pixels, self._geometry.input_hw(size_hw)).to(self.engine.dtype)  # (1, 3, h, w)
        out = self._window.step(x).float()  # (1, K, h', w')
        labels = classify(out[0], size_hw, align_corners=self.net.config.align_corners)
        return self._transfer.to_host(labels), self.net.resize(out, size_hw)[0] if logits else None

    def _give_up_something(self, error: BaseException) -> None:
        """Memory ran out: gives up compiling, or else a quarter of the short side, until the next video."""
        if self._compilation.give_up():
            return
        assert self._size_hw is not None
        side = min(self._geometry.input_hw(self._size_hw))
        smaller = int(_SMALLER * side)
        if not self._may_shrink or smaller < _LEAST_SIDE:
            height, width = self._size_hw
            raise ShortageError(
                f"memory ran out at a frame of {width}x{height}, fed to the network at a short side of {side}: "
                "lower --size or --memory, or close other programs"
            ) from error
        self._use(replace(self._geometry, size=smaller))

    def _use(self, geometry: InputGeometry) -> None:
        """Feeds frames to the network like this from now on, with an empty memory."""
        self._geometry = geometry
        self._window = SlidingWindow(self.engine, geometry, self.memory_frames)

    def _start_again_where_needed(self, rgb: RGB, seconds: float | None, discontinuity: bool) -> bool:
        """Empties the memory when this frame does not continue the last; says whether it did."""
        size_hw, last_hw = (rgb.shape[0], rgb.shape[1]), self._size_hw
        cut = self._cuts is not None and self._cuts.is_cut(rgb)
        gap = self._gaps.is_gap(seconds)
        self._size_hw = size_hw
        if size_hw != last_hw:
            self._use(self._wanted)
        reset = last_hw is not None and (size_hw != last_hw or cut or gap or discontinuity)
        if reset:
            self._window.reset()
            self._key_frames.reset()
            self.memory_resets += 1
        return reset


def load(
    weights: str | Path = "street",
    *,
    device: str = "auto",
    precision: str = "auto",
    geometry: InputGeometry | None = None,
    memory_frames: int | None = None,
    detect_cuts: bool = True,
    compile: CompileChoice = "off",  # noqa: A002  (as the option)
    key_frames: int = 1,
) -> Segmenter:
    """A Segmenter for shipped weights by name, or for a checkpoint file.

    `device`: auto, cpu, or an accelerator such as cuda or cuda:N. `precision`: auto, fp32, bf16 or fp16. `geometry`
    replaces the checkpoint's size, window and stride where it sets them. The rest as in `Segmenter`. Raises
    CheckpointError and ConfigError.
    """
    network = load_network(weights, device=device, precision=precision, geometry=geometry)
    return Segmenter(
        network.engine,
        network.labels,
        geometry=network.geometry,
        memory_frames=memory_frames,
        detect_cuts=detect_cuts,
        compile=compile,
        key_frames=key_frames,
    )


def _check_frame(rgb: RGB) -> None:
    if not isinstance(rgb, np.ndarray):
        raise ConfigError(
            f"a frame of type {type(rgb).__name__} came; it must be a NumPy array (H, W, 3) uint8, such as "
            "np.asarray(image.convert('RGB'))"
        )
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise ConfigError(f"a frame of shape {rgb.shape} and type {rgb.dtype} came; it must be (H, W, 3) uint8")
