"""Predictor: one pass of a network over the frames of a data set, in the classes of the data set."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tmaseg.arrays import RGB, Labels
from tmaseg.errors import ConfigError, LabelError
from tmaseg.evaluation.scores import Pass
from tmaseg.inference.frame_segmenter import FrameSegmenter, LoadedNetwork
from tmaseg.inference.macs import step_macs
from tmaseg.inference.postprocess import classify
from tmaseg.inference.sliding_window import window_grid
from tmaseg.labels import LabelSet, map_by_name, map_to_groups, unite_by_name
from tmaseg.model.config import InputGeometry
from tmaseg.options import EvalOptions


@dataclass(frozen=True, eq=False)
class ClassMapping:
    """Mapping of a network's classes to those of a data set."""

    data: LabelSet
    table: NDArray[np.uint8]
    """(256,) network's class -> class of the data set; its ignore_index where there is no counterpart."""
    merged: NDArray[np.uint8]
    """(256,) class of the data set -> the first of those that are one class to the network, which are scored as one."""
    sums: bool  # whether the data set has unions of finer classes of the network: their probabilities are summed
    notes: tuple[str, ...]  # remarks for the reader of the scores; empty where the classes are the same

    @classmethod
    def by_name(cls, network: LabelSet, data: LabelSet, void_class: int | None = None) -> "ClassMapping":
        """`void_class`: the class that the network's void stands for, where void is scored.

        Raises LabelError when not one class of the data set has a counterpart.
        """
        found = map_by_name(network, data)
        try:
            unions = unite_by_name(data, network)
        except LabelError as error:
            raise LabelError(
                f"no class of {data.name!r} has a counterpart among those of the weights, {', '.join(network.names)}: "
                "choose other weights"
            ) from error
        table = found.table.copy()
        if void_class is not None:
            table[list(network.void)] = void_class
        if network.names == data.names:
            return cls(data, table, unions.merged, False, ())
        table = unions.merged[table]
        notes = [
            f"weights with the {len(network)} classes of {network.name}, mapped by name to {len(data)} of {data.name}"
        ]
        if found.missing:
            notes.append(f"no counterpart, and wrong wherever predicted: {', '.join(found.missing)}")
        scored = [index for index in range(len(data)) if index not in data.void]
        for first in scored:
            group = [data.names[index] for index in scored if unions.merged[index] == first]
            if len(group) > 1:
                notes.append(f"one class to these weights, and scored as one: {', '.join(group)}")
        reached = set(table[: len(network)].tolist())
        if never := [data.names[index] for index in scored if int(unions.merged[index]) not in reached]:
            notes.append(f"never predicted by these weights: {', '.join(never)}")
        sums = any(len(unions.members[index]) > 1 for index, _ in data.unions)
        return cls(data, table, unions.merged, sums, tuple(notes))

    @classmethod
    def to_groups(cls, network: LabelSet, groups: LabelSet) -> "ClassMapping":
        """The classes of a palette made of the network's, as `tmaseg run` writes them. Raises LabelError."""
        found = map_to_groups(network, groups)
        notes = [f"the {len(network)} classes of {network.name} grouped into {len(groups)} of {groups.name}"]
        if found.missing:
            notes.append(f"in no group, and wrong wherever predicted: {', '.join(found.missing)}")
        return cls(groups, found.table, np.arange(256, dtype=np.uint8), False, tuple(notes))

    @property
    def scored(self) -> tuple[int, ...]:
        """The classes of the data set that the mIoU is over: none that is void or merged into another."""
        return tuple(
            index for index in range(len(self.data)) if index not in self.data.void and self.merged[index] == index
        )

    def classify(self, probabilities: Tensor) -> Labels:
        """(K, H, W) of the network's classes -> (H, W) uint8, the data set's class of the highest probability.

        Those of a union's classes are summed. A class without a counterpart becomes the data set's ignore_index.
        """
        if not self.sums:
            return np.asarray(self.table[probabilities.max(0).indices.cpu().numpy()], np.uint8)
        count = len(self.data)
        rows = [row if row < count else count + index for index, row in enumerate(self.table[: len(probabilities)])]
        sums = probabilities.new_zeros(count + len(probabilities), *probabilities.shape[1:])
        sums.index_add_(0, torch.tensor(rows, device=sums.device, dtype=torch.int64), probabilities)
        best = sums.max(0).indices.cpu().numpy()
        return np.where(best < count, best, self.data.ignore_index).astype(np.uint8)


class Predictor:
    """One pass: streams sequences through `Segmenter`s and times them."""

    def __init__(
        self,
        network: LoadedNetwork,
        mapping: ClassMapping,
        options: EvalOptions,
        *,
        memory_frames: int | None = None,
        stretch: float = 1.0,
        detect_cuts: bool = False,
    ) -> None:
        """`stretch`: by how much stored pictures must be widened for square pixels. Raises ConfigError."""
        self.network = network
        self.geometry = network.geometry.overridden_by(options.geometry)
        self._mapping = mapping
        self._options = options
        self._stretch = stretch
        self._detect_cuts = detect_cuts
        self._averages = options.augmented or mapping.sums
        if self._averages and options.key_frames > 1:
            raise ConfigError(
                f"--key-frames is {options.key_frames}, but {mapping.data.name} has unions of finer classes, whose "
                "probabilities are summed, and between key frames there are none: leave it out"
            )
        self._memory_frames = memory_frames
        segmenter = self._segmenter(self.geometry)  # checks the options, too
        self.memory_frames, self.past_frames = segmenter.memory_frames, segmenter.past_frames
        self.smooth = segmenter.smooth
        self.seconds: list[float] = []
        """Seconds of each frame, from its pixels to its labels."""
        self._wide_hw: tuple[int, int] | None = None  # of the last frame
        self.start()

    def new_pass(self, worst: int = 0) -> Pass:
        """Scores for what this predicts, empty; `worst` as of `Pass`."""
        labels, key_frames = self._mapping.data, self._options.key_frames
        return Pass(labels, self.seconds, memory_frames=self.memory_frames, key_frames=key_frames, worst=worst)

    def start(self) -> None:
        """The next frame begins another sequence."""
        self._streams: list[tuple[FrameSegmenter, bool]] = []
        self._short_side = 0
        self.reset_before = False
        """Whether a scene cut or the like emptied the memory before the last frame."""

    def step(
        self, rgb: RGB, *, seconds: float | None = None, discontinuity: bool = False, continues: bool = False
    ) -> Labels:
        """The next frame (H, W, 3) uint8 -> its classes (H, W) uint8, in the data set's ids; as `FrameSegmenter.step`.

        With several scales or mirroring: the class of the highest mean probability.
        """
        start_time = time.perf_counter()
        wide = self._widen(rgb)
        if min(wide.shape[:2]) != self._short_side:  # frames of another size begin new streams
            self._short_side = min(wide.shape[:2])
            mirrored = (False, True) if self._options.flip else (False,)
            geometries = self._geometries(self._short_side)
            self._streams = [(self._segmenter(geometry), flip) for geometry in geometries for flip in mirrored]
        total: Tensor | None = None
        for segmenter, flip in self._streams:
            frame = np.ascontiguousarray(wide[:, ::-1]) if flip else wide
            result = segmenter.step(
                frame, seconds=seconds, discontinuity=discontinuity, continues=continues, logits=self._averages
            )
            if result.logits is not None:
                probabilities = result.logits.softmax(0)  # (K, H, W)
                probabilities = probabilities.flip(-1) if flip else probabilities
                total = probabilities if total is None else total + probabilities
        self.reset_before = result.reset
        labels = self._mapping.table[result.labels] if total is None else self._mapping.classify(total)
        return self._finish([labels], [rgb], start_time)[0]

    @torch.inference_mode()
    def batch(self, rgbs: Sequence[RGB]) -> list[Labels]:
        """Frames of one size at once, without memory: the labels that `step` gives for single pictures.

        Raises ConfigError for a network that takes no batches.
        """
        start_time = time.perf_counter()
        wide = [self._widen(rgb) for rgb in rgbs]
        size_hw = (wide[0].shape[0], wide[0].shape[1])
        logits, corners = self.network.batch_logits(wide, self.geometry), self.network.config.align_corners
        if self._mapping.sums:
            resized = functional.interpolate(logits, size_hw, mode="bilinear", align_corners=corners)
            labels = [self._mapping.classify(each.softmax(0)) for each in resized]
        else:
            ids = [classify(each, size_hw, align_corners=corners).cpu().numpy() for each in logits]
            labels = [self._mapping.table[each] for each in ids]
        return self._finish(labels, rgbs, start_time)

    def frame_gmacs(self) -> float:
        """Multiply-adds of a streamed frame as large as the last one, in thousands of millions; NaN before any.

        Scales, mirroring and windows count as often as they are run; a key frame is spread over the frames to the next.
        """
        if self._wide_hw is None:
            return math.nan
        total = 0.0
        for geometry in self._geometries(min(self._wide_hw)):
            windows = len(window_grid(geometry.input_hw(self._wide_hw), geometry))
            macs = step_macs(self.network.config, geometry.window_hw(self._wide_hw), self.memory_frames)
            total += windows * macs.total
        return total * (2 if self._options.flip else 1) / self._options.key_frames

    def _finish(self, labels: Sequence[Labels], rgbs: Sequence[RGB], start_time: float) -> list[Labels]:
        """Resizes labels to the pictures' own sizes and records the time."""
        finished = []
        for each, rgb in zip(labels, rgbs, strict=True):
            if each.shape != rgb.shape[:2]:
                size = (rgb.shape[1], rgb.shape[0])
                each = np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
            finished.append(each)
        self.seconds += [(time.perf_counter() - start_time) / len(rgbs)] * len(rgbs)
        return finished

    def _widen(self, rgb: RGB) -> RGB:
        self._wide_hw = height, width = rgb.shape[0], round(rgb.shape[1] * self._stretch)
        if self._stretch == 1:
            return rgb
        return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)

    def _geometries(self, short_side: int) -> list[InputGeometry]:
        """The input geometry of each scale."""
        geometry, scales = self.geometry, self._options.scales
        base = geometry.size or short_side
        return [geometry if scale == 1 else replace(geometry, size=round(base * scale)) for scale in scales]

    def _segmenter(self, geometry: InputGeometry) -> FrameSegmenter:
        return self.network.segmenter(
            geometry=geometry,
            memory_frames=self._memory_frames,
            smooth=self._options.smooth,
            detect_cuts=self._detect_cuts,
            key_frames=self._options.key_frames,
            may_shrink=False,  # scores are those of the size that they are stated for
        )


def open_predictors(
    network: LoadedNetwork,
    mapping: ClassMapping,
    options: EvalOptions,
    *,
    stretch: float = 1.0,
    detect_cuts: bool = False,
) -> list[Predictor]:
    """A predictor for each amount of memory in the options.

    Raises ConfigError when two come to the same, and when none is smoothed that was to be.
    """
    predictors = [
        Predictor(network, mapping, options, memory_frames=memory, stretch=stretch, detect_cuts=detect_cuts)
        for memory in options.memories
    ]
    if len({each.memory_frames for each in predictors}) < len(predictors):
        raise ConfigError("--compare-memory has nothing to compare: these weights have no memory, or --memory is 0")
    if options.smooth and not any(each.smooth for each in predictors):
        raise ConfigError(
            "--smooth has nothing to average: it takes whole frames and a memory; leave it out, or else --window and "
            "--memory 0"
        )
    return predictors
