"""Objective: the loss, over several data sets with their own classes, classes weighted, easy pixels left out.

Notation: B rows, K classes of the network, D classes of a data set, h w the places that the loss looks at.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tmaseg.training.augment import VOID
from tmaseg.training.batches import Batch
from tmaseg.training.classes import Unions
from tmaseg.training.lovasz import lovasz_softmax
from tmaseg.training.recipe import Loss
from tmaseg.training.datasets import TrainSet

_MOST = 10.0  # times the mean weight: a class of a few pixels would drown the others
_APART = 2  # Lovász-Softmax ranks every other pixel, across and down: all of them would cost half a step more on a CPU


class Objective(nn.Module):
    """The mean over each data set's labelled pixels of their weighted cross-entropy, data sets by their rows.

    With `lovasz` Lovász-Softmax is added, weighted so, of both heads like the rest.

    Parts of a step, here and in other processes, add up to the loss of the whole step at once; but for OHEM and
    Lovász-Softmax, which rank the pixels of each part alone.
    """

    def __init__(self, sets: Sequence[TrainSet], loss: Loss) -> None:
        super().__init__()
        self._loss = loss
        self._unions = [data.unions for data in sets]
        self._counted = []  # weights as `totals` uses them
        for number, data in enumerate(sets):
            weights = torch.tensor(class_weights(data.pixels, data.unions, loss.class_weights), dtype=torch.float32)
            self._counted.append(weights.double())
            self.register_buffer(f"weights{number}", weights)
            self.register_buffer(f"merged{number}", torch.from_numpy(data.unions.merged).long())

    def totals(self, batch: Batch) -> Tensor:
        """(sets,) float64 on the CPU: the weights of the labelled pixels of a part, summed for each data set."""
        totals = torch.zeros(len(self._unions), dtype=torch.float64)
        for number, rows in _rows(batch).items():
            counts = torch.bincount(batch.labels[rows].flatten().long(), minlength=256).cpu()
            weights = self._counted[number]
            totals[number] = (counts[: len(weights)] * weights).sum()
        return totals

    def forward(self, logits: Tensor, batch: Batch, totals: Tensor) -> Tensor:
        """This part's share of the step's loss: float32 logits (B, K, h, w); `totals` of the whole step."""
        value = logits.sum() * 0  # a part without a labelled pixel still has a gradient, of zeros
        step_rows = sum(batch.set_rows)
        for number, rows in _rows(batch).items():
            some = logits if len(rows) == len(logits) else logits[rows]
            labels = (batch.labels if len(rows) == len(logits) else batch.labels[rows]).long()
            chances = log_chances(some, self._unions[number])
            weights = self._table("weights", number)
            if self._loss.ohem:
                mean = _hardest(chances, labels, weights, self._loss)
                value = value + mean * (len(rows) / step_rows)
            elif totals[number] > 0:
                total = functional.nll_loss(chances, labels, weights, ignore_index=VOID, reduction="sum")
                value = value + total * (batch.set_rows[number] / step_rows / float(totals[number]))
            if self._loss.lovasz:
                mean = _lovasz(chances, self._table("merged", number)[labels])
                value = value + self._loss.lovasz * mean * (len(rows) / step_rows)
        return value

    def _table(self, name: str, number: int) -> Tensor:
        table: Tensor = getattr(self, f"{name}{number}")
        return table


def log_chances(logits: Tensor, unions: Unions) -> Tensor:
    """Logits (B, K, h, w) -> log-probabilities (B, D, h, w) of a data set's classes, each the union of its members."""
    if unions.same and len(unions.members) == logits.shape[1]:
        return logits.log_softmax(1)
    return unions.unite(logits) - logits.logsumexp(1, keepdim=True)


def class_weights(pixels: NDArray[np.int64], unions: Unions, kind: ClassWeights) -> NDArray[np.float64]:
    """(D,) weights from pixel counts (D,), their mean over the labelled pixels 1; 0 for a class that is left out.

    Classes that are one to the network are counted as one: a logit is not pulled by as many weights as it has names.
    """
    known = np.array([bool(union) for union in unions.members])
    counts = unions.learnt(pixels)
    share = counts / max(counts.sum(), 1)
    present = share > 0
    if not present.any():
        return known.astype(np.float64)
    raw = np.ones_like(share)
    if kind == "log":
        raw = 1 / np.log(1.1 + share)
    elif kind != "none":
        middle = float(np.median(share[present])) if kind == "median" else 1.0
        raw = np.divide(middle, share, out=np.zeros_like(share), where=present)
        raw = np.sqrt(raw) if kind == "root" else raw
        raw = np.minimum(raw, _MOST * raw[present].mean())
    return np.where(known, (raw / (raw * share).sum())[unions.merged[: len(known)]], 0.0)


def _hardest(chances: Tensor, labels: Tensor, weights: Tensor, loss: Loss) -> Tensor:
    """Mean loss of the pixels whose class is improbable, and of at least the hardest few."""
    labelled = labels != VOID
    if not labelled.any():
        return chances.new_zeros(())
    each = functional.nll_loss(chances, labels, ignore_index=VOID, reduction="none")[labelled]
    with torch.no_grad():
        least = max(1, int(loss.ohem_least * each.numel()))
        bound = min(-float(np.log(loss.ohem)), float(each.topk(least).values[-1]))
        chosen = each >= bound
        weight = weights[labels[labelled]] * chosen
    return (each * weight).sum() / weight.sum().clamp_min(1e-9)


def _lovasz(chances: Tensor, labels: Tensor) -> Tensor:
    """Lovász-Softmax of log-probabilities (B, D, h, w) at every other pixel of labels (B, h, w) that is not void."""
    chances, labels = chances[:, :, ::_APART, ::_APART], labels[:, ::_APART, ::_APART]
    labelled = labels != VOID
    return lovasz_softmax(chances.movedim(1, 3)[labelled].exp(), labels[labelled])


def _rows(batch: Batch) -> dict[int, list[int]]:
    """The rows of each data set that is in a batch."""
    rows: dict[int, list[int]] = {}
    for row, number in enumerate(batch.sets):
        rows.setdefault(number, []).append(row)
    return rows
