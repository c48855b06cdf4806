"""Segmenter: one video's state. Each frame goes through the backbone once and reads the memory of those before it."""

import time
from collections import deque
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.errors import ConfigError, ShortageError
from tmaseg.files import resident_mb
from tmaseg.inference.compile_policy import Compiling
from tmaseg.inference.compiler import CompileChoice
from tmaseg.inference.device import Arrival, Precision, Transfer, choose_device, choose_precision
from tmaseg.inference.economy import Thrift, Viewing, is_shortage, within
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.key_frames import KeyFrames
from tmaseg.inference.postprocess import classify
from tmaseg.inference.scene_cut import SceneCutDetector
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.labels import LabelSet
from tmaseg.model.checkpoint import View, load_checkpoint
from tmaseg.model.preprocess import Preprocess, network_size
from tmaseg.model.tmanet import TMANet

_GAP_INTERVALS = 8  # a frame this many usual intervals late is another moment ...
_GAP_SECONDS = 0.5  # ... if it is this late at least: variable-rate video holds still frames for long
_INTERVALS = 16


class Segmentation:
    """What one frame became."""

    def __init__(self, labels: Arrival, logits: Tensor | None, reset: bool, *, carried: bool = False) -> None:
        self._labels = labels
        self.logits = logits
        """(K, H, W) float32 on the network's device, if asked for."""
        self.reset = reset
        """Whether the memory was emptied before this frame: new size, scene cut, gap in time, told so, or a shortage of
        the machine's memory."""
        self.carried = carried
        """Whether the network did not see this frame: its labels are those of the frame before, moved along."""

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) uint8 class ids at the frame's own size. On a GPU the first look waits for them to be computed."""
        return self._labels.wait()

    def __repr__(self) -> str:
        return f"Segmentation(shape={self.labels.shape}, reset={self.reset})"


class Segmenter:
    """Streams one video through a network. Make one for each video; any number may share a network."""

    def __init__(
        self,
        net: TMANet | Engine,
        labels: LabelSet,
        *,
        view: View | None = None,
        memory_frames: int | None = None,
        detect_cuts: bool = True,
        compiling: CompileChoice = "off",
        thrift: Thrift | None = None,
        key_frames: int = 1,
    ) -> None:
        """`net` decides device and dtype and must be in evaluation mode; give an `Engine` to share its preparation.

        `memory_frames` is T; None: as trained. 0: each frame alone, reading only its own key and value, as a
        first frame does. `detect_cuts` empties the memory at scene cuts. `compiling`: "auto" compiles where `expect` is
        told of a video long enough to repay it. `thrift`: what to do when memory is short and giving up compiling does
        not help; None: raise ShortageError. `key_frames` k: the network sees every k-th frame, and every frame that
        follows a cut or a gap; memory holds those, and labels between follow the motion. Raises ConfigError for values
        that do not go together.
        """
        self.engine = net if isinstance(net, Engine) else Engine(net)
        self.net = self.engine.net
        if len(labels) != self.net.config.classes:
            raise ConfigError(
                f"the network has {self.net.config.classes} outputs but {labels.name!r} has {len(labels)} classes"
            )
        self.labels = labels
        frames = _check_memory_frames(self.net, memory_frames)
        self._wanted = self._viewing = Viewing(_check_view(view or View()), frames)
        self._thrift = thrift
        self._compiling = Compiling(self.engine, compiling)
        self.device, self._dtype = self.engine.device, self.engine.dtype
        self._preprocess = Preprocess(self.net.config).to(self.device)
        self._transfer = Transfer(self.device)
        self._cuts = SceneCutDetector() if detect_cuts else None
        self._key_frames = KeyFrames(key_frames)
        self.reset()

    @property
    def precision(self) -> Precision:
        """The arithmetic the network runs in."""
        names: dict[torch.dtype, Precision] = {torch.bfloat16: "bf16", torch.float16: "fp16"}
        return names.get(self._dtype, "fp32")

    @property
    def memory_frames(self) -> int:
        """T, which is fewer than asked for while memory is short."""
        return self._viewing.frames

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a user should read about how this video was looked at; may grow while frames come."""
        if self._viewing == self._wanted or self._size_hw is None:
            return self._compiling.warnings
        given_up = self._viewing.differs(self._wanted, self._size_hw)
        return (*self._compiling.warnings, f"memory is short: {given_up}")

    @property
    def key_frames(self) -> int:
        """k: the network sees every k-th frame."""
        return self._key_frames.every

    def reset(self) -> None:
        """Forgets the video: as new."""
        self._viewing = self._wanted
        self._compiling.begin(None)
        self.network_frames = 0
        """How many frames the network has seen; all, but for those between key frames."""
        self.memory_resets = 0
        """How often a new size, a scene cut, a gap in time or a shortage emptied the memory."""
        self._size_hw: tuple[int, int] | None = None
        self._windows = self._new_windows()
        self._seconds: float | None = None
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self._key_frames.reset()
        if self._cuts:
            self._cuts.reset()

    def expect(self, frames: int | None) -> None:
        """So many frames will come; None: nobody knows. It decides whether compiling repays."""
        self._compiling.begin(None if frames is None else -(-frames // self.key_frames))

    @torch.inference_mode()
    def step(
        self, rgb: NDArray[np.uint8], *, seconds: float | None = None, fresh: bool = False, logits: bool = False
    ) -> Segmentation:
        """The next frame of the video.

        rgb (H, W, 3) uint8, red first, upright. `seconds`: its time, by which gaps are noticed; None: no gaps. `fresh`:
        the source knows that it does not go on from the last.
        Raises ConfigError when the array is none of that, or when logits are asked for though there are key frames.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ConfigError(f"a frame of shape {rgb.shape} and type {rgb.dtype} came; it must be (H, W, 3) uint8")
        if logits and self.key_frames > 1:
            raise ConfigError("logits were asked for, but between key frames there are only labels: leave one out")
        reset = self._forget_if_new(rgb, seconds, fresh)
        carried = self._key_frames.carry(rgb)
        if carried is not None:
            return Segmentation(Arrival(torch.from_numpy(carried)), None, reset, carried=True)
        begun = time.perf_counter()
        while True:
            try:
                seen = self._see(rgb, whole=logits)
            except (RuntimeError, MemoryError) as error:
                if not is_shortage(error):
                    raise
                if self._give_up_something(error) and self.network_frames and not reset:
                    reset = True
                    self.memory_resets += 1
                continue
            if self._compiling.watching:
                seen[0].wait()  # a GPU is not done when the step returns
            input_hw = self._viewing.input_hw(self._size_of(rgb))
            self._compiling.stepped(input_hw, self.memory_frames, time.perf_counter() - begun)
            segmentation = Segmentation(*seen, reset)
            if self.key_frames > 1:
                self._key_frames.keep(segmentation.labels)
            self.network_frames += 1
            return segmentation

    def _see(self, rgb: NDArray[np.uint8], *, whole: bool) -> tuple[Arrival, Tensor | None]:
        """A frame's labels, and its logits resized to its size if these are wanted as well."""
        size_hw = self._size_of(rgb)
        pixels = self._transfer.up(rgb)[None]  # (1, H, W, 3)
        x = self._preprocess(pixels, network_size(size_hw, self._viewing.view.size)).to(self._dtype)  # (1, 3, h, w)
        logits = self._windows.look(x).float()
        labels = classify(logits[0], size_hw, align_corners=self.net.config.align_corners)
        return self._transfer.down(labels), self.net.resize(logits, size_hw)[0] if whole else None

    def _give_up_something(self, error: BaseException) -> bool:
        """Memory ran out: give up compiling, or else look at frames in a cheaper way from now on.

        Says whether that emptied the network's memory. Raises ShortageError where nothing more may be given up.
        """
        assert self._size_hw is not None
        height, width = self._size_hw
        if self._compiling.give_up():
            emptied = self._windows.mend()
        elif self._thrift is None:
            raise ShortageError(
                f"memory ran out at a frame of {width}x{height}: lower --size or --memory, or close other programs"
            ) from error
        else:
            self._economise(self._viewing.cheaper(self._size_hw, self.net.config.slots))
            emptied = True
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return emptied

    def _economise(self, viewing: Viewing) -> None:
        self._viewing = viewing
        self._windows = self._new_windows()

    @staticmethod
    def _size_of(rgb: NDArray[np.uint8]) -> tuple[int, int]:
        return rgb.shape[0], rgb.shape[1]

    def _new_windows(self) -> SlidingWindow:
        return SlidingWindow(self.engine, self._viewing.view, self._viewing.frames)

    def _forget_if_new(self, rgb: NDArray[np.uint8], seconds: float | None, fresh: bool) -> bool:
        """Empties the memory when this frame does not go on from the last; says whether it did."""
        size_hw = self._size_of(rgb)
        cut = self._cuts is not None and self._cuts.is_cut(rgb)
        resized = self._size_hw is not None and size_hw != self._size_hw
        gap = self._is_gap(seconds) or (fresh and self._size_hw is not None)
        if size_hw != self._size_hw:
            self._economise(self._affordable(size_hw))
        elif cut or gap:
            self._windows.forget()
        self._size_hw = size_hw
        reset = resized or cut or gap
        if reset:
            self._key_frames.reset()
        self.memory_resets += reset
        return reset

    def _affordable(self, size_hw: tuple[int, int]) -> Viewing:
        limit = self._thrift.limit_mb if self._thrift else None
        if limit is None or self.device.type == "cuda":  # there the allocator keeps the limit
            return self._wanted
        return within(limit, self._base_mb, self._wanted, self.net.config, self._dtype, size_hw)

    @cached_property
    def _base_mb(self) -> float:
        """The program and its weights. Read once: later, what allocators keep of former frames would count twice."""
        return resident_mb()

    def _is_gap(self, seconds: float | None) -> bool:
        last, self._seconds = self._seconds, seconds
        if seconds is None or last is None:
            return False
        interval = seconds - last
        if interval < 0:
            return True
        usual = median(self._intervals) if self._intervals else interval
        self._intervals.append(interval)
        return interval > max(_GAP_SECONDS, _GAP_INTERVALS * usual)


def load(
    weights: str | Path = "street",
    *,
    device: str = "auto",
    precision: str = "auto",
    view: View | None = None,
    memory_frames: int | None = None,
    detect_cuts: bool = True,
    compiling: CompileChoice = "off",
    thrift: Thrift | None = None,
    key_frames: int = 1,
) -> Segmenter:
    """A Segmenter for shipped weights by name, or for a checkpoint file.

    `device`: auto, cpu, cuda or cuda:N. `precision`: auto, fp32, bf16 or fp16. `view` replaces the checkpoint's size,
    window and stride where it sets them. The rest as in `Segmenter`. Raises CheckpointError and ConfigError.
    """
    checkpoint = load_checkpoint(weights)
    place = choose_device(device)
    net = prepare(checkpoint.build(), place, choose_precision(precision, place))
    wanted = {name: value for name, value in vars(view or View()).items() if value is not None}
    merged = {**vars(checkpoint.view), **wanted}
    if thrift and thrift.limit_mb and place.type == "cuda":
        whole = torch.cuda.get_device_properties(place).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, thrift.limit_mb * 2**20 / whole), place)
    return Segmenter(
        net,
        checkpoint.labels,
        view=View(**merged),
        memory_frames=memory_frames,
        detect_cuts=detect_cuts,
        compiling=compiling,
        thrift=thrift,
        key_frames=key_frames,
    )


def _check_memory_frames(net: TMANet, frames: int | None) -> int:
    trained = net.config.memory_frames
    if frames is None:
        return trained
    if frames < 0:
        raise ConfigError(f"--memory is {frames}; it must be 0 (each frame alone) or a number of past frames")
    if frames and not trained:
        raise ConfigError(f"--memory is {frames} but these weights have no memory: leave it out or give 0")
    if frames not in (0, trained) and net.config.slots > 1:
        raise ConfigError(
            f"--memory is {frames} but these weights have an encoder for each of {trained} slots: give {trained} or 0"
        )
    return frames


def _check_view(view: View) -> View:
    if view.stride is not None and view.window is None:
        raise ConfigError("--stride came without --window: say how large the windows are")
    if view.window is not None:
        if view.window < 32:
            raise ConfigError(f"--window is {view.window}; the network needs windows of at least 32 pixels")
        if not 0 < (view.stride or view.window) <= view.window:
            raise ConfigError(f"--stride is {view.stride}; with windows of {view.window} it must be 1 to {view.window}")
    return view
