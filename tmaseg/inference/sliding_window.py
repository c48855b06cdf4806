"""SlidingWindow: the regions through which a network sees frames, each with a memory of what was seen there.

Notation: K classes, H W the network's input, h w the head's resolution.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tmaseg.inference.engine import Engine
from tmaseg.model.checkpoint import View
from tmaseg.model.memory import MemoryRing


@dataclass
class _Window:
    top: int
    left: int
    ring: MemoryRing | None = None


class SlidingWindow:
    """Of one video. Without a window in the view there is one, which is all of the frame."""

    def __init__(self, engine: Engine, view: View, frames: int) -> None:
        """`frames` is T; 0: each frame reads itself alone."""
        self._engine = engine
        self._view = view
        self._frames = frames
        self._size_hw: tuple[int, int] | None = None
        self._windows: list[_Window] = []

    def forget(self) -> None:
        """What comes next is another scene."""
        for window in self._windows:
            if window.ring:
                window.ring.reset()

    def mend(self) -> bool:
        """After a `look` that failed: makes memory good for the same frame again. Says whether that emptied it.

        One window keeps a frame last of all, or, the very first, twice, which reads the same. Of several windows some
        may hold the frame already.
        """
        if len(self._windows) < 2:
            return False
        self.forget()
        return True

    def look(self, x: Tensor) -> Tensor:
        """The next frame (B, 3, H, W) -> logits at the head's resolution, or at the input's when windows overlap.

        B is 1, but for frames of B videos at once in one window. A change of size makes memory start again.
        """
        net, (height, width) = self._engine.net, x.shape[-2:]
        if self._size_hw != (height, width):
            self._size_hw = (height, width)
            self._windows = [_Window(top, left) for top, left in window_grid((height, width), self._view)]
        if len(self._windows) == 1:
            return self._look_through(self._windows[0], x)
        side_h, side_w = self._view.window_hw((height, width))
        total = x.new_zeros((1, net.config.classes, height, width), dtype=torch.float32)
        count = x.new_zeros(height, width)
        for window in self._windows:
            rows, columns = slice(window.top, window.top + side_h), slice(window.left, window.left + side_w)
            part = x[..., rows, columns].contiguous(memory_format=torch.channels_last)
            total[..., rows, columns] += net.resize(self._look_through(window, part).float(), (side_h, side_w))
            count[rows, columns] += 1
        return total / count

    def _look_through(self, window: _Window, x: Tensor) -> Tensor:
        engine = self._engine
        look = engine.look(x)
        if look.keys is None or look.values is None:
            return engine.answer(look, None, None)
        if window.ring is None:
            window.ring = MemoryRing(look.keys, look.values, frames=self._frames or engine.net.config.slots)
        elif self._frames == 0:
            window.ring.reset()
        first = len(window.ring) == 0
        if first:  # the first frame reads itself
            window.ring.push(look.keys, look.values)
        logits = engine.answer(look, *window.ring.read())
        if not first:
            window.ring.push(look.keys, look.values)
        return logits


def window_grid(size_hw: tuple[int, int], view: View) -> list[tuple[int, int]]:
    """(top, left) of the windows that cover the network's input; the last of each row and column is moved inside.

    One window at (0, 0) when there is no window, or none smaller than the input.
    """
    tops, lefts = (_offsets(side, view.window or side, view.stride or side) for side in size_hw)
    return [(top, left) for top in tops for left in lefts]


def _offsets(side: int, window: int, stride: int) -> list[int]:
    if window >= side:
        return [0]
    count = -(-(side - window) // stride) + 1
    return [min(index * stride, side - window) for index in range(count)]
