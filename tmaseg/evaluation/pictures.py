"""Pictures of an evaluation: masks, error maps, files for a benchmark's server, and the worst frames for the report."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tmaseg.arrays import RGB, Labels
from tmaseg.data import ClipFrame, Dataset
from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import atomic_write, output_name, output_names
from tmaseg.labels import LabelSet
from tmaseg.render import Painter

SERVERS = ("cityscapes", "kitti")  # data sets whose servers take regular ids
_WRONG_COLOUR = np.array([255, 40, 40])
_WIDTH_PX = 360


def error_map(rgb: RGB, prediction: Labels, truth: Labels, labels: LabelSet) -> RGB:
    """(H, W, 3) uint8: the picture dimmed and grey, wrong pixels red, void black."""
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))[..., None] * 0.45
    void = (truth == labels.ignore_index) | np.isin(truth, labels.void)
    wrong = (prediction != truth) & ~void
    painted = np.where(wrong[..., None], 0.35 * grey + 0.8 * _WRONG_COLOUR, np.broadcast_to(grey, rgb.shape))
    painted[void] = 0
    return np.clip(painted, 0, 255).astype(np.uint8)


class PictureFolder:
    """Masks and error maps of one pass, named after their frames."""

    def __init__(self, folder: Path, labels: LabelSet, frames: Sequence[ClipFrame]) -> None:
        """`frames`: all that may be written."""
        names = output_names([frame.name for frame in frames], ".png")
        self._paths = {
            frame.name: (folder / "masks" / path, folder / "errors" / path)
            for frame, path in zip(frames, names, strict=True)
        }
        self._labels = labels
        self._palette = labels.palette()

    @property
    def outputs(self) -> list[Path]:
        """Every file that may be written."""
        return [path for paths in self._paths.values() for path in paths]

    def write(self, frame: ClipFrame, rgb: RGB, prediction: Labels, truth: Labels | None) -> None:
        """`masks/NAME.png`, indexed, values are class ids, and `errors/NAME.png`. Raises OutputError."""
        mask_path, errors_path = self._paths[frame.name]
        mask = Image.fromarray(prediction)
        mask.putpalette(self._palette.tobytes())
        save_png(mask, mask_path)
        if truth is not None:
            save_png(Image.fromarray(error_map(rgb, prediction, truth, self._labels)), errors_path)


class Submission:
    """One file a frame with the data set's regular ids, at full size."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        """Raises ConfigError for a data set whose server is not known, OutputError for a folder that is not empty."""
        if dataset.name not in SERVERS or dataset.void_class is not None:
            raise ConfigError(f"--submit is for {' and '.join(SERVERS)}, but the data set is {dataset.name}")
        if folder.is_dir() and any(folder.rglob("*.png")):
            raise OutputError(
                f"{folder} holds pictures already, and a server refuses two for one frame: give a new folder"
            )
        self._folder = folder
        self._table = dataset.labels.encode_table()
        self._table[len(dataset.labels) :] = 0  # "unlabeled", where no class was found

    def write(self, frame: ClipFrame, prediction: Labels) -> None:
        """berlin/berlin_000000_000019 -> FOLDER/berlin_000000_000019.png: servers find files by their names."""
        path = self._folder / output_name(frame.name.rpartition("/")[2], ".png")
        save_png(Image.fromarray(self._table[prediction]), path)


@dataclass(frozen=True, order=True)
class WorstFrame:
    """A frame with a low score."""

    miou: float
    """In [0, 1]."""
    name: str
    pictures: tuple[tuple[str, bytes], ...] = field(compare=False, repr=False)
    """Title and JPEG file of each: picture, ground truth, prediction, mistakes."""


class WorstFrames:
    """At most `count` frames, those of the lowest mIoU so far."""

    def __init__(self, count: int, labels: LabelSet) -> None:
        self._count = count
        self._labels = labels
        self._painter = Painter(labels, opacity=0.65)
        self.frames: list[WorstFrame] = []
        """In order of mIoU."""

    def offer(self, miou: float, name: str, rgb: RGB, prediction: Labels, truth: Labels) -> None:
        """Keeps the frame if its mIoU is among the lowest so far. Arguments as of `error_map`."""
        full = len(self.frames) == self._count
        if not self._count or math.isnan(miou) or (full and miou >= self.frames[-1].miou):
            return
        pictures = {
            "picture": rgb,
            "ground truth": self._painter.paint(rgb, truth),
            "prediction": self._painter.paint(rgb, prediction),
            "mistakes in red": error_map(rgb, prediction, truth, self._labels),
        }
        jpegs = tuple((title, _jpeg(picture)) for title, picture in pictures.items())
        self._keep([*self.frames, WorstFrame(miou, name, jpegs)])

    def merge(self, other: "WorstFrames") -> None:
        """Adds the frames of another process."""
        self._keep([*self.frames, *other.frames])

    def _keep(self, frames: list[WorstFrame]) -> None:
        self.frames = sorted(frames)[: self._count]


def save_png(picture: Image.Image, path: Path) -> None:
    """Writes a PNG, folders included. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            picture.save(part, "PNG", compress_level=3)
    except OSError as error:
        raise OutputError(f"{path}: the picture cannot be written ({error}): choose another folder") from error


def _jpeg(picture: RGB) -> bytes:
    height = max(1, round(_WIDTH_PX * picture.shape[0] / picture.shape[1]))
    small = cv2.resize(picture, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    return bytes(data.tobytes())
