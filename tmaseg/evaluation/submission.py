"""Pictures that an evaluation leaves behind: masks, error maps, and the folder that a benchmark's server takes."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tmaseg.arrays import RGB, Labels
from tmaseg.data import ClipFrame, Dataset
from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import atomic_write, output_name, output_names
from tmaseg.labels import LabelSet

SERVERS = ("cityscapes", "kitti")  # data sets whose servers take regular ids
_WRONG = np.array([255, 40, 40])


def error_map(rgb: RGB, prediction: Labels, truth: Labels, labels: LabelSet) -> RGB:
    """(H, W, 3) uint8: the picture dimmed and grey, wrong pixels red, void black."""
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))[..., None] * 0.45
    void = (truth == labels.ignore_index) | np.isin(truth, labels.void)
    wrong = (prediction != truth) & ~void
    painted = np.where(wrong[..., None], 0.35 * grey + 0.8 * _WRONG, np.broadcast_to(grey, rgb.shape))
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
        """The frame's file."""
        save_png(Image.fromarray(self._table[prediction]), submission_path(self._folder, frame))


def submission_path(folder: Path, frame: ClipFrame) -> Path:
    """berlin/berlin_000000_000019 -> FOLDER/berlin_000000_000019.png: servers find files by their names."""
    return folder / output_name(frame.name.rpartition("/")[2], ".png")


def check_submission(dataset: Dataset, frames: Sequence[ClipFrame], folder: Path) -> list[str]:
    """What a server would refuse: frames without a file or with two, other sizes, other ids, files of no frame."""
    allowed = {0, *(dataset.labels.ids or range(len(dataset.labels)))}
    problems = []
    found = sorted(folder.rglob("*.png"))
    claimed: set[Path] = set()
    for frame in frames:
        stem = frame.name.rpartition("/")[2]
        files = [path for path in found if path.name.startswith(stem)]
        claimed.update(files)
        if len(files) != 1:
            problems.append(f"{stem}: {len(files)} files in {folder}, but a server takes exactly one")
            continue
        with Image.open(files[0]) as mask, Image.open(frame.image) as picture:
            if mask.mode != "L":
                problems.append(f"{files[0].name}: mode {mask.mode}, but it must be 8-bit grey")
            elif mask.size != picture.size:
                problems.append(
                    f"{files[0].name}: {mask.size[0]}x{mask.size[1]}, but its picture is "
                    f"{picture.size[0]}x{picture.size[1]}"
                )
            else:
                foreign = sorted(set(np.unique(np.asarray(mask)).tolist()) - allowed)
                if foreign:
                    problems.append(f"{files[0].name}: ids {foreign} are no regular ids of {dataset.labels.name}")
    problems += [f"{path.name}: the file of no frame" for path in found if path not in claimed]
    return problems


def save_png(picture: Image.Image, path: Path) -> None:
    """Writes a PNG, folders included. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            picture.save(part, "PNG", compress_level=3)
    except OSError as error:
        raise OutputError(f"{path}: the picture cannot be written ({error}): choose another folder") from error
