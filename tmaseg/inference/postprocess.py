"""classify: logits at the head's resolution -> a class for every pixel of the frame, without the logits of every pixel.

Notation: K classes, h w logits, H W frame.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_ROWS = 64  # at a time: the probabilities of a whole frame would take as much memory as its logits
_CELLS = 512  # at a time: what they need stays in the cache


def classify(logits: Tensor, size_hw: tuple[int, int], *, align_corners: bool) -> Tensor:
    """logits (K, h, w) -> (H, W) uint8: the argmax of the logits resized bilinearly to `size_hw`."""
    # On a CPU most pixels are never interpolated. Between four neighbours that agree on a class every bilinear mix
    # agrees as well, since no mix of smaller numbers beats the same mix of larger ones: only cells whose corners
    # differ, along the outlines, are worked out. Measured with 19 classes from 90x160 to 1080x1920, frames of a
    # motorway, two cores: 6.7 ms of the 172 that a frame takes with the `street` weights in fp32; row by row 10.2.
    height, width = size_hw
    if logits.device.type != "cpu" or height < logits.shape[1] or width < logits.shape[2]:
        resized = functional.interpolate(logits[None].float(), size_hw, mode="bilinear", align_corners=align_corners)
        return _argmax(resized[0])
    logits = logits.float()
    best = _argmax(logits.contiguous())  # (h, w)
    down = _Axis(logits.shape[1], height, align_corners)
    across = _Axis(logits.shape[2], width, align_corners)
    # Along the width, then whole rows, by `index_select`: 0.5 ms where `best[top][:, left]` takes 8.
    labels = best.index_select(1, across.before).index_select(0, down.before)  # (H, W), right where corners agree
    rows, columns = _outlines(best).nonzero(as_tuple=True)  # cells
    for some_rows, some_columns in zip(torch.split(rows, _CELLS), torch.split(columns, _CELLS), strict=True):
        corners = _corners(logits, some_rows, some_columns)  # (n, K, 4)
        weights = _weights(down.fractions_of[some_rows], across.fractions_of[some_columns])  # (n, 4, a b)
        inside = torch.bmm(corners, weights).max(1).indices.to(torch.uint8)  # (n, a b)
        y, x = down.outputs_of[some_rows], across.outputs_of[some_columns]  # (n, a), (n, b)
        labels[y[:, :, None], x[:, None]] = inside.reshape(len(y), y.shape[1], x.shape[1])
    return labels


def best_probability(logits: Tensor) -> NDArray[np.uint8]:
    """logits (K, H, W) -> (H, W) uint8: the probability of the class with the largest, in 255ths."""
    rows = [(torch.softmax(rows, 0).amax(0) * 255).round().to(torch.uint8) for rows in torch.split(logits, _ROWS, 1)]
    return np.asarray(torch.cat(rows).cpu().numpy(), np.uint8)


def _outlines(best: Tensor) -> Tensor:
    """bool (h, w): whether a cell, the next, the one below and the one between do not all have one class."""
    beside = torch.cat([best[:, 1:], best[:, -1:]], dim=1)
    differ = best != beside
    below = torch.cat([best[1:], best[-1:]])
    return differ | torch.cat([differ[1:], differ[-1:]]) | (best != below)


def _corners(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """logits (K, h, w), cells (n,) -> (n, K, 4): upper left, upper right, lower left, lower right."""
    classes, height, width = logits.shape
    next_rows, next_columns = (rows + 1).clamp_max(height - 1), (columns + 1).clamp_max(width - 1)
    positions = torch.stack([rows, rows, next_rows, next_rows], 1) * width
    positions = positions + torch.stack([columns, next_columns, columns, next_columns], 1)  # (n, 4)
    found = logits.permute(1, 2, 0).reshape(-1, classes).index_select(0, positions.flatten())
    return found.reshape(-1, 4, classes).transpose(1, 2)


def _weights(down: Tensor, across: Tensor) -> Tensor:
    """Fractions (n, a) and (n, b) of the way through a cell -> (n, 4, a b): the bilinear weights of its corners."""
    lines = torch.stack([1 - down, down], 1)[:, :, None, :, None]  # (n, 2, 1, a, 1)
    columns = torch.stack([1 - across, across], 1)[:, None, :, None]  # (n, 1, 2, 1, b)
    return (lines * columns).flatten(3).flatten(1, 2)


class _Axis:
    """Where outputs lie among inputs, along the height or the width. A cell is what lies between two inputs."""

    def __init__(self, inputs: int, outputs: int, align_corners: bool) -> None:
        steps = torch.arange(outputs, dtype=torch.float32)
        if align_corners:
            position = steps * ((inputs - 1) / max(outputs - 1, 1))
        else:
            position = ((steps + 0.5) * (inputs / outputs) - 0.5).clamp_min(0)
        self.before = position.long().clamp_max(inputs - 1)  # (outputs,): the cell, by the input before it
        firsts = torch.searchsorted(self.before, torch.arange(inputs + 1))
        most = int(firsts.diff().max())
        # Cells with fewer outputs than others repeat their last. A cell that rounding left without any takes the first
        # of the next, which lies where they touch.
        lasts = torch.maximum(firsts[1:] - 1, firsts[:-1]).clamp_max(outputs - 1)
        self.outputs_of = torch.minimum(firsts[:-1, None] + torch.arange(most), lasts[:, None])  # (inputs, most)
        self.fractions_of = (
            position[self.outputs_of] - torch.arange(inputs)[:, None]
        )  # (inputs, most) of the way through


def _argmax(logits: Tensor) -> Tensor:
    """(K, ...) -> (...) uint8. On the CPU `max` finds the indices five times faster than `argmax` does."""
    return logits.max(0).indices.to(torch.uint8)
