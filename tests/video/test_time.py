"""Time: every output frame has exactly its input frame's time stamp; cuts and strides."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from films import film, moving, stamps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tmaseg.errors import ConfigError, VideoError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Frame, ReadOptions, StreamInfo
from tmaseg.video.video_source import VideoSource

FAST = WriteOptions(preset="veryfast", overwrite=True)  # a preset with B-frames, which shift decoding times

CLOCKS = {
    "25": (Fraction(1, 12800), [512 * i for i in range(12)]),
    "29.97": (Fraction(1, 30000), [1001 * i for i in range(12)]),
    "29.97 counted": (Fraction(1001, 30000), list(range(12))),
    "variable": (Fraction(1, 30000), [0, 1001, 5005, 5006, 9009, 40000, 40100, 90000]),
    "late start": (Fraction(1, 15360), [127995 + 512 * i for i in range(12)]),
    "late and odd": (Fraction(1, 90000), [3_000_000_001 + 3003 * i for i in range(12)]),
    "coarse": (Fraction(1, 3), [1, 2, 5, 7]),
    "microseconds": (Fraction(1, 1_000_000), [7 + 33_333 * i for i in range(12)]),
}


def copy(source_path, target, options=FAST, **reading):
    """Read and write every frame; the times that were read."""
    with VideoSource(source_path, ReadOptions(**reading)) as source, VideoSink(target, source.info, options) as sink:
        times = []
        for frame in source:
            sink.write(frame)
            times.append(frame.pts * frame.time_base)
    return times


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_drawn_frames_keep_their_time(tmp_path, clock, suffix):
    unit, pts = CLOCKS[clock]
    path = tmp_path / f"out{suffix}"
    with VideoSink(path, StreamInfo("drawn", 64, 48, Fraction(25), unit), FAST) as sink:
        for index, (rgb, stamp) in enumerate(zip(moving(len(pts)), pts, strict=True)):
            sink.write(Frame(rgb, stamp, unit, index))
    assert stamps(path) == [stamp * unit for stamp in pts]


@pytest.mark.parametrize("clock", ["29.97", "variable", "late start"])
def test_a_copied_file_keeps_its_time(tmp_path, clock):
    unit, pts = CLOCKS[clock]
    options = {"container": {"movie_timescale": str(unit.denominator)}}
    path = film(tmp_path / "in.mp4", moving(len(pts)), pts=pts, time_base=unit, **options)
    times = stamps(path)
    assert times == [stamp * unit for stamp in pts]
    assert copy(path, tmp_path / "out.mp4") == times
    assert stamps(tmp_path / "out.mp4") == times


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_matroska_keeps_time_to_the_millisecond(tmp_path, suffix):
    unit, pts = CLOCKS["variable"]  # two of its frames are closer than a millisecond
    path = film(tmp_path / "in.mp4", moving(len(pts)), pts=pts, time_base=unit)
    copy(path, tmp_path / f"out{suffix}", WriteOptions())
    times = stamps(tmp_path / f"out{suffix}")
    assert len(times) == len(set(times)) == len(pts)
    assert max(abs(one - stamp * unit) for one, stamp in zip(times, pts, strict=True)) < Fraction(3, 2000)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6, unique=True), st.integers(1000, 120_000))
def test_any_times_are_kept(tmp_path, pts, rate):
    unit = Fraction(1, rate)
    pts = sorted(pts)
    with VideoSink(tmp_path / "any.mp4", StreamInfo("drawn", 64, 48, Fraction(25), unit), FAST) as sink:
        for index, stamp in enumerate(pts):
            sink.write(Frame(np.zeros((48, 64, 3), np.uint8), stamp, unit, index))
    assert stamps(tmp_path / "any.mp4") == [stamp * unit for stamp in pts]


@pytest.mark.parametrize("hours", [30, 300])
def test_a_gap_of_days_does_not_spoil_the_file(tmp_path, hours):
    pts = [0, 1, 2, hours * 90_000, hours * 90_000 + 1]
    info = StreamInfo("drawn", 64, 48, Fraction(25), Fraction(1, 25))
    for suffix in (".mp4", ".mkv"):
        with VideoSink(tmp_path / f"a{suffix}", info, FAST) as sink:
            for index, stamp in enumerate(pts):
                sink.write(Frame(moving(1)[0], stamp, info.time_base, index))
        times = stamps(sink.path)
        if suffix == ".mkv":
            assert times == [stamp * info.time_base for stamp in pts]
        else:
            assert times[:3] == [0, Fraction(1, 25), Fraction(2, 25)]
            assert times[3] > 3600
            assert times[4] - times[3] == Fraction(1, 25)
            assert f"a gap of {hours * 3600} s before frame 3" in sink.warnings[0]


def test_nanoseconds_become_microseconds(tmp_path):
    unit, pts = Fraction(1, 10**9), [0, 33_333_333, 5 * 10**9]
    with VideoSink(tmp_path / "a.mp4", StreamInfo("drawn", 64, 48, Fraction(25), unit), FAST) as sink:
        for index, stamp in enumerate(pts):
            sink.write(Frame(moving(1)[0], stamp, unit, index))
    assert stamps(sink.path) == [0, Fraction(33_333, 10**6), 5]


def test_a_stream_without_stamps_gets_them_from_its_rate(tmp_path):
    path = film(tmp_path / "raw.h264", moving(10), kind="h264", rate=Fraction(30000, 1001), options={"bf": "2"})
    with av.open(str(path)) as raw:
        assert all(packet.pts is None for packet in raw.demux() if packet.size)
    with VideoSource(path) as source:
        times = [frame.pts * frame.time_base for frame in source]
    steps = {after - before for before, after in pairwise(times)}
    assert len(times) == 10
    assert times[0] == 0
    assert len(steps) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_start_and_end_choose_the_frames_that_lie_between(tmp_path, suffix):
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    path = film(tmp_path / f"in{suffix}", moving(150), codec=codec, options={"g": "30"})
    with VideoSource(path) as source:
        every = list(source)
    first = every[0].pts * every[0].time_base
    with VideoSource(path, ReadOptions(start=4.0, end=4.6)) as source:
        cut = list(source)
        assert source.info.frames == pytest.approx(15, abs=1)
        assert not source.damage
    wanted = [f for f in every if 4.0 <= f.pts * f.time_base - first < 4.6]
    assert len(wanted) == 15
    assert [frame.pts for frame in cut] == [frame.pts for frame in wanted]
    assert [frame.index for frame in cut] == list(range(15))
    for one, other in zip(cut, wanted, strict=True):
        np.testing.assert_array_equal(one.rgb, other.rgb)


def test_a_file_that_cannot_be_searched_is_read_from_the_top(tmp_path):
    path = film(tmp_path / "raw.h264", moving(120), kind="h264")
    with VideoSource(path, ReadOptions(start=4.0)) as source:
        assert len(list(source)) == 20


def test_every_gives_each_nth_frame(tmp_path):
    path = film(tmp_path / "in.mp4", moving(10))
    with VideoSource(path, ReadOptions(every=4)) as source:
        frames = list(source)
        assert source.info.frames == 3
        assert source.info.rate == Fraction(25, 4)
    assert [frame.index for frame in frames] == [0, 4, 8]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.16, 0.32])


def test_a_cut_begins_at_zero(tmp_path):
    path = film(tmp_path / "in.mp4", moving(100))
    times = copy(path, tmp_path / "out.mp4", start=3.0, end=3.5)
    assert times[0] == 3
    assert stamps(tmp_path / "out.mp4") == [time - 3 for time in times]


def test_a_cut_beyond_the_end_says_how_long_the_video_is(tmp_path):
    path = film(tmp_path / "in.mp4", moving(10))
    with pytest.raises(VideoError, match=r"--start 7 .* it is 0.40 s long"):
        VideoSource(path, ReadOptions(start=7))


@pytest.mark.parametrize(
    "wrong", [{"start": -1}, {"start": 2, "end": 2}, {"end": 0}, {"every": 0}, {"timeout": 0}, {"rate": Fraction(0)}]
)
def test_options_that_cannot_work_name_their_flag(wrong):
    with pytest.raises(ConfigError, match=f"--{list(wrong)[-1]} "):
        ReadOptions(**wrong)
