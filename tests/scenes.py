"""Small pictures with labels, as files and as a source."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tiny import noise_frames

from tmaseg.video.source import Damage, Frame, StreamInfo

SIZE_HW = (36, 48)


def scene(number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its labels: blocks that move a pixel a frame, some void."""
    blocks = np.random.default_rng(1).integers(0, 12, (6, 14)).astype(np.uint8)
    wide = cv2.resize(blocks, (14 * 8, SIZE_HW[0]), interpolation=cv2.INTER_NEAREST)
    labels = np.ascontiguousarray(wide[:, number : number + SIZE_HW[1]])
    colours = np.random.default_rng(2).integers(0, 256, (12, 3))
    noisy = colours[labels] + rng.integers(-20, 20, (*SIZE_HW, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8), labels


def write_frame(root: Path, images: str, masks: str, stem: str, number: int) -> None:
    rgb, labels = scene(number % 60, np.random.default_rng(number))
    for folder, picture in ((images, rgb), (masks, labels)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / folder / f"{stem}.png")


class Pictures:
    """Frames from memory, as a source."""

    warnings = ("a warning",)
    damage = Damage()

    def __init__(self, pictures):
        self.pictures = pictures
        height, width = pictures[0].shape[:2]
        self.info = StreamInfo("made.mp4", width, height, Fraction(25), Fraction(1, 25), len(pictures))

    def __iter__(self):
        for index, rgb in enumerate(self.pictures):
            yield Frame(rgb, index, Fraction(1, 25), index)


def noise(seed):
    return noise_frames(1, (48, 64), seed)[0]
