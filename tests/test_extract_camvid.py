"""Frames out of a raw video: numbered right, whole or absent, never replaced or deleted."""

import sys

import av
import numpy as np
import pytest
from PIL import Image
from scripted import load_script

from tmaseg.errors import DataError

SCRIPT_MODULE = load_script("extract_camvid")
extract_camvid = SCRIPT_MODULE.extract_camvid


def film(path, frames, container, codec):
    """A video whose frame k is grey of level 8 k."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv422p" if codec == "mpeg2video" else "yuvj420p"
        for index in range(frames):
            picture = np.full((48, 64, 3), 8 * index, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


def level(path):
    return round(float(np.asarray(Image.open(path)).mean()) / 8)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    film(folder / "0005VD.MXF", 8, "mxf", "mpeg2video")
    film(folder / "01tp_Extract.AVI", 5, "avi", "mjpeg")
    return folder


def test_frames_are_numbered_as_the_labelled_ones(videos, tmp_path):
    out = tmp_path / "image_sequence"
    told = []
    results = extract_camvid(videos, out, progress=lambda film, number: told.append(number))
    assert [(result.film.file, result.decoded) for result in results] == [("0005VD.MXF", 8), ("01TP_extract.avi", 5)]
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        *(f"0001TP_{number:06d}.png" for number in range(6660, 6665)),
        *(f"Seq05VD_f{number:05d}.png" for number in range(7)),
    ]
    # The first picture of the film has number -1 and is no file; number 0 is the second picture.
    assert [level(out / f"Seq05VD_f{number:05d}.png") for number in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert [level(out / f"0001TP_{number:06d}.png") for number in range(6660, 6665)] == [0, 1, 2, 3, 4]
    assert told == [*range(-1, 7), *range(6660, 6665)]


def test_what_is_there_stays(videos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    mine, other = out / "Seq05VD_f00003.png", out / "notes.txt"
    mine.write_bytes(b"mine")
    other.write_text("keep")
    results = extract_camvid(videos, out)
    assert mine.read_bytes() == b"mine"
    assert other.read_text() == "keep"
    assert (results[0].written, results[0].kept) == (6, 1)
    again = extract_camvid(videos, out)
    assert sum(result.written for result in again) == 0


def test_only_what_memory_needs(videos, tmp_path):
    (tmp_path / "labels").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "labels" / "Seq05VD_f00004_L.png")
    out = tmp_path / "out"
    extract_camvid(videos, out, labelled=tmp_path / "labels", past=2)
    assert sorted(path.stem for path in out.iterdir()) == ["Seq05VD_f00002", "Seq05VD_f00003", "Seq05VD_f00004"]


def test_nothing_to_extract(tmp_path, videos):
    with pytest.raises(DataError, match=r"none of CamVid's videos in .*: put 0005VD.MXF, .*01TP_extract.avi there"):
        extract_camvid(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="is no folder"):
        extract_camvid(tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match="holds no labelled frame"):
        extract_camvid(videos, tmp_path / "out", labelled=videos)
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["extract_camvid", str(tmp_path), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"put 0005VD\.MXF"):
        SCRIPT_MODULE.main()
