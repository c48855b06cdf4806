"""Small drawn pictures, and recipes that train a tiny network on them in seconds."""

from pathlib import Path

import cv2
import numpy as np
import yaml

from tmaseg.training import Recipe
from tmaseg.training.recipe import from_values

CLASSES = ("ground", "sky", "box", "ball")
SHADES = np.array([(90, 80, 70), (150, 190, 230), (200, 60, 50), (60, 170, 80)], np.int16)
NETWORK = {
    "backbone": "resnet18",
    "width": 8,
    "output_stride": 16,
    "aggregation": "decoder",
    "memory_frames": 2,
    "key_channels": 8,
    "head_channels": 32,
}


def draw_scene(seed: int, size_hw: tuple[int, int] = (48, 64)) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) and (H, W): a sky, a ground, a box and a ball, with noise."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    labels = np.zeros(size_hw, np.uint8)
    labels[: rng.integers(height // 3, height // 2)] = 1
    left, top = int(rng.integers(0, width // 2)), int(rng.integers(height // 4, height // 2))
    labels[top : top + height // 3, left : left + width // 4] = 2
    centre = (int(rng.integers(width // 2, width)), int(rng.integers(height // 3, height)))
    cv2.circle(labels, centre, height // 6, 3, -1)
    rgb = SHADES[labels] + rng.normal(0, 12, (*size_hw, 3)) + rng.integers(-15, 16)
    return np.clip(rgb, 0, 255).astype(np.uint8), labels


def write_drawn(root: Path, *, names: tuple[str, ...] = CLASSES, **splits: int) -> Path:
    """Such a set as a folder that `--dataset folder` reads: eight pictures to train on and three to validate."""
    for split, count in (splits or {"train": 8, "val": 3}).items():
        for index in range(count):
            rgb, labels = draw_scene(1000 * (split != "train") + index)
            for kind, picture in (("images", rgb[..., ::-1]), ("masks", labels)):
                path = root / kind / split / f"{split}_{index:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), picture)
    (root / "labels.yaml").write_text(yaml.safe_dump({"name": "drawn", "names": list(names)}))
    return root


def tiny_recipe(**groups: dict[str, object]) -> Recipe:
    """A recipe for a tiny network: 4 crops of 64x48 a step, nothing random in the pictures unless asked for."""
    values: dict[str, dict[str, object]] = {
        "network": dict(NETWORK),
        "augmentation": {
            "crop": "64x48",
            "scale_min": 1.0,
            "scale_max": 1.0,
            "flip": 0.0,
            "light_probability": 0.0,
            "colour_probability": 0.0,
        },
        "memory": {"self_probability": 0.5, "moved_probability": 0.5, "past_probability": 0.0},
        "loss": {"stride": 1},
        "optimizer": {
            "algorithm": "adamw",
            "lr": 3e-3,
            "weight_decay": 0.01,
            "batch": 4,
            "ema_decay": 0.9,
        },
        "run": {"steps": 8, "precision": "fp32", "threads": 2, "validate_every": 4, "save_every": 4},
    }
    for group, changes in groups.items():
        values[group] = {**values.get(group, {}), **changes}
    return from_values(values)
