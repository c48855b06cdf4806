"""SlidingWindow: the regions through which a network sees the frames of a video, each with a memory of its own.

Notation: K classes, H W the network's input, h w the head's resolution.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tmaseg.inference.engine import Engine
from tmaseg.model.config import InputGeometry
from tmaseg.model.memory import MemoryRing


@dataclass
class _Region:
    top: int
    left: int
    ring: MemoryRing | None = None


class SlidingWindow:
    """Of one video. Without a window in the geometry there is one region, the entire frame."""

    def __init__(self, engine: Engine, geometry: InputGeometry, memory_frames: int) -> None:
        """`memory_frames` is T; 0: each frame reads itself alone."""
        self._engine = engine
        self._geometry = geometry
        self._memory_frames = memory_frames
        config = engine.net.config
        self._ring_frames = memory_frames + config.self_in_memory if memory_frames else config.slots
        self._size_hw: tuple[int, int] | None = None
        self._regions: list[_Region] = []
        self._pushed: list[MemoryRing] = []
        self._to_push: list[tuple[MemoryRing, Tensor, Tensor]] = []

    def reset(self) -> None:
        """Empties the memory of every region."""
        for region in self._regions:
            if region.ring:
                region.ring.reset()

    def step(self, x: Tensor) -> Tensor:
        """The next frame (B, 3, H, W) -> logits at the head's resolution, or at the input's when windows overlap.

        B is 1, but for frames of B videos at once in one region. A change of size empties the memory. When a step
        fails, the memory stays as it was before, and the same frame may be given again.
        """
        size_hw = (x.shape[-2], x.shape[-1])
        if self._size_hw != size_hw:
            self._size_hw = size_hw
            self._regions = [_Region(top, left) for top, left in window_grid(size_hw, self._geometry)]
        self._pushed, self._to_push = [], []
        try:
            logits = self._mean(x) if len(self._regions) > 1 else self._step(self._regions[0], x)
        except BaseException:
            for ring in self._pushed:
                ring.undo_push()
            raise
        for ring, keys, values in self._to_push:
            ring.push(keys, values)
        return logits

    def _mean(self, x: Tensor) -> Tensor:
        """The mean of the logits of all windows."""
        net, (height, width) = self._engine.net, (x.shape[-2], x.shape[-1])
        side_h, side_w = self._geometry.window_hw((height, width))
        total = x.new_zeros((1, net.config.classes, height, width), dtype=torch.float32)
        count = x.new_zeros(height, width)
        for region in self._regions:
            rows, columns = slice(region.top, region.top + side_h), slice(region.left, region.left + side_w)
            part = x[..., rows, columns].contiguous(memory_format=torch.channels_last)
            total[..., rows, columns] += net.resize(self._step(region, part).float(), (side_h, side_w))
            count[rows, columns] += 1
        return total / count

    def _step(self, region: _Region, x: Tensor) -> Tensor:
        engine, config = self._engine, self._engine.net.config
        frame = engine.encode_frame(x)
        if not config.memory_frames:
            return engine.decode(frame, None, None)
        keys, values = engine.encode_memory(frame.stage4)
        if region.ring is None:
            region.ring = MemoryRing(keys, values, frames=self._ring_frames)
        elif self._memory_frames == 0:
            region.ring.reset()
        ring = region.ring
        if reads_itself := config.self_in_memory or len(ring) == 0:
            ring.push(keys, values)
            self._pushed.append(ring)
        logits = engine.decode(frame, *ring.read())
        if not reads_itself:
            if len(self._regions) > 1:  # the next region's encoding may overwrite what a GPU's graph returned
                keys, values = keys.clone(), values.clone()
            self._to_push.append((ring, keys, values))
        return logits


def window_grid(size_hw: tuple[int, int], geometry: InputGeometry) -> list[tuple[int, int]]:
    """(top, left) of the windows that cover the network's input; the last of each row and column is moved inside.

    One window at (0, 0) when there is no window, or none smaller than the input.
    """
    tops, lefts = (_offsets(side, geometry.window or side, geometry.stride or side) for side in size_hw)
    return [(top, left) for top in tops for left in lefts]


def _offsets(side: int, window: int, stride: int) -> list[int]:
    if window >= side:
        return [0]
    count = -(-(side - window) // stride) + 1
    return [min(index * stride, side - window) for index in range(count)]
