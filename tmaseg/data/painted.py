"""Painted samples: pictures with their labels over them, on one sheet, to see at a glance whether they fit."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tmaseg.data.check import spread
from tmaseg.data.dataset import RGB, Dataset, Labels
from tmaseg.errors import OutputError
from tmaseg.files import atomic_write
from tmaseg.labels import LabelSet

_WIDTH, _LINE, _COLUMN = 420, 22, 190
_OPACITY = 0.6


def paint_samples(dataset: Dataset, split: str, path: Path, *, count: int = 6) -> Path:
    """Writes a PNG of `count` labelled frames of a split, each beside its labels, over a legend. Raises OutputError."""
    frames = [frame for clip in dataset.split(split) for frame in clip.frames if frame.mask]
    rows = [
        _row(dataset.image(frame), dataset.truth(frame), dataset.labels, frame.name) for frame in spread(frames, count)
    ]
    sheet = np.concatenate([*rows, _legend(dataset.labels, 2 * _WIDTH)])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            Image.fromarray(sheet).save(part, "PNG")
    except OSError as error:
        raise OutputError(f"{path}: the picture cannot be written ({error}): choose another place") from error
    return path


def _row(rgb: RGB, truth: Labels, labels: LabelSet, name: str) -> RGB:
    height = max(1, round(_WIDTH * rgb.shape[0] / rgb.shape[1]))
    small = cv2.resize(rgb, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    ids = cv2.resize(truth, (_WIDTH, height), interpolation=cv2.INTER_NEAREST)
    colours = labels.palette()[ids]
    void = ((ids >= len(labels)) | np.isin(ids, labels.void))[..., None]
    painted = np.where(void, small * 0.35, small * (1 - _OPACITY) + colours * _OPACITY).astype(np.uint8)
    row = np.concatenate([np.asarray(small, np.uint8), painted], axis=1)
    _write(row, name, 6, 16)
    return row


def _legend(labels: LabelSet, width: int) -> RGB:
    names: Sequence[str] = [*labels.names, "void (dark)"]
    columns = max(1, width // _COLUMN)
    lines = -(-len(names) // columns)
    sheet = np.full((lines * _LINE + 8, width, 3), 24, np.uint8)
    for place, name in enumerate(names):
        x, y = (place % columns) * _COLUMN + 8, (place // columns) * _LINE + 6
        colour = labels.colours[place] if place < len(labels) else (90, 90, 90)
        sheet[y : y + 14, x : x + 14] = colour
        _write(sheet, name[:24], x + 20, y + 12)
    return sheet


def _write(picture: NDArray[np.uint8], text: str, x: int, y: int) -> None:
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)
