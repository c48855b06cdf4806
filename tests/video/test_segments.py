"""Numbered files: each complete at once, together all frames, times and sound."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from films import film, moving

from tmaseg.errors import OutputError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.segments import SegmentedSink
from tmaseg.video.source import open_source

LOSSLESS = WriteOptions(lossless=True, audio=False)


def frames_of(path):
    with open_source(path) as source:
        return [(round(1000 * frame.seconds), frame.rgb) for frame in source]


@pytest.fixture
def clip(tmp_path):
    return film(tmp_path / "in.mkv", moving(50), codec="ffv1", pix_fmt="bgr0")


def test_a_segment_is_complete_as_soon_as_the_next_begins(clip, tmp_path):
    with (
        open_source(clip) as source,
        SegmentedSink(tmp_path / "out.mkv", source.info, LOSSLESS, length=Fraction(4, 5)) as sink,
    ):
        for frame in source:
            sink.write(frame)
            assert len(sink.completed) == frame.index // 20
            assert all(path.exists() for path in sink.completed)
    assert [path.name for path in sink.completed] == ["out-0001.mkv", "out-0002.mkv", "out-0003.mkv"]
    parts = [frames_of(path) for path in sink.completed]
    assert [len(part) for part in parts] == [20, 20, 10]
    assert [part[0][0] for part in parts] == [0, 0, 0]
    np.testing.assert_array_equal([rgb for part in parts for _, rgb in part], [rgb for _, rgb in frames_of(clip)])


def test_sound_is_cut_with_the_pictures(tmp_path):
    clip = film(tmp_path / "in.mp4", moving(50), seconds_of_sound=2, sound=["aac"])
    options = replace(LOSSLESS, lossless=False, audio=True)
    with (
        open_source(clip) as source,
        SegmentedSink(tmp_path / "out.mp4", source.info, options, length=Fraction(1)) as sink,
    ):
        for frame in source:
            sink.write(frame)
    for path in sink.completed:
        with av.open(str(path)) as part:
            lengths = [float(stream.duration * stream.time_base) for stream in part.streams]
        assert len(lengths) == 2
        assert lengths == pytest.approx([1, 1], abs=0.05)


def copy_until_it_fails(clip, path, last):
    with open_source(clip) as source, SegmentedSink(path, source.info, LOSSLESS, length=Fraction(1)) as sink:
        for frame in source:
            sink.write(frame)
            assert frame.index < last


def test_an_error_leaves_the_completed_segments(clip, tmp_path):
    with pytest.raises(AssertionError):
        copy_until_it_fails(clip, tmp_path / "out.mkv", last=30)
    assert [path.name for path in tmp_path.glob("out*")] == ["out-0001.mkv"]


def test_no_numbered_file_is_replaced_unless_told(clip, tmp_path):
    (tmp_path / "out-0012.mp4").touch()
    with open_source(clip) as source:
        info = source.info
    with pytest.raises(OutputError, match=r"out-0012\.mp4 exists already; give --overwrite"):
        SegmentedSink(tmp_path / "out.mp4", info, WriteOptions(), length=Fraction(1))
    SegmentedSink(tmp_path / "out.mp4", info, WriteOptions(overwrite=True), length=Fraction(1))
    SegmentedSink(tmp_path / "other.mp4", info, WriteOptions(), length=Fraction(1))
