"""A constant for each class, added to its logits, that raises the mIoU on training pictures (Menon et al., ICLR 2021).

python scripts/adjust_logits.py WEIGHTS -o OUT.safetensors --dataset NAME --data DIR [--dataset ...]

A loss with class weights paints rare classes too large. The constants go into the bias of the classifier: the network
and its cost stay as they are. They are found on `train`; scores on `val` and `test` stay honest.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

import tmaseg
from tmaseg.data import Dataset, open_dataset, spread
from tmaseg.errors import DataError, TmasegError
from tmaseg.evaluation.predict import ClassMapping
from tmaseg.model.checkpoint import load_checkpoint, save_checkpoint

PIXELS = 250_000  # of each data set
STEPS = (1.0, 0.5, 0.25, 0.125)  # tried in turn
ROUNDS = 3  # through all classes, with each step
BIAS = "head.classifier.bias"


@dataclass(frozen=True, eq=False)
class PixelSet:
    """Pixels of a data set, and what a network makes of them."""

    mapping: ClassMapping
    log_probabilities: Tensor
    """(K, N) float32."""
    truth: Tensor
    """(N,) int64, class ids of the data set, none of them void."""

    def miou(self, bias: Tensor) -> float:
        """The mIoU over the scored classes that occur, with `bias` (K,) added to the logits."""
        adjusted = (self.log_probabilities + bias[:, None]).softmax(0)
        labels = torch.from_numpy(self.mapping.classify(adjusted[:, None])[0]).long()
        confusion = torch.bincount(256 * self.truth + labels, minlength=256 * 256).view(256, 256).double()
        scored = list(self.mapping.scored)
        union = (confusion.sum(0) + confusion.sum(1) - confusion.diag())[scored]
        return float((confusion.diag()[scored] / union)[union > 0].mean())


def read_pixels(
    segmenter: tmaseg.Segmenter, data: Dataset, split: str, pictures: int, rng: np.random.Generator
) -> PixelSet:
    """Pixels drawn at random from that many pictures of a split, each segmented alone. Raises DataError."""
    mapping = ClassMapping.by_name(segmenter.labels, data.labels)
    samples = spread(data.samples(split), pictures)
    if not samples:
        raise DataError(f"{data.root}: no picture in the split {split}: choose another with --split")
    found: list[tuple[Tensor, Tensor]] = []
    for sample in samples:
        rgb, truth = data.image(sample.frame), mapping.merged[data.truth(sample.frame)]
        height, width = truth.shape
        segmenter.reset()
        wide = cv2.resize(rgb, (round(width * data.stretch), height)) if data.stretch != 1 else rgb
        logits = segmenter.step(np.asarray(wide, np.uint8), logits=True).logits
        assert logits is not None
        rows, columns = np.nonzero(np.isin(truth, mapping.scored))
        chosen = rng.permutation(len(rows))[: PIXELS // len(samples)]
        y, x = rows[chosen], columns[chosen]
        seen = logits[:, y, x * logits.shape[2] // width].float().log_softmax(0)  # (K, n)
        found.append((seen.cpu(), torch.from_numpy(truth[y, x]).long()))
    log_probabilities, labels = zip(*found, strict=True)
    return PixelSet(mapping, torch.cat(log_probabilities, 1), torch.cat(labels))


def fit_bias(sets: Sequence[PixelSet]) -> Tensor:
    """(K,) constants that raise the mean of the sets' mIoU: one class after the other, up or down, while it helps."""
    bias = torch.zeros(len(sets[0].log_probabilities))
    best = sum(each.miou(bias) for each in sets)
    for step in STEPS:
        for _ in range(ROUNDS):
            before = best
            for index in range(len(bias)):
                for change in (step, -step):
                    changed = bias.clone()
                    changed[index] += change
                    if (score := sum(each.miou(changed) for each in sets)) > best:
                        bias, best = changed, score
                        break
            if best == before:
                break
    return bias


def adjust(weights: str, output: Path, sources: Sequence[tuple[str, Path]], *, split: str, pictures: int) -> None:
    """Writes the weights with other biases, and prints what these do on training pictures. Raises TmasegError."""
    checkpoint = load_checkpoint(weights)
    segmenter = tmaseg.load(weights, precision="fp32")
    rng = np.random.default_rng(0)
    sets = [read_pixels(segmenter, open_dataset(*source), split, pictures, rng) for source in sources]
    bias = fit_bias(sets)
    for (name, _), pixels in zip(sources, sets, strict=True):
        before, after = pixels.miou(torch.zeros_like(bias)), pixels.miou(bias)
        print(f"{name}: mIoU on pixels of {split} {100 * before:.1f}, adjusted {100 * after:.1f}")
    for name, value in zip(checkpoint.labels.names, bias.tolist(), strict=True):
        print(f"{name}: {value:+.3f}")
    state = checkpoint.state | {BIAS: checkpoint.state[BIAS] + bias.to(checkpoint.state[BIAS].dtype)}
    provenance = checkpoint.provenance | {"logit_adjustment": [round(value, 3) for value in bias.tolist()]}
    save_checkpoint(output, replace(checkpoint, state=state, provenance=provenance), half=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("weights", help="name of shipped weights, or a file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file of the adjusted weights")
    parser.add_argument("--dataset", action="append", required=True, help="data set, as in `tmaseg train`; repeatable")
    parser.add_argument("--data", action="append", type=Path, required=True, help="folder of each, in order")
    parser.add_argument("--split", default="train", help="split that the constants are found on (default: train)")
    parser.add_argument("--pictures", type=int, default=400, help="of each data set (default: 400)")
    args = parser.parse_args()
    if len(args.dataset) != len(args.data):
        parser.error("give one --data for each --dataset")
    try:
        sources = list(zip(args.dataset, args.data, strict=True))
        adjust(args.weights, args.output, sources, split=args.split, pictures=args.pictures)
    except TmasegError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
