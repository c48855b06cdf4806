"""Lovász-Softmax: a loss that falls as the intersection over union of every class grows (Berman et al., CVPR 2018).

Cross-entropy counts pixels; mIoU counts classes, and what was painted too large as much as what was missed.
"""

import torch
from torch import Tensor


def lovasz_softmax(chances: Tensor, labels: Tensor) -> Tensor:
    """The mean over the classes that are among the labels of the Lovász extension of 1 - IoU (the paper's eq. 8, 11).

    chances (N, D): float32 probabilities; labels (N,): int64 of 0 to D - 1. Returns a scalar from 0 to 1; 0 for N = 0.
    Where all chances are 0 or 1 it is the mean of 1 - IoU itself.
    """
    losses = []
    for index, chance in enumerate(chances.unbind(1)):
        inside = labels == index
        if inside.any():
            errors = torch.where(inside, 1 - chance, chance)  # (N,)
            ranked, order = errors.sort(descending=True)
            losses.append(ranked @ _steps(inside[order]).to(ranked.dtype))
    return torch.stack(losses).mean() if losses else chances.sum() * 0


def _steps(inside: Tensor) -> Tensor:
    """(N,) bool in the order of falling errors -> (N,) float64: how much 1 - IoU grows with each pixel got wrong."""
    hits = inside.double().cumsum(0)
    misses = torch.arange(1, len(inside) + 1, dtype=torch.float64, device=inside.device) - hits
    lost = 1 - (hits[-1] - hits) / (hits[-1] + misses)
    return lost.diff(prepend=lost.new_zeros(1))
