"""Losses: cross-entropy and Lovász-Softmax over several data sets, each with its own classes.

Notation: B rows, K classes of the network, D classes of a data set, h w the pixels that the loss is taken at.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tmaseg.labels import ClassUnions
from tmaseg.training.augment import VOID
from tmaseg.training.batches import Batch
from tmaseg.training.datasets import TrainSet
from tmaseg.training.recipe import Loss

_LOVASZ_STRIDE = 2  # Lovász-Softmax ranks every other pixel: all of them would cost half a step more on a CPU


class SegmentationLoss(nn.Module):
    """The mean over each data set's labelled pixels of their weighted cross-entropy, data sets by their rows.

    Lovász-Softmax is added with the weight `lovasz`. Parts of a step, here and in other processes, add up to the loss
    of the step; but for Lovász-Softmax, which ranks the pixels of each part alone.
    """

    def __init__(self, sets: Sequence[TrainSet], settings: Loss) -> None:
        super().__init__()
        self._lovasz = settings.lovasz
        self._unions = [data.unions for data in sets]
        self._weights = torch.zeros(len(sets), 256, dtype=torch.float64)  # as `totals` uses them
        for number, data in enumerate(sets):
            weights = class_weights(data.pixels, data.unions, settings.class_weights)
            self._weights[number, : len(weights)] = torch.from_numpy(weights)
            self.register_buffer(f"weights{number}", torch.from_numpy(weights).float())
            self.register_buffer(f"merged{number}", torch.from_numpy(data.unions.merged).long())

    def totals(self, batch: Batch) -> Tensor:
        """(sets,) float64 on the CPU: the weights of the labelled pixels of a part, summed for each data set."""
        return (batch.pixels * self._weights).sum(1)

    def forward(self, logits: Tensor, batch: Batch, totals: Tensor) -> Tensor:
        """This part's contribution to the step's loss: float32 logits (B, K, h, w); `totals` of all parts."""
        loss = logits.sum() * 0  # a part without a labelled pixel still has a gradient, of zeros
        step_rows = sum(batch.set_rows)
        for number, own_logits, labels in _by_set(logits, batch):
            log_probabilities = union_log_probabilities(own_logits, self._unions[number])
            if totals[number] > 0:
                weights = self._buffer("weights", number)
                total = functional.nll_loss(log_probabilities, labels, weights, ignore_index=VOID, reduction="sum")
                loss = loss + total * (batch.set_rows[number] / step_rows / float(totals[number]))
            if self._lovasz:
                mean = _lovasz_of_maps(log_probabilities, self._buffer("merged", number)[labels])
                loss = loss + self._lovasz * mean * (len(labels) / step_rows)
        return loss

    def _buffer(self, name: str, number: int) -> Tensor:
        buffer: Tensor = getattr(self, f"{name}{number}")
        return buffer


def union_log_probabilities(logits: Tensor, unions: ClassUnions) -> Tensor:
    """Logits (B, K, h, w) -> log-probabilities (B, D, h, w) of a data set's classes: sums of members, -inf of none."""
    if unions.is_identity and len(unions.members) == logits.shape[1]:
        return logits.log_softmax(1)
    parts = []
    for union in unions.members:
        if not union:
            parts.append(torch.full_like(logits[:, 0], float("-inf")))
        elif len(union) == 1:
            parts.append(logits[:, union[0]])
        else:
            parts.append(torch.stack([logits[:, index] for index in union]).logsumexp(0))
    return torch.stack(parts, dim=1) - logits.logsumexp(1, keepdim=True)


def class_weights(pixels: NDArray[np.int64], unions: ClassUnions, kind: str) -> NDArray[np.float64]:
    """(D,) weights from pixel counts (D,), their mean over the labelled pixels 1; 0 for a class that is left out."""
    # Classes that are one to the network are counted as one: a logit is not pulled by as many weights as it has names.
    known = np.array([bool(union) for union in unions.members])
    counts = unions.merge_counts(pixels)
    fraction = counts / max(counts.sum(), 1)
    if not fraction.any():
        return known.astype(np.float64)
    raw = 1 / np.log(1.1 + fraction) if kind == "log" else np.ones_like(fraction)
    return np.where(known, (raw / (raw * fraction).sum())[unions.merged[: len(known)]], 0.0)


def lovasz_softmax(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The mean over the classes among the labels of the Lovász extension of 1 - IoU (Berman et al., CVPR 2018).

    probabilities (D, N) float32; labels (N,) int64 of 0 to D - 1, others are void. Returns a scalar from 0 to 1; 0 for
    N = 0.
    """
    # Where all probabilities are 0 or 1 it is the mean of 1 - IoU itself (the paper's equations 8 and 11).
    # Cross-entropy counts pixels; this counts classes, and what is painted too large as much as what is missed.
    # All classes at once, and void pixels ranked last rather than left out: a GPU would wait for each count of them.
    classes = len(probabilities)
    inside = labels == torch.arange(classes, device=labels.device)[:, None]  # (D, N)
    errors = torch.where(inside, 1 - probabilities, probabilities)
    ranked, order = errors.masked_fill((labels < 0) | (labels >= classes), -1).sort(descending=True)
    losses = (ranked.clamp_min(0) * _jaccard_steps(inside.gather(1, order)).to(ranked.dtype)).sum(1)
    present = inside.any(1)
    return (losses * present).sum() / present.sum().clamp_min(1)


def _jaccard_steps(inside: Tensor) -> Tensor:
    """(D, N) bool in the order of falling errors -> (D, N) float64: how much 1 - IoU grows with each wrong pixel."""
    hits = inside.double().cumsum(1)
    misses = torch.arange(1, inside.shape[1] + 1, dtype=torch.float64, device=inside.device) - hits
    lost = 1 - (hits[:, -1:] - hits) / (hits[:, -1:] + misses)
    return lost.diff(prepend=lost.new_zeros(len(lost), 1))


def _lovasz_of_maps(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Lovász-Softmax of (B, D, h, w) at every other pixel of labels (B, h, w) that is not void."""
    step = _LOVASZ_STRIDE
    log_probabilities, labels = log_probabilities[:, :, ::step, ::step], labels[:, ::step, ::step]
    return lovasz_softmax(log_probabilities.transpose(0, 1).flatten(1).exp(), labels.flatten())


def _by_set(logits: Tensor, batch: Batch) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each data set that is in a batch, the logits of its rows, and their labels as int64."""
    numbers = sorted(set(batch.sets))
    rows = [[row for row, number in enumerate(batch.sets) if number == wanted] for wanted in numbers]
    labels = batch.labels
    if len(numbers) > 1:  # one copy to the device that is not waited for, where indexing by lists waits at each
        order = torch.tensor(list(chain(*rows))).to(logits.device, non_blocking=True)
        logits, labels = logits.index_select(0, order), labels.index_select(0, order)
    counts = [len(each) for each in rows]
    yield from zip(numbers, torch.split(logits, counts), torch.split(labels.long(), counts), strict=True)
