"""Trains the `street` weights from nothing on cityscapes256 and CamVid: Cityscapes' 19 classes, on two CPU cores.

    python scripts/train_street.py --data ../shared/data -o RUN_DIR --minutes 125

Ends with RUN_DIR/street.safetensors. Run it again to go on from RUN_DIR/last.pt. CamVid's 11 classes are unions of
Cityscapes' 19, so its loss is taken on the summed probabilities of each union: both data sets train one head.
"""

import argparse
import json
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tmaseg.labels import get_labels
from tmaseg.model.checkpoint import Checkpoint, View, save_checkpoint
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet

VOID = 255
CROP_HW = (288, 448)
BATCH = 8
# For each CamVid class, the Cityscapes classes it is the union of.
UNIONS = [(10,), (2, 3), (5,), (0,), (1,), (8, 9), (6, 7), (4,), (13, 14, 15, 16), (11,), (12, 17, 18)]
CONFIG = TMANetConfig(classes=19, depth=18, output_stride=16, aggregation="decoder", head_channels=256)


@dataclass
class Images:
    """A labelled set held decoded in memory, and the size at which its pixels are square."""

    images: list[np.ndarray]
    labels: list[np.ndarray]
    names: list[str]
    size_hw: tuple[int, int]
    camvid: bool

    @classmethod
    def read(cls, root: Path, split: str, *, size_hw: tuple[int, int], camvid: bool) -> "Images":
        paths = sorted((root / split).iterdir())
        images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
        labels = [cv2.imread(str(root / f"{split}annot" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED) for path in paths]
        if camvid:
            labels = [np.where(label > 10, VOID, label).astype(np.uint8) for label in labels]
        return cls(images, labels, [path.stem for path in paths], size_hw, camvid)

    def successor(self, index: int) -> int:
        """The labelled frame that follows within two seconds, or the frame itself."""
        if index + 1 < len(self.names) and self.camvid:
            (a, m), (b, n) = (name.rsplit("_", 1) for name in self.names[index : index + 2])
            if a == b and 0 < int(n.strip("f")) - int(m.strip("f")) <= 60:
                return index + 1
        return index


def view(data: Images, index: int, matrix: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One crop: image and label under the same 2x3 matrix (source pixels -> crop), then photometric distortion."""
    size = (CROP_HW[1], CROP_HW[0])
    image = cv2.warpAffine(data.images[index], matrix, size, flags=cv2.INTER_LINEAR, borderValue=(124, 116, 104))
    label = cv2.warpAffine(data.labels[index], matrix, size, flags=cv2.INTER_NEAREST, borderValue=VOID)
    x = image.astype(np.float32)
    if rng.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-9, 9)) % 180
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.5, 1.5), 0, 255)
        x = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    x = (x - 128) * rng.uniform(0.6, 1.4) + 128 + rng.uniform(-32, 32)
    if rng.random() < 0.2:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.5, 1.5))
    if rng.random() < 0.2:
        x += rng.normal(0, rng.uniform(2, 10), x.shape).astype(np.float32)
    return np.clip(x, 0, 255).astype(np.uint8), label


def placement(data: Images, index: int, rng: np.random.Generator) -> np.ndarray:
    """A random scale, flip and crop as a 2x3 matrix from source pixels to crop pixels."""
    height, width = data.images[index].shape[:2]
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(2.0))))
    sy, sx = scale * data.size_hw[0] / height, scale * data.size_hw[1] / width
    free = np.array([CROP_HW[1] - sx * width, CROP_HW[0] - sy * height])
    offset = free * rng.random(2)
    if rng.random() < 0.5:
        return np.array([[-sx, 0, offset[0] + sx * (width - 1)], [0, sy, offset[1]]], np.float32)
    return np.array([[sx, 0, offset[0]], [0, sy, offset[1]]], np.float32)


def moved(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same placement after a small camera motion: zoom about a point, shift, rotation."""
    centre = (CROP_HW[1] * rng.uniform(0.3, 0.7), CROP_HW[0] * rng.uniform(0.3, 0.7))
    motion = np.eye(3)
    motion[:2] = cv2.getRotationMatrix2D(centre, rng.normal(0, 1.0), float(np.exp(rng.normal(0, 0.06))))
    motion[:2, 2] += rng.normal(0, 8, 2)
    return (motion @ np.vstack([matrix, [0, 0, 1]]))[:2].astype(np.float32)


def make_batch(sets: list[Images], shares: list[float], pairs: bool, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """BATCH crops. With `pairs`, crops 2i and 2i+1 are two moments of one scene."""
    rows = []
    while len(rows) < BATCH:
        data = sets[int(rng.choice(len(sets), p=shares))]
        index = int(rng.integers(len(data.images)))
        matrix = placement(data, index, rng)
        rows.append((*view(data, index, matrix, rng), data.camvid))
        if pairs:
            later = data.successor(index) if rng.random() < 0.5 else index
            after = matrix if later != index else moved(matrix, rng)
            rows.append((*view(data, later, after, rng), data.camvid))
    rows.sort(key=lambda row: row[2])  # Cityscapes first, and stable: the two crops of a pair stay neighbours
    images, labels, camvid = zip(*rows, strict=True)
    # The loss is taken at half resolution. A random phase keeps the labels centred on the logits' samples on average.
    y, x = rng.integers(2, size=2)
    halved = np.ascontiguousarray(np.stack(labels)[:, y::2, x::2])
    return torch.from_numpy(np.stack(images)), torch.from_numpy(halved), torch.tensor(BATCH - sum(camvid))


def batches(sets: list[Images], shares: list[float], seed: int, pair_share: float) -> "queue.Queue[tuple[Tensor, ...]]":
    """A queue that a thread keeps filled."""
    ready: queue.Queue[tuple[Tensor, ...]] = queue.Queue(4)

    def fill() -> None:
        cv2.setNumThreads(1)
        rng = np.random.default_rng(seed)
        while True:
            pairs = rng.random() < pair_share
            ready.put((*make_batch(sets, shares, pairs, rng), torch.tensor(pairs)))

    threading.Thread(target=fill, daemon=True).start()
    return ready


def normalise(images: Tensor) -> Tensor:
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    return ((images.permute(0, 3, 1, 2).float() - mean) / std).contiguous(memory_format=torch.channels_last)


def unite(logits: Tensor) -> Tensor:
    """(B, 19, H, W) -> (B, 11, H, W): the log of each union's summed probability."""
    matrix = torch.zeros(19, len(UNIONS))
    for index, union in enumerate(UNIONS):
        matrix[list(union), index] = 1
    return torch.einsum("bkhw,ku->buhw", logits.softmax(1), matrix).contiguous().clamp_min(1e-6).log()


def loss_of(logits: Tensor, labels: Tensor, city: int, weights: tuple[Tensor, Tensor]) -> Tensor:
    """The first `city` rows are Cityscapes', the others CamVid's; each pixel counts by its class weight."""
    logits = logits.contiguous()
    total = logits.new_zeros(())
    if city:
        loss = functional.cross_entropy(logits[:city], labels[:city].long(), weights[0], ignore_index=VOID)
        total = total + loss * city / BATCH
    if city < BATCH:
        loss = functional.nll_loss(unite(logits[city:]), labels[city:].long(), weights[1], ignore_index=VOID)
        total = total + loss * (BATCH - city) / BATCH
    return total


def class_weights(data: Images, classes: int) -> Tensor:
    counts = np.zeros(256)
    for label in data.labels:
        counts += np.bincount(label.ravel(), minlength=256)
    share = counts[:classes] / counts[:classes].sum()
    weights = 1 / np.log(1.1 + share)
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)


def forward(net: TMANet, images: Tensor, pairs: bool) -> tuple[Tensor, Tensor]:
    features = net.features(images)
    past = features.stage4
    if pairs:  # each of the two reads the other
        past = past.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
    logits = net.answer(features, *net.encode_clip(past[:, None]))
    half = (CROP_HW[0] // 2, CROP_HW[1] // 2)
    return net.resize(logits, half), net.resize(net.auxiliary(features.stage3), half)


@torch.no_grad()
def validate(net: TMANet, data: Images, every: int) -> float:
    net.eval()
    classes = 11 if data.camvid else 19
    confusion = np.zeros((classes, classes), np.int64)
    for image, label in list(zip(data.images, data.labels, strict=True))[::every]:
        image = cv2.resize(image, data.size_hw[::-1], interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, data.size_hw[::-1], interpolation=cv2.INTER_NEAREST)
        with torch.autocast("cpu", torch.bfloat16):
            features = net.features(normalise(torch.from_numpy(image)[None]))
            logits = net.answer(features, *net.encode_clip(features.stage4[:, None]))
        logits = net.resize(logits.float(), data.size_hw)
        guess = (unite(logits) if data.camvid else logits).argmax(1)[0].numpy()
        known = label < classes
        confusion += np.bincount(label[known].astype(int) * classes + guess[known], minlength=classes**2).reshape(
            classes, classes
        )
    hit = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    return float((hit[union > 0] / union[union > 0]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cityscapes256/ and camvid/")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=125, help="the learning rate falls to zero over this time")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--pairs", type=float, default=0.35, help="share of batches made of two moments of each scene")
    parser.add_argument("--every", type=int, default=400, help="steps between validations")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    cityscapes = {"size_hw": (256, 512), "camvid": False}
    camvid = {"size_hw": (360, 480), "camvid": True}
    sets = [
        Images.read(args.data / "cityscapes256", "train", **cityscapes),
        Images.read(args.data / "camvid", "train", **camvid),
    ]
    vals = [
        Images.read(args.data / "cityscapes256", "val", **cityscapes),
        Images.read(args.data / "camvid", "val", **camvid),
    ]
    weights = (class_weights(sets[0], 19), class_weights(sets[1], 11))

    torch.manual_seed(0)
    net = TMANet(CONFIG).to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    decay = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}], lr=args.lr
    )
    step, spent, last = 0, 0.0, args.output / "last.pt"
    if last.exists():
        saved = torch.load(last, weights_only=True)
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["seconds"]
    ready = batches(sets, [0.7, 0.3], seed=step, pair_share=args.pairs)
    started, finished = time.monotonic() - spent, False
    while not finished:
        seconds = time.monotonic() - started
        left = 1 - seconds / (60 * args.minutes)
        finished = left <= 0
        rate = args.lr * min(1, (step + 1) / 300) * max(left, 0) ** 0.9
        for group in optimiser.param_groups:
            group["lr"] = rate
        images, labels, city, pairs = ready.get()
        net.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits, auxiliary = forward(net, normalise(images), bool(pairs))
        loss = loss_of(logits.float(), labels, int(city), weights)
        loss = loss + 0.4 * loss_of(auxiliary.float(), labels, int(city), weights)
        if not torch.isfinite(loss):
            raise SystemExit(f"the loss is {loss.item()} at step {step}")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        average.update_parameters(net)
        step += 1
        row: dict[str, float] = {}
        if step % 50 == 0:
            row = {"step": step, "loss": round(loss.item(), 4), "seconds": round(seconds)}
        if step % args.every == 0 or finished:
            subset = 1 if finished else 5
            scores = [round(100 * validate(average.module, data, subset), 2) for data in vals]
            row |= {"cityscapes256_val": scores[0], "camvid_val": scores[1]}
            state = {
                "net": net.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
                "seconds": seconds,
            }
            torch.save(state, last.with_suffix(".part"))
            last.with_suffix(".part").replace(last)
        if row:
            with (args.output / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
    provenance = {
        "data": "cityscapes256 train (2975 images), CamVid train (367 images)",
        "recipe": f"scripts/train_street.py --minutes {args.minutes:g}",
        "steps": step,
        "hours": round(seconds / 3600, 2),
        "scores": {"cityscapes256 val mIoU": scores[0], "CamVid val mIoU": scores[1]},
    }
    checkpoint = Checkpoint(CONFIG, get_labels("cityscapes"), average.module.state_dict(), View(size=360), provenance)
    save_checkpoint(args.output / "street.safetensors", checkpoint, half=True)


if __name__ == "__main__":
    main()
