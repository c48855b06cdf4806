"""One time line for each input: where it begins, jumps, how long each picture is shown, and how long it all is."""

import re
from fractions import Fraction
from itertools import pairwise

import av
import pytest
from films import film, moving, onsets, remux, stamps
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import ReadOptions, open_source
from tmaseg.video.timeline import FrameClock

RATES = st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(240)])
UNITS = st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), Fraction(1, 25), Fraction(1001, 30000)])
FAST = WriteOptions(preset="veryfast", overwrite=True)  # a preset with B-frames, which shift decoding times

# Suffix: coder of the pictures, of the sound.
CONTAINERS = {
    ".mp4": ("libx264", "aac"),
    ".mov": ("libx264", "aac"),
    ".mkv": ("libx264", "aac"),
    ".webm": ("libvpx-vp9", "libopus"),
    ".avi": ("mpeg4", "mp2"),
    ".ts": ("libx264", "aac"),
    ".m2ts": ("libx264", "aac"),
    ".mpg": ("mpeg2video", "mp2"),
    ".wmv": ("wmv2", "wmav2"),
    ".flv": ("libx264", "aac"),
    ".gif": ("gif", None),
    ".h264": ("libx264", None),
    ".hevc": ("libx265", None),
}


def make(path, *, count=50, start=None, **setup):
    """Pictures at 25 a second, with sound as long, in the container that the suffix names."""
    video, audio = CONTAINERS[path.suffix]
    sound = {"sound": [audio], "seconds_of_sound": count / 25} if audio else {}
    options = {"x265-params": "log-level=none"} if video == "libx265" else {}
    container = {"output_ts_offset": str(start)} if start else {}
    pix_fmt = "rgb8" if video == "gif" else "yuv420p"
    return film(
        path, moving(count), codec=video, pix_fmt=pix_fmt, options=options, container=container, **sound, **setup
    )


def copied(path, target, **reading):
    """Read and write every frame; the source, its frames (without pixels kept) and the sink."""
    options = WriteOptions() if target.suffix == ".webm" else FAST
    with open_source(path, ReadOptions(**reading)) as source, VideoSink(target, source.info, options) as sink:
        frames = []
        for frame in source:
            sink.write(frame)
            frames.append(frame)
    return source, frames, sink


def length(path):
    """Seconds of the container, and from its first picture to the end of the last, as an independent reader has it."""
    with av.open(str(path)) as made:
        stream = made.streams.video[0]
        packets = [packet for packet in made.demux(stream) if packet.size]
        begun = min(packet.pts for packet in packets) * stream.time_base
        seconds = made.duration / av.time_base
        announced = stream.metadata.get("DURATION", "0:0:0").split(":")
        if stream.duration is not None:
            return seconds, float(stream.duration * stream.time_base)
        return seconds, 60 * float(announced[1]) + float(announced[2]) - float(begun)


@given(st.lists(st.integers(-(10**9), 10**12), unique=True), UNITS, RATES)
def test_rising_stamps_are_kept(pts, unit, rate):
    clock = FrameClock(unit, rate)
    assert [clock.stamp(stamp) for stamp in sorted(pts)] == sorted(pts)
    assert clock.irregular == 0


@given(st.lists(st.none() | st.integers(-(10**6), 10**6)), UNITS, RATES)
def test_any_stamps_give_rising_ones(pts, unit, rate):
    clock = FrameClock(unit, rate)
    given = [clock.stamp(stamp) for stamp in pts]
    assert all(before < after for before, after in pairwise(given))


@given(st.integers(1, 5000), RATES, st.sampled_from([Fraction(1, 90000), Fraction(1, 1_000_000), Fraction(1, 7001)]))
def test_made_up_stamps_do_not_drift(count, rate, unit):
    """Nor where a frame is no whole number of ticks."""
    clock = FrameClock(unit, rate)
    last = [clock.stamp(None) for _ in range(count)][-1]
    assert abs(last * unit - (count - 1) / rate) <= unit


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_frames_keep_their_times_and_the_file_its_length(tmp_path, suffix, target):
    path = make(tmp_path / f"in{suffix}")
    source, frames, sink = copied(path, tmp_path / target)
    assert not source.damage
    assert source.warnings == ()
    assert len(frames) == 50
    begun = frames[0].seconds
    assert begun == pytest.approx(0, abs=0.08)  # sound begins a little earlier in some
    tolerance = 0.0011 if suffix in (".mkv", ".webm", ".wmv", ".flv") else 1e-4
    assert [frame.seconds - begun for frame in frames] == pytest.approx([i / 25 for i in range(50)], abs=tolerance)
    assert [float(frame.duration * frame.time_base) for frame in frames] == pytest.approx([0.04] * 50, abs=tolerance)
    written = [float(stamp) for stamp in stamps(sink.path)]
    assert written == pytest.approx([frame.seconds for frame in frames], abs=0.0011)
    seconds, video = length(sink.path)
    assert video == pytest.approx(2, abs=0.0021)
    assert seconds == pytest.approx(2, abs=0.09)  # the sound of some coders is longer by a packet or two


@pytest.mark.parametrize(("suffix", "begun"), [(".ts", 0), (".m2ts", 0), (".flv", 0), (".mp4", 582), (".mkv", 582)])
def test_a_late_start_is_kept_only_where_the_container_means_it(tmp_path, suffix, begun):
    path = make(tmp_path / f"in{suffix}", start=582)
    _, frames, sink = copied(path, tmp_path / "out.mp4")
    assert frames[0].seconds == pytest.approx(begun, abs=0.1)
    assert float(stamps(sink.path)[0]) == pytest.approx(frames[0].seconds, abs=0.001)
    with av.open(str(sink.path)) as made:
        assert (made.start_time + made.duration) / av.time_base == pytest.approx(begun + 2, abs=0.1)


def joined(tmp_path, suffix, *starts):
    """Recordings of 2 s, one after the other in one file, and the frames of the first one."""
    parts = [make(tmp_path / f"{index}{suffix}", start=start) for index, start in enumerate(starts)]
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path, parts[0]


@pytest.mark.parametrize("suffix", [".ts", ".m2ts", ".mpg"])
@pytest.mark.parametrize("starts", [(0, 0, 0), (0, 500, 0), (900, 0, 5000)])
@pytest.mark.parametrize("target", ["out.mp4", "out.webm"])
def test_joined_recordings_follow_each_other(tmp_path, suffix, starts, target):
    path, first = joined(tmp_path, suffix, *starts)
    source, frames, sink = copied(path, tmp_path / target)
    begun = frames[0].seconds
    assert [frame.seconds - begun for frame in frames] == pytest.approx([i / 25 for i in range(150)], abs=0.12)
    assert [frame.index for frame in frames if frame.discontinuity] == [50, 100]
    assert length(sink.path) == pytest.approx((6, 6), abs=0.15)
    lag = onsets(first)[0] - float(stamps(first)[0])
    assert [onset - begun for onset in onsets(sink.path)] == pytest.approx([lag + i for i in range(6)], abs=0.15)
    assert any("jump ahead" in warning for warning in source.warnings) == (max(starts) > 0)
    assert not source.damage.truncated


def test_a_gap_in_a_stream_container_stays(tmp_path):
    path, _ = joined(tmp_path, ".ts", 0, 7)
    source, frames, sink = copied(path, tmp_path / "out.mp4")
    assert frames[50].seconds - frames[0].seconds == pytest.approx(7, abs=0.1)
    assert length(sink.path)[0] == pytest.approx(9, abs=0.1)
    assert source.warnings == ()


def test_a_cut_of_joined_recordings_counts_from_the_first(tmp_path):
    path, _ = joined(tmp_path, ".ts", 0, 300, 0)
    _, every, _ = copied(path, tmp_path / "all.mp4")
    _, frames, sink = copied(path, tmp_path / "out.mp4", start=3.5, end=4.5)
    assert [frame.pts for frame in frames] == [frame.pts for frame in every if 3.5 <= frame.seconds < 4.5]
    assert length(sink.path) == pytest.approx((1, 1), abs=0.05)
    assert onsets(sink.path) == pytest.approx([0.5], abs=0.1)


def slides(path, *, last, **setup):
    """Three pictures, shown for 1, 1 and `last` seconds."""
    first = film(path.with_name("plain.mkv"), moving(3), time_base=Fraction(1), rate=Fraction(1), **setup)

    def lasting(packet, number):
        if packet.stream.type == "video" and number == 2:
            packet.duration = round(last / packet.time_base)

    return remux(first, path, lasting)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("target", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_the_last_picture_is_shown_as_long_as_it_was(tmp_path, suffix, target):
    codec, options = ("libvpx-vp9", {}) if suffix == ".webm" else ("libx264", {"bf": "0"})
    path = slides(tmp_path / f"in{suffix}", last=5, codec=codec, options=options)
    source, frames, sink = copied(path, tmp_path / target)
    assert [frame.duration * frame.time_base for frame in frames] == [1, 1, 5]
    assert length(sink.path) == (7, 7)
    assert not source.damage
    _, again, _ = copied(sink.path, tmp_path / "again.mp4")  # what was written has it where it will be looked for
    assert [frame.duration * frame.time_base for frame in again][:2] == [1, 1]
    if sink.path.suffix in (".mp4", ".mov"):
        assert length(tmp_path / "again.mp4") == (7, 7)


def test_the_last_picture_of_a_gif_is_shown_as_long_as_it_was(tmp_path):
    pictures = [Image.fromarray(rgb) for rgb in moving(3)]
    path = tmp_path / "in.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[200, 200, 3000])
    _, frames, sink = copied(path, tmp_path / "out.mp4")
    assert [float(frame.duration * frame.time_base) for frame in frames] == pytest.approx([0.2, 0.2, 3.0])
    assert length(sink.path) == pytest.approx((3.4, 3.4))


def test_frames_taken_out_leave_the_length_as_it_is(tmp_path):
    path = make(tmp_path / "in.mp4")
    _, frames, sink = copied(path, tmp_path / "out.mp4", every=7)
    assert len(frames) == 8
    assert float(sum(frame.duration * frame.time_base for frame in frames)) == pytest.approx(2)
    assert length(sink.path)[1] == pytest.approx(2)


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(30000, 1001)])
@pytest.mark.parametrize("suffix", [".h264", ".hevc", ".m2v"])
def test_a_raw_stream_plays_at_its_own_rate_or_at_the_one_given(tmp_path, suffix, rate):
    rate = Fraction(24) if suffix == ".m2v" and rate == 10 else rate  # MPEG-2 knows only some rates
    codec = {".h264": "libx264", ".hevc": "libx265", ".m2v": "mpeg2video"}[suffix]
    options = {"x265-params": "log-level=none"} if suffix == ".hevc" else {}
    path = film(tmp_path / f"a{suffix}", moving(20), codec=codec, rate=rate, time_base=1 / rate, options=options)
    source, frames, sink = copied(path, tmp_path / "out.mp4")
    assert source.info.rate == rate
    assert [frame.seconds for frame in frames] == pytest.approx([float(i / rate) for i in range(20)])
    assert length(sink.path) == pytest.approx([float(20 / rate)] * 2, abs=0.002)
    assert not source.damage.lines()
    _, frames, sink = copied(path, tmp_path / "out.mp4", rate=Fraction(5))
    assert [frame.seconds for frame in frames] == pytest.approx([i / 5 for i in range(20)])
    assert length(sink.path) == pytest.approx((4, 4), abs=0.002)


def test_a_stream_that_says_no_rate_plays_at_25_or_at_the_one_given(tmp_path):
    path = film(tmp_path / "a.mjpeg", moving(20), codec="mjpeg", pix_fmt="yuvj420p", rate=Fraction(10))
    for rate, seconds in ((None, 0.8), (Fraction(10), 2)):
        _, _, sink = copied(path, tmp_path / "out.mp4", rate=rate)
        assert length(sink.path) == pytest.approx((seconds, seconds))


def test_a_rate_is_of_no_use_to_a_file_with_times_of_its_own(tmp_path):
    source, frames, _ = copied(make(tmp_path / "in.mp4"), tmp_path / "out.mp4", rate=Fraction(10))
    assert "has times of its own" in source.warnings[0]
    assert frames[1].seconds == pytest.approx(0.04)


def test_a_clock_set_back_goes_on_without_a_hole(tmp_path):
    setup = {"sound": ["aac"], "seconds_of_sound": 3, "container": {"cluster_time_limit": "990"}}
    path = film(tmp_path / "in.mkv", moving(75), options={"g": "25", "bf": "0"}, **setup)
    content = path.read_bytes()
    # The second cluster, from 1 s on, gets a time one minute later.
    second = re.search(rb"\x1f\x43\xb6\x75.{6,16}?\xe7\x82(?=[\x03\x04])", content, re.DOTALL).end()
    later = int.from_bytes(content[second : second + 2], "big") + 60_000
    path.write_bytes(content[:second] + later.to_bytes(2, "big") + content[second + 2 :])
    source, frames, sink = copied(path, tmp_path / "out.mkv")
    expected = [i / 25 + (60 if i >= 25 else 0) for i in range(75)]
    assert [frame.seconds for frame in frames] == pytest.approx(expected, abs=0.05)
    assert [frame.index for frame in frames if frame.discontinuity] == [50]
    assert onsets(sink.path) == pytest.approx([0, 61, 62], abs=0.1)
    assert not source.damage.truncated
