"""Pictures that an evaluation writes: masks, error maps, and files for a benchmark's server."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tmaseg.arrays import RGB, Labels
from tmaseg.data import ClipFrame, Dataset
from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import output_file, output_name, output_names
from tmaseg.labels import LabelSet

SERVERS = ("cityscapes", "kitti")  # data sets whose servers take regular ids
_WRONG_COLOUR = np.array([255, 40, 40])


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
        """`frames`: all frames that may be written."""
        names = output_names([frame.name for frame in frames], ".png")
        self._paths = {
            frame.name: (folder / "masks" / path, folder / "errors" / path)
            for frame, path in zip(frames, names, strict=True)
        }
        self._labels = labels
        self._palette = labels.palette()

    @property
    def outputs(self) -> list[Path]:
        """All files that may be written."""
        return [path for paths in self._paths.values() for path in paths]

    def write(self, frame: ClipFrame, rgb: RGB, prediction: Labels, truth: Labels | None) -> None:
        """`masks/NAME.png`, indexed, values are class ids, and `errors/NAME.png`. Raises OutputError."""
        mask_path, errors_path = self._paths[frame.name]
        mask = Image.fromarray(prediction)
        mask.putpalette(self._palette.tobytes())
        _save_png(mask, mask_path)
        if truth is not None:
            _save_png(Image.fromarray(error_map(rgb, prediction, truth, self._labels)), errors_path)


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
        _save_png(Image.fromarray(self._table[prediction]), path)


def _save_png(picture: Image.Image, path: Path) -> None:
    with output_file(path, "the picture") as part:
        picture.save(part, "PNG", compress_level=3)
