"""A small drawn data set on disk, and runs on it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from drawn import CLASSES, draw_scene

from tmaseg.training import Job, Recipe, Source

WriteSet = Callable[..., Path]


@pytest.fixture
def drawn(tmp_path: Path) -> WriteSet:
    """`drawn("data", train=8, val=4)`: writes such a set as a folder that `--dataset folder` reads; returns it."""

    def write(name: str = "data", *, names: tuple[str, ...] = CLASSES, **splits: int) -> Path:
        root = tmp_path / name
        for split, count in (splits or {"train": 8, "val": 3}).items():
            for index in range(count):
                rgb, labels = draw_scene(1000 * (split != "train") + index)
                for kind, picture in (("images", rgb[..., ::-1]), ("masks", labels)):
                    path = root / kind / split / f"{split}_{index:03}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    assert cv2.imwrite(str(path), picture)
        (root / "labels.yaml").write_text(yaml.safe_dump({"name": "drawn", "names": list(names)}))
        return root

    return write


@pytest.fixture
def job(drawn: WriteSet, tmp_path: Path) -> Callable[..., Job]:
    """`job(recipe, "run")`: a run on eight drawn pictures."""
    data: list[Path] = []

    def make(recipe: Recipe, name: str = "run") -> Job:
        data.extend([drawn()] if not data else [])
        return Job(recipe, (Source("folder", data[0]),), tmp_path / name, device="cpu")

    return make


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from more, and lose much where other work waits for the same cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
