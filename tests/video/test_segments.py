"""Numbered files: each complete at once, together all frames, times and sound."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from films import film, moving

from tmaseg.errors import OutputError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.segments import SegmentedSink, numbered
from tmaseg.video.source import open_source

LOSSLESS = WriteOptions(lossless=True, audio=False)


def frames_of(path):
    with open_source(path) as source:
        return [(round(1000 * frame.seconds), frame.rgb) for frame in source]


@pytest.fixture
def clip(tmp_path):
    return film(tmp_path / "in.mkv", moving(50), codec="ffv1", pix_fmt="bgr0")


def test_a_segment_is_complete_as_soon_as_it_is_cut(clip, tmp_path):
    name = numbered(tmp_path / "out.mkv", overwrite=False)
    with open_source(clip) as source, SegmentedSink(name, source.info, LOSSLESS) as sink:
        for frame in source:
            if frame.index in (0, 10, 30):
                sink.cut()
                assert len(sink.completed) == {0: 0, 10: 1, 30: 2}[frame.index]
                assert all(frames_of(path) for path in sink.completed)
            sink.write(frame)
    assert [path.name for path in sink.completed] == ["out-0001.mkv", "out-0002.mkv", "out-0003.mkv"]
    parts = [frames_of(path) for path in sink.completed]
    assert [len(part) for part in parts] == [10, 20, 20]
    assert [part[0][0] for part in parts] == [0, 0, 0]
    whole = frames_of(clip)
    np.testing.assert_array_equal([rgb for part in parts for _, rgb in part], [rgb for _, rgb in whole])


def test_length_cuts_by_time_and_stamps_may_be_kept(clip, tmp_path):
    name = numbered(tmp_path / "out.mkv", overwrite=False)
    with (
        open_source(clip) as source,
        SegmentedSink(name, source.info, LOSSLESS, length=Fraction(1, 2), first=7, from_zero=False) as sink,
    ):
        for frame in source:
            sink.write(frame)
    assert [path.name for path in sink.completed] == [f"out-{number:04d}.mkv" for number in (7, 8, 9, 10)]
    stamps = [stamp for path in sink.completed for stamp, _ in frames_of(path)]
    assert stamps == [40 * index for index in range(50)]


def test_sound_is_cut_with_the_pictures(tmp_path):
    clip = film(tmp_path / "in.mp4", moving(50), seconds_of_sound=2, sound=["aac"])
    name = numbered(tmp_path / "out.mp4", overwrite=False)
    with (
        open_source(clip) as source,
        SegmentedSink(name, source.info, replace(LOSSLESS, lossless=False, audio=True), length=Fraction(1)) as sink,
    ):
        for frame in source:
            sink.write(frame)
    for path in sink.completed:
        with av.open(str(path)) as part:
            lengths = [float(stream.duration * stream.time_base) for stream in part.streams]
        assert len(lengths) == 2
        assert lengths == pytest.approx([1, 1], abs=0.05)


def copy_until_it_fails(clip, name, last):
    with open_source(clip) as source, SegmentedSink(name, source.info, LOSSLESS, length=Fraction(1)) as sink:
        for frame in source:
            sink.write(frame)
            assert frame.index < last


def test_an_error_leaves_the_completed_segments(clip, tmp_path):
    with pytest.raises(AssertionError):
        copy_until_it_fails(clip, numbered(tmp_path / "out.mkv", overwrite=False), last=30)
    assert [path.name for path in tmp_path.glob("out*")] == ["out-0001.mkv"]


def test_no_numbered_file_is_replaced_unless_told(tmp_path):
    (tmp_path / "out-0012.mp4").touch()
    with pytest.raises(OutputError, match=r"out-0012\.mp4 exists already; give --overwrite"):
        numbered(tmp_path / "out.mp4", overwrite=False)
    assert numbered(tmp_path / "out.mp4", overwrite=True)(12) == tmp_path / "out-0012.mp4"
    numbered(tmp_path / "other.mp4", overwrite=False)
