"""classify: logits at the head's resolution -> a class for every pixel of the frame, without the logits of every pixel.

Notation: K classes, h w logits, H W frame.
"""

import torch
from torch import Tensor
from torch.nn import functional


def classify(logits: Tensor, size_hw: tuple[int, int], *, align_corners: bool) -> Tensor:
    """logits (K, h, w) -> (H, W) uint8: the argmax of the logits resized bilinearly to `size_hw`.

    On a CPU most pixels are never interpolated. Between four neighbours that agree on a class every bilinear mix agrees
    as well, since no mix of smaller numbers beats the same mix of larger ones: only cells whose corners differ, along
    the outlines, are worked out. Measured with 19 classes from 90x160 to 1080x1920 on two busy cores: resized whole
    570 ms, so 15 ms.
    """
    height, width = size_hw
    if logits.device.type != "cpu" or height < logits.shape[1] or width < logits.shape[2]:
        resized = functional.interpolate(logits[None].float(), size_hw, mode="bilinear", align_corners=align_corners)
        return _argmax(resized[0])
    logits = logits.float().contiguous()
    best = _argmax(logits)  # (h, w)
    top, bottom, down = _neighbours(logits.shape[1], height, align_corners)
    left, right, across = _neighbours(logits.shape[2], width, align_corners)
    # Along the width, then whole rows, by `index_select`: 0.5 ms where `best[top][:, left]` takes 8.
    labels = best.index_select(1, left).index_select(0, top)  # (H, W), right wherever the corners agree
    beside = torch.cat([best[:, 1:], best[:, -1:]], dim=1)
    mixed = best != beside
    below = torch.cat([best[1:], best[-1:]])
    mixed = mixed | torch.cat([mixed[1:], mixed[-1:]]) | (best != below)  # (h, w), of the cell down and right of each
    for row in mixed.any(1).nonzero()[:, 0].tolist():
        first, last = torch.searchsorted(top, torch.tensor([row, row + 1])).tolist()
        columns = mixed[row][left].nonzero()[:, 0]
        if first == last or not len(columns):
            continue
        two = logits[:, [row, int(bottom[first])]]  # (K, 2, w)
        before, after = two.index_select(2, left[columns]), two.index_select(2, right[columns])  # (K, 2, n)
        ends = torch.lerp(before, after, across[columns])
        mix = torch.lerp(ends[:, :1], ends[:, 1:], down[first:last, None])  # (K, rows, n)
        labels[first:last, columns] = _argmax(mix)
    return labels


def _argmax(logits: Tensor) -> Tensor:
    """(K, ...) -> (...) uint8. On the CPU `max` finds the indices five times faster than `argmax` does."""
    return logits.max(0).indices.to(torch.uint8)


def _neighbours(inputs: int, outputs: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """For each output sample: the input before it, the one after it, and its share of the way between them."""
    steps = torch.arange(outputs, dtype=torch.float32)
    if align_corners:
        position = steps * ((inputs - 1) / max(outputs - 1, 1))
    else:
        position = ((steps + 0.5) * (inputs / outputs) - 0.5).clamp_min(0)
    before = position.long().clamp_max(inputs - 1)
    return before, (before + 1).clamp_max(inputs - 1), position - before
