"""SlidingWindow: the regions through which a network sees the frames of a video, each with a memory of its own.

Notation: K classes, H W the network's input, h w the head's resolution; S memory encoders, N memory positions, P = h w
positions of a frame, Ck key and Cv value channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tmaseg.inference.engine import Engine
from tmaseg.model.config import InputGeometry
from tmaseg.model.memory import MemoryRing
from tmaseg.model.resnet import Features

_KeysValues = tuple[Tensor, Tensor]  # of a frame, for every slot: (B, S, P, Ck), (B, S, P, Cv)


@dataclass
class _Region:
    top: int
    left: int
    ring: MemoryRing | None = None


class SlidingWindow:
    """Runs one video through a network in windows. Without a window there is one region, the entire frame."""

    def __init__(self, engine: Engine, geometry: InputGeometry, memory_frames: int) -> None:
        """`memory_frames` is T; 0: each frame reads itself alone."""
        self._engine = engine
        self._geometry = geometry
        self._memory_frames = memory_frames
        self._size_hw: tuple[int, int] | None = None
        self._regions: list[_Region] = []

    def reset(self) -> None:
        """Empties the memory of every region."""
        for region in self._regions:
            region.ring = None

    def step(self, x: Tensor, encoded: Features | None = None) -> Tensor:
        """The next frame (B, 3, H, W) -> logits at the head's resolution, or at the input's when windows overlap.

        B is 1, but for frames of B videos at once in one region. `encoded`: its features where they are known, without
        a window. A change of size empties the memory. When a step fails, the memory stays as it was before, and the
        same frame may be given again.
        """
        size_hw = (x.shape[-2], x.shape[-1])
        if self._size_hw != size_hw:
            self._size_hw = size_hw
            self._regions = [_Region(top, left) for top, left in window_grid(size_hw, self._geometry)]
        logits, memory = self._mean(x) if len(self._regions) > 1 else self._step(self._regions[0], x, encoded)
        for region, (keys, values) in zip(self._regions, memory, strict=False):  # none without memory
            if region.ring is None:
                region.ring = MemoryRing(keys, values, frames=self._memory_frames)
            else:
                region.ring.push(keys, values)
        return logits

    def _mean(self, x: Tensor) -> tuple[Tensor, list[_KeysValues]]:
        """The mean of the logits of all windows, and the keys and values of each for its memory."""
        net, (height, width) = self._engine.net, (x.shape[-2], x.shape[-1])
        side_h, side_w = self._geometry.window_hw((height, width))
        total = x.new_zeros((1, net.config.classes, height, width), dtype=torch.float32)
        count = x.new_zeros(height, width)
        encoded = []
        for region in self._regions:
            rows, columns = slice(region.top, region.top + side_h), slice(region.left, region.left + side_w)
            part = x[..., rows, columns].contiguous(memory_format=torch.channels_last)
            logits, own = self._step(region, part)
            total[..., rows, columns] += net.resize(logits.float(), (side_h, side_w))
            count[rows, columns] += 1
            # Copies: the next region's encoding may overwrite what a GPU's graph returned.
            encoded += [(keys.clone(), values.clone()) for keys, values in own]
        return total / count, encoded

    def _step(self, region: _Region, x: Tensor, encoded: Features | None = None) -> tuple[Tensor, list[_KeysValues]]:
        """Logits of a region, and the keys and values for its memory, if it has one."""
        engine, config = self._engine, self._engine.net.config
        frame = engine.encode_frame(x) if encoded is None else encoded
        if not config.memory_frames:
            return engine.decode(frame, None, None), []
        keys, values = engine.encode_memory(frame.stage4)
        if region.ring is None:  # the frame itself, in every slot
            frames = self._memory_frames + config.self_in_memory if self._memory_frames else config.slots
            memory = [each.expand(-1, frames, -1, -1).flatten(1, 2) for each in (keys, values)]
        else:
            memory = list(region.ring.read())
            if config.self_in_memory:
                memory = [torch.cat([past, own[:, 0]], 1) for past, own in zip(memory, (keys, values), strict=True)]
        return engine.decode(frame, *memory), [(keys, values)] if self._memory_frames else []


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
