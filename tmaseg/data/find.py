"""Opening a data set by the name and folder that a user gives."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tmaseg.data.camvid import find_camvid
from tmaseg.data.cityscapes import find_cityscapes, find_cityscapes256
from tmaseg.data.dataset import Dataset
from tmaseg.data.described import find_yaml
from tmaseg.data.folder import find_folder
from tmaseg.data.kitti import find_kitti, find_kitti_step
from tmaseg.data.vspw import find_vspw
from tmaseg.errors import DataError

DATASETS: Mapping[str, Callable[[Path], Dataset]] = {
    "camvid": find_camvid,
    "cityscapes": find_cityscapes,
    "cityscapes256": find_cityscapes256,
    "idd-lite": lambda root: find_yaml(Path(__file__).with_name("idd-lite.yaml"), root),
    "kitti": find_kitti,
    "kitti-step": find_kitti_step,
    "vspw": find_vspw,
    "folder": find_folder,
}


def is_described(name: str) -> bool:
    """Whether a data set's name is that of a YAML file, which says itself where its pictures are."""
    return Path(name).suffix.lower() in (".yaml", ".yml")


def open_dataset(name: str, data: Path | None = None) -> Dataset:
    """The data set `name`, or the one that a YAML file of this name describes.

    `data` is its folder; None: what the environment variable says (CAMVID_DATASET, KITTI_STEP_DATASET ...), else
    ./data/NAME. Raises DataError that says where it looked and what it expected.
    """
    if is_described(name):
        return find_yaml(Path(name), data)
    if name.lower() not in DATASETS:
        known = ", ".join(DATASETS)
        raise DataError(f"unknown data set {name!r}; known are {known}, or a .yaml file that describes one")
    name = name.lower()
    root = data or data_root(name)
    if not root.is_dir():
        said = "is a file" if root.exists() else "does not exist"
        hint = "" if data else f", the default: give --data DIR or set {variable(name)}"
        raise DataError(f"{root} {said}{hint or ': give the folder of the data set with --data'}")
    return DATASETS[name](root)


def variable(name: str) -> str:
    """The environment variable that names a data set's folder."""
    return f"{name.upper().replace('-', '_')}_DATASET"


def data_root(name: str) -> Path:
    """The default folder of a data set: the environment variable, else ./data/NAME."""
    return Path(os.environ.get(variable(name)) or Path("data") / name)
