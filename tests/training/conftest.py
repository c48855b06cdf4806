"""A small drawn data set on disk, and runs on it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from drawn import CLASSES, write_drawn

from tmaseg.training import Recipe, Source, TrainJob

WriteSet = Callable[..., Path]


@pytest.fixture
def drawn(tmp_path: Path) -> WriteSet:
    """`drawn("data", train=8, val=4)`: writes such a set as a folder that `--dataset folder` reads; returns it."""

    def write(name: str = "data", *, names: tuple[str, ...] = CLASSES, **splits: int) -> Path:
        return write_drawn(tmp_path / name, names=names, **splits)

    return write


@pytest.fixture
def job(drawn: WriteSet, tmp_path: Path) -> Callable[..., TrainJob]:
    """`job(recipe, "run")`: a run on eight drawn pictures."""
    data: list[Path] = []

    def make(recipe: Recipe, name: str = "run") -> TrainJob:
        data.extend([drawn()] if not data else [])
        return TrainJob(recipe, (Source("folder", data[0]),), tmp_path / name, device="cpu")

    return make


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from more, and lose much where other work waits for the same cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
