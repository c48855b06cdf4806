"""PNG masks and pictures: values, palettes, names, and nothing half-written."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tmaseg.errors import OutputError
from tmaseg.video.images import ImageWriter
from tmaseg.video.source import Frame

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (48, 64, 3), np.uint8)
LABELS = RNG.integers(0, 256, (48, 64), np.uint8)
PALETTE = RNG.integers(0, 256, (256, 3), np.uint8)


def frame_of(index=0):
    return Frame(RGB, index, Fraction(1, 25), index)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_ids(tmp_path):
    sink = ImageWriter(tmp_path / "out")
    sink.write(frame_of(7), LABELS)
    with Image.open(tmp_path / "out" / "000007.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), LABELS)


def test_indexed(tmp_path):
    ImageWriter(tmp_path, palette=PALETTE).write(frame_of(), LABELS)
    with Image.open(tmp_path / "000000.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), LABELS)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), PALETTE[LABELS])


def test_pictures_and_names(tmp_path):
    sink = ImageWriter(tmp_path, name=lambda frame: f"left.{frame.index}")
    sink.write(frame_of(3))
    np.testing.assert_array_equal(read(tmp_path / "left.3.png"), RGB)
    with pytest.raises(OutputError, match="without slashes"):
        ImageWriter(tmp_path, name=lambda _: "../out").write(frame_of())


def test_existing_pictures(tmp_path):
    path = tmp_path / "000000.png"
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
    with pytest.raises(OutputError, match="exists already"):
        ImageWriter(tmp_path).write(frame_of(), LABELS)
    ImageWriter(tmp_path, existing="keep").write(frame_of(), LABELS)
    assert read(path).shape == (2, 2)
    ImageWriter(tmp_path, existing="replace").write(frame_of(), LABELS)
    assert read(path).shape == (48, 64)
    assert [found.name for found in tmp_path.iterdir()] == ["000000.png"]


def test_a_failure_leaves_nothing_half_done(tmp_path, monkeypatch):
    folder = tmp_path / "a" / "b"
    sink = ImageWriter(folder)
    assert not folder.exists()  # made with the first picture

    def fail(self, file, kind):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail)
        with pytest.raises(OutputError, match="No space left"):
            sink.write(frame_of(), LABELS)
    assert list(tmp_path.iterdir()) == []
    sink.write(frame_of(), LABELS)
    assert [path.name for path in folder.iterdir()] == ["000000.png"]


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        ImageWriter(tmp_path / "file")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        ImageWriter(tmp_path / "file" / "inner")
