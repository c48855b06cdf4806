"""Data sets built small, in each layout that people have."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture
def picture(tmp_path: Path) -> Write:
    """`picture("train/a.png", seed)`: a small random picture at that place; returns the path."""

    def write(name: str, seed: int = 0, size_hw: tuple[int, int] = (12, 16)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        assert cv2.imwrite(str(path), cv2.resize(coarse, size_hw[::-1]))
        return path

    return write


@pytest.fixture
def mask(tmp_path: Path) -> Write:
    """`mask("trainannot/a.png", ids)`: a PNG of those values, repeated over the picture; returns the path."""

    def write(name: str, values: object, *, palette: bool = False, size_hw: tuple[int, int] = (12, 16)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.asarray(values)
        channels = values.shape[1:]
        places = np.arange(size_hw[0] * size_hw[1]) % len(values)
        array = values[places].reshape(*size_hw, *channels)
        image = Image.fromarray(array.astype(np.uint16 if array.max() > 255 else np.uint8))
        if palette:
            image = image.convert("P")
            image.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
            image = Image.fromarray(array.astype(np.uint8))
            image.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
        image.save(path)
        return path

    return write
