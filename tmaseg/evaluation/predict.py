"""Predictor: one pass of weights over the frames of a data set, answering in the data set's own classes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.errors import ConfigError
from tmaseg.evaluation.options import EvalOptions
from tmaseg.inference.loading import LoadedNetwork
from tmaseg.inference.postprocess import classify
from tmaseg.inference.segmenter import Segmenter
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.labels import LabelSet, map_by_name
from tmaseg.model.geometry import InputGeometry
from tmaseg.model.preprocess import Preprocess

RGB = NDArray[np.uint8]  # (H, W, 3)
Labels = NDArray[np.uint8]  # (H, W)


@dataclass(frozen=True, eq=False)
class Answers:
    """How the outputs of weights become the classes of a data set."""

    table: NDArray[np.uint8]
    """(256,) output -> class of the data set; its ignore_index where there is no counterpart."""
    notes: tuple[str, ...]
    """What a reader of the figures must know; empty where the classes are the same."""

    @classmethod
    def between(cls, weights: LabelSet, data: LabelSet, void_class: int | None = None) -> "Answers":
        """By class name. `void_class`: the class that void outputs stand for where void is scored."""
        found = map_by_name(weights, data)
        table = found.table.copy()
        if void_class is not None:
            table[list(weights.void)] = void_class
        if weights.names == data.names:
            return cls(table, ())
        notes = [
            f"weights with the {len(weights)} classes of {weights.name}, mapped by name to {len(data)} of {data.name}"
        ]
        if found.missing:
            notes.append(f"no counterpart, and wrong wherever predicted: {', '.join(found.missing)}")
        reached = set(table[: len(weights)].tolist())
        never = [name for index, name in enumerate(data.names) if index not in reached and index not in data.void]
        if never:
            notes.append(f"never predicted by these weights: {', '.join(never)}")
        return cls(table, tuple(notes))


class Predictor:
    """One pass: streams sequences through `Segmenter`s and times them."""

    def __init__(
        self,
        weights: LoadedNetwork,
        answers: Answers,
        options: EvalOptions,
        *,
        memory_frames: int | None = None,
        stretch: float = 1.0,
        detect_cuts: bool = False,
    ) -> None:
        """`stretch`: by how much stored pictures must be widened for square pixels. Raises ConfigError."""
        self._weights = weights.with_geometry(options.geometry)
        self._table = answers.table
        self._options = options
        self._stretch = stretch
        self._detect_cuts = detect_cuts
        self._memory_frames = memory_frames
        self.device = weights.device
        self._preprocess = Preprocess(weights.net.config).to(self.device)
        self.memory_frames = self._segmenter(self._weights.geometry).memory_frames  # checks the options, too
        self.seconds: list[float] = []
        """What each frame took, from its pixels to its labels."""
        self.frames = 0
        """Frames seen, scored or not."""
        self.start()

    def start(self) -> None:
        """The next frame begins another sequence."""
        self._streams: list[tuple[Segmenter, bool]] = []
        self._short_side = 0
        self.reset_before = False
        """Whether a scene cut or the like emptied the memory before the last frame."""

    def step(self, rgb: RGB, *, seconds: float | None = None, discontinuity: bool = False) -> Labels:
        """The next frame (H, W, 3) uint8 -> its classes (H, W) uint8, in the data set's ids."""
        begun = time.perf_counter()
        shown = self._widen(rgb)
        if min(shown.shape[:2]) != self._short_side:
            self._open(min(shown.shape[:2]))
        if not self._options.augmented:
            seen = self._streams[0][0].step(shown, seconds=seconds, discontinuity=discontinuity)
            labels, self.reset_before = seen.labels, seen.reset
        else:
            labels = self._average(shown, seconds, discontinuity)
        return self._done(labels, rgb, begun)

    @torch.inference_mode()
    def alone(self, rgbs: Sequence[RGB]) -> list[Labels]:
        """Frames of one size, at once, each reading only itself: what `step` gives for lone pictures.

        Raises ConfigError for weights that look through windows.
        """
        if self._weights.geometry.window:
            raise ConfigError(
                f"{self._weights.name} reads windows of {self._weights.geometry.window}, one frame at a time: "
                "leave out --batch"
            )
        begun = time.perf_counter()
        engine, config = self._weights.engine, self._weights.net.config
        shown = [self._widen(rgb) for rgb in rgbs]
        size_hw = (shown[0].shape[0], shown[0].shape[1])
        pixels = torch.from_numpy(np.stack(shown)).to(self.device)  # (B, H, W, 3)
        x = self._preprocess(pixels, self._weights.geometry.input_hw(size_hw))
        logits = SlidingWindow(engine, InputGeometry(), self.memory_frames).step(x.to(engine.dtype))
        labels = [classify(each.float(), size_hw, align_corners=config.align_corners).cpu().numpy() for each in logits]
        done = [self._done(each, rgb, begun) for each, rgb in zip(labels, rgbs, strict=True)]
        self.seconds[-len(done) :] = [(time.perf_counter() - begun) / len(done)] * len(done)
        return done

    def _done(self, labels: Labels, rgb: RGB, begun: float) -> Labels:
        height, width = rgb.shape[:2]
        if labels.shape != (height, width):
            labels = np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
        answers = np.asarray(self._table[labels], np.uint8)
        self.seconds.append(time.perf_counter() - begun)
        self.frames += 1
        return answers

    def _widen(self, rgb: RGB) -> RGB:
        if self._stretch == 1:
            return rgb
        size = (round(rgb.shape[1] * self._stretch), rgb.shape[0])
        return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)

    def _open(self, short_side: int) -> None:
        """A stream for each scale, plain and mirrored. Frames of another size share no memory anyway."""
        self._short_side = short_side
        geometry = self._weights.geometry
        plain = not self._options.augmented
        base = geometry.size or short_side
        geometries = [
            geometry if plain else replace(geometry, size=round(base * scale)) for scale in self._options.scales
        ]
        mirrored = (False, True) if self._options.flip else (False,)
        self._streams = [(self._segmenter(each), flip) for each in geometries for flip in mirrored]

    def _average(self, rgb: RGB, seconds: float | None, discontinuity: bool) -> Labels:
        """The class of the highest mean probability over scales and mirroring."""
        total: Tensor | None = None
        for segmenter, flip in self._streams:
            shown = np.ascontiguousarray(rgb[:, ::-1]) if flip else rgb
            seen = segmenter.step(shown, seconds=seconds, discontinuity=discontinuity, logits=True)
            assert seen.logits is not None
            self.reset_before = seen.reset
            chances = seen.logits.softmax(0)  # (K, H, W)
            chances = chances.flip(-1) if flip else chances
            total = chances if total is None else total + chances
        assert total is not None
        return np.asarray(total.argmax(0).to(torch.uint8).cpu().numpy(), np.uint8)

    def _segmenter(self, geometry: InputGeometry) -> Segmenter:
        try:
            return Segmenter(
                self._weights.engine,
                self._weights.labels,
                geometry=geometry,
                memory_frames=self._memory_frames,
                detect_cuts=self._detect_cuts,
                key_frames=self._options.key_frames,
                may_shrink=False,  # scores are those of the size that they are stated for
            )
        except ConfigError as error:
            raise ConfigError(f"{self._weights.name}: {error}") from error


def open_passes(
    weights: LoadedNetwork, answers: Answers, options: EvalOptions, *, stretch: float = 1.0, detect_cuts: bool = False
) -> list[Predictor]:
    """A predictor for each amount of memory asked for. Raises ConfigError when two come to the same."""
    passes = [
        Predictor(weights, answers, options, memory_frames=memory, stretch=stretch, detect_cuts=detect_cuts)
        for memory in options.memories
    ]
    if len({each.memory_frames for each in passes}) < len(passes):
        raise ConfigError("--compare-memory has nothing to compare: these weights have no memory, or --memory is 0")
    return passes
