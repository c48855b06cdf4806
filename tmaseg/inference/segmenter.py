"""Segmenter: one video's state. Each frame passes the backbone once and reads the memory of the frames before it.

load_network, open_network, load: from weights to networks and segmenters.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from tmaseg.arrays import RGB
from tmaseg.errors import ConfigError, ShortageError
from tmaseg.inference.device import (
    HostCopy,
    Transfer,
    choose_device,
    choose_precision,
    free_cached_memory,
    is_out_of_memory,
    precision_of,
)
from tmaseg.inference.engine import CompileChoice, CompilePolicy, Engine, prepare
from tmaseg.inference.frame_segmenter import FrameSegmenter, LoadedNetwork, StreamOptions
from tmaseg.inference.look_ahead import LookAhead
from tmaseg.inference.postprocess import classify
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.inference.smoothing import TemporalSmoothing
from tmaseg.labels import LabelSet
from tmaseg.model.checkpoint import Checkpoint, load_checkpoint, read_weights_info
from tmaseg.model.config import InputGeometry
from tmaseg.model.preprocess import Preprocess
from tmaseg.model.resnet import Features
from tmaseg.model.tmanet import TMANet

_SMALLER = 0.75  # of the short side, each time that memory runs out: little more than half of the pixels
_LEAST_SIDE = 128


class Segmenter(FrameSegmenter):
    """Streams one video through a network. Make one for each video; any number may share an `Engine`."""

    def __init__(
        self,
        network: TMANet | Engine,
        labels: LabelSet,
        *,
        geometry: InputGeometry | None = None,
        memory_frames: int | None = None,
        smooth: bool = False,
        detect_cuts: bool = True,
        compile: CompileChoice = "off",  # noqa: A002  (as the option)
        key_frames: int | None = 1,
        may_shrink: bool = True,
    ) -> None:
        """`network` decides device and dtype and must be in evaluation mode; give an `Engine` to share it.

        `memory_frames` is T; None: as trained. 0: each frame alone, reading only its own key and value, as a
        first frame does. `smooth` averages class probabilities over the last T frames (`TemporalSmoothing`); without
        memory or in windows it has no effect. `detect_cuts` empties the memory at scene cuts. `compile`: "auto"
        compiles where the number of frames that `expect` was given repays it. `key_frames` k: the network runs on every
        k-th frame, and after a cut or a gap; memory holds those, and labels between follow the motion; None: `step`
        says which. `may_shrink`: where the machine runs out of memory and giving up compiling does not help, frames are
        fed to the network smaller; else `step` raises ShortageError. Raises ConfigError for values that do not go
        together.
        """
        self.engine = network if isinstance(network, Engine) else Engine(network)
        self.net = self.engine.net
        if len(labels) != self.net.config.classes:
            raise ConfigError(
                f"the network has {self.net.config.classes} outputs but {labels.name!r} has {len(labels)} classes"
            )
        self.device, self.precision = self.engine.device, precision_of(self.engine.dtype)
        self._wanted = self._geometry = geometry or InputGeometry()
        self._wanted.check()
        self._may_shrink = may_shrink
        self._compilation = CompilePolicy(self.engine, compile)
        self._preprocess = Preprocess(self.net.config).to(self.device)
        self._transfer = Transfer(self.device)
        frames = self.net.config.checked_memory_frames(memory_frames)
        smooth = smooth and frames > 0 and not self._wanted.window
        self._smoothing = TemporalSmoothing(frames, self._transfer) if smooth else None
        self._ahead: LookAhead[tuple[Tensor, Features]] | None = None
        super().__init__(
            labels,
            frames,
            smooth=smooth,
            detect_cuts=detect_cuts,
            self_in_memory=self.net.config.self_in_memory,
            key_frames=key_frames,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user about the processing of this video; more may be added with later frames."""
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

    def reset(self) -> None:
        """Resets all state, for another video."""
        self._compilation.begin(None)
        super().reset()
        self._use(self._wanted)

    def expect(self, frames: int | None) -> None:
        """Sets the number of frames to come (None: unknown), by which `compile="auto"` decides."""
        if self._ahead:
            frames = None  # it gains more than compiling
        self._compilation.begin(None if frames is None else -(-frames // self.key_frames))

    @contextmanager
    def looking_ahead(self) -> Iterator[Callable[[RGB], None]]:
        """As the base class's: the backbone of an announced frame runs while the one before it is decoded."""
        every = self.device.type == "cpu" and self.key_frames == self._key_frames.every == 1 and not self._wanted.window
        if not every or self.engine.compiled or not LookAhead.pays():
            yield lambda _: None
            return
        with LookAhead(self._encode) as self._ahead:
            try:
                yield self._ahead.begin
            finally:
                self._ahead = None

    @property
    def compiled(self) -> bool:
        """Whether the network is compiled."""
        return self.engine.compiled

    def _segment(self, rgb: RGB, logits: bool, seconds: float | None) -> tuple[HostCopy, Tensor | None, bool]:
        begun, shrunk = perf_counter(), False
        while True:
            try:
                labels, values = self._forward(rgb, logits, seconds)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                shrunk |= self._use_less_memory(error)
            free_cached_memory(self.device)  # now that the error's traceback, which holds tensors, is gone
        input_hw = self._geometry.window_hw((rgb.shape[0], rgb.shape[1]))
        self._compilation.frame_done(labels, begun, input_hw, self.memory_frames)
        return labels, values, shrunk

    def _empty_memory(self, *, new_size: bool) -> None:
        if new_size:
            self._use(self._wanted)
        else:
            self._window.reset()
            if self._smoothing:
                self._smoothing.reset()

    def _forward(self, rgb: RGB, logits: bool, seconds: float | None) -> tuple[HostCopy, Tensor | None]:
        """A frame's labels, and its logits at its own size on request."""
        size_hw = (rgb.shape[0], rgb.shape[1])
        encoded = self._ahead.take(rgb) if self._ahead else None
        x, features = encoded or (self._input(rgb), None)
        out = self._window.step(x, features).float()  # (1, K, h', w')
        smooth = self._smoothing.step(rgb, out, seconds) if self._smoothing else None
        labels = classify((out if smooth is None else smooth)[0], size_hw, align_corners=self.net.config.align_corners)
        values = None
        if logits:
            values = self.net.resize(out, size_hw) if smooth is None else self.net.resize(smooth, size_hw).log()
        return self._transfer.to_host(labels), None if values is None else values[0]

    def _input(self, rgb: RGB) -> Tensor:
        """(H, W, 3) uint8 -> what the network takes, (1, 3, h, w)."""
        pixels = self._transfer.to_device(rgb)[None]  # (1, H, W, 3)
        x: Tensor = self._preprocess(pixels, self._geometry.input_hw((rgb.shape[0], rgb.shape[1])))
        return x.to(self.engine.dtype)

    @torch.inference_mode()
    def _encode(self, rgb: RGB) -> tuple[Tensor, Features]:
        x = self._input(rgb)
        return x, self.engine.encode_frame(x)

    def _use_less_memory(self, error: BaseException) -> bool:
        """Memory ran out: gives up compiling, or else a quarter of the short side, until the next video.

        Returns whether frames are fed smaller, which empties the memory. Raises ShortageError where neither is left.
        """
        if self._compilation.give_up():
            return False
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
        return True

    def _use(self, geometry: InputGeometry) -> None:
        """Sets the input geometry and empties the memory."""
        if self._ahead and geometry != self._geometry:
            self._ahead.forget()
        self._geometry = geometry
        self._window = SlidingWindow(self.engine, geometry, self.memory_frames)
        if self._smoothing:
            self._smoothing.reset()


@dataclass(frozen=True, eq=False, kw_only=True)
class TorchNetwork(LoadedNetwork):
    """A network in torch, prepared for a device and a precision."""

    engine: Engine

    def segmenter(self, **options: Unpack[StreamOptions]) -> Segmenter:
        """As `LoadedNetwork.segmenter`."""
        options["geometry"] = self.geometry.overridden_by(options.get("geometry") or InputGeometry())
        return Segmenter(self.engine, self.labels, **options)

    @torch.inference_mode()
    def batch_logits(self, rgbs: Sequence[RGB], geometry: InputGeometry) -> Tensor:
        """As `LoadedNetwork.batch_logits`."""
        if geometry.window:
            raise ConfigError(
                f"{self.name} takes frames in windows of {geometry.window}, one frame at a time: leave out --batch"
            )
        pixels = torch.from_numpy(np.stack(rgbs)).to(self.device)  # (B, H, W, 3)
        preprocess = Preprocess(self.config).to(self.device)
        x = preprocess(pixels, geometry.input_hw((pixels.shape[1], pixels.shape[2]))).to(self.engine.dtype)
        return SlidingWindow(self.engine, InputGeometry(), 0).step(x).float()


def load_network(
    weights: str | Path | Checkpoint, *, device: str | torch.device = "auto", precision: str = "auto"
) -> TorchNetwork:
    """Shipped weights by name, a checkpoint file, or a checkpoint, in torch. Raises CheckpointError and ConfigError."""
    checkpoint = weights if isinstance(weights, Checkpoint) else load_checkpoint(weights)
    target = choose_device(str(device))
    chosen = choose_precision(precision, target)
    engine = Engine(prepare(checkpoint.build(), target, chosen))
    return TorchNetwork(
        name="these weights" if isinstance(weights, Checkpoint) else str(weights),
        config=checkpoint.config,
        labels=checkpoint.labels,
        geometry=checkpoint.geometry,
        device=engine.device,
        precision=chosen,
        engine=engine,
    )


def open_network(weights: str | Path, *, device: str = "auto", precision: str = "auto") -> LoadedNetwork:
    """Weights in torch, an exported file in ONNX Runtime. Raises CheckpointError and ConfigError."""
    if read_weights_info(weights).onnx is None:
        return load_network(weights, device=device, precision=precision)
    from tmaseg.inference.onnx_runtime import OnnxNetwork

    return OnnxNetwork.load(weights, device)


def load(
    weights: str | Path = "street", *, device: str = "auto", precision: str = "auto", **options: Unpack[StreamOptions]
) -> Segmenter:
    """A Segmenter for shipped weights by name, or for a checkpoint file.

    `device`: auto, cpu, or an accelerator such as cuda or cuda:N. `precision`: auto, fp32, bf16 or fp16. `geometry`
    replaces the checkpoint's size, window and stride where it sets them. The rest as in `Segmenter`, but for `smooth`,
    which is true unless it is given, as in `tmaseg run`. Raises CheckpointError and ConfigError.
    """
    options.setdefault("smooth", True)
    return load_network(weights, device=device, precision=precision).segmenter(**options)
