"""Sound goes along: copied, or converted where the container refuses it, and always in time with the pictures."""

from fractions import Fraction

import av
import numpy as np
import pytest
from films import film, moving, onsets, origin, stamps

from tmaseg.video.facts import ReadOptions, StreamInfo
from tmaseg.video.passthrough import Passthrough
from tmaseg.video.sink import VideoSink, WriteOptions
from tmaseg.video.source import VideoSource

FAST = WriteOptions(preset="ultrafast")
# Suffix, picture coder and sound coder of an input.
INPUTS = {
    "aac.mp4": ("libx264", "aac"),
    "pcm.mov": ("libx264", "pcm_s16le"),
    "pcm.avi": ("mpeg4", "pcm_s16le"),
    "mp2.mpg": ("mpeg2video", "mp2"),
    "aac.ts": ("libx264", "aac"),
    "opus.webm": ("libvpx-vp9", "libopus"),
    "flac.mkv": ("libx264", "flac"),
    "adpcm.avi": ("mpeg4", "adpcm_ima_wav"),
}


def beeping(path, video, audio, count=75, tracks=1, **options):
    """Pictures of 3 seconds with a beep each whole second."""
    return film(path, moving(count), codec=video, sound=[audio] * tracks, seconds_of_sound=count / 25, options=options)


def copy(path, target, options=FAST, **reading):
    with VideoSource(path, ReadOptions(**reading)) as source, VideoSink(target, source.info, options) as sink:
        for frame in source:
            sink.write(frame)
    return sink


def lag(path):
    """How long after the first picture each beep begins, in seconds."""
    first = float(stamps(path)[0])
    return [onset - first for onset in onsets(path)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("name", INPUTS)
def test_sound_stays_in_time_with_the_pictures(tmp_path, name, suffix):
    path = beeping(tmp_path / name, *INPUTS[name])
    options = WriteOptions() if suffix == ".webm" else FAST
    sink = copy(path, tmp_path / f"out{suffix}", options)
    assert stamps(sink.path) == pytest.approx([stamp - origin(path) for stamp in stamps(path)], abs=0.0006)
    heard, kept = lag(path), lag(sink.path)
    assert len(heard) == len(kept) == 3
    assert kept == pytest.approx(heard, abs=0.012)
    with av.open(str(sink.path)) as made, av.open(str(path)) as source:
        was, now = source.streams.audio[0].name, made.streams.audio[0].name
    copied = was == now or (was, now) == ("mp2", "mp3float")  # MP4 has one name for both
    assert any(f"converted from {was}" in warning for warning in sink.warnings) != copied


def test_what_the_container_holds_is_not_converted(tmp_path):
    expected = {"aac.mp4": "aac", "opus.webm": "opus", "flac.mkv": "flac", "mp2.mpg": "mp"}
    for name, codec in expected.items():
        sink = copy(beeping(tmp_path / name, *INPUTS[name], count=10), tmp_path / f"{name}.mkv")
        with av.open(str(sink.path)) as made:
            assert made.streams.audio[0].name.startswith(codec)
        assert sink.warnings == ()


def test_several_tracks_and_their_names(tmp_path):
    path = beeping(tmp_path / "in.mkv", "libx264", "aac", count=10, tracks=3)
    sink = copy(path, tmp_path / "out.mp4")
    with av.open(str(sink.path)) as made:
        assert [stream.name for stream in made.streams.audio] == ["aac"] * 3
        assert [bool(stream.disposition & 1) for stream in made.streams.audio] == [True, False, False]


def test_sound_can_be_left_out(tmp_path):
    path = beeping(tmp_path / "in.mp4", "libx264", "aac", count=10)
    sink = copy(path, tmp_path / "out.mp4", WriteOptions(audio=False))
    with av.open(str(sink.path)) as made:
        assert [stream.type for stream in made.streams] == ["video"]


@pytest.mark.parametrize(
    ("name", "suffix"), [("aac.mp4", ".mp4"), ("aac.mp4", ".mkv"), ("aac.mp4", ".webm"), ("flac.mkv", ".mov")]
)
def test_sound_is_cut_and_moved_with_the_pictures(tmp_path, name, suffix):
    path = beeping(tmp_path / name, *INPUTS[name], count=100)
    options = WriteOptions() if suffix == ".webm" else FAST
    sink = copy(path, tmp_path / f"out{suffix}", options, start=1.5, end=3.5)
    first = float(stamps(path)[0])
    assert stamps(sink.path)[0] == 0
    expected = [onset - 1.52 - first for onset in onsets(path) if 1.5 < onset - first < 3.5]  # first picture at 1.52 s
    assert len(expected) == 2
    assert onsets(sink.path) == pytest.approx(expected, abs=0.012)
    with av.open(str(sink.path)) as made:
        last = max((p.pts + p.duration) * p.time_base for p in made.demux(audio=0) if p.size)
    assert float(last) == pytest.approx(1.98, abs=0.1)  # to a packet


@pytest.mark.parametrize("name", ["aac.mp4", "flac.mkv", "aac.ts"])
def test_a_late_short_cut_reads_no_more_than_it_needs(tmp_path, name, monkeypatch):
    path = beeping(tmp_path / name, *INPUTS[name], count=400, g="25")
    read, within = [], Passthrough._within
    monkeypatch.setattr(Passthrough, "_within", lambda self, packet: read.append(1) or within(self, packet))
    sink = copy(path, tmp_path / "out.mp4", start=12.5, end=13.5)
    with VideoSource(path, ReadOptions(start=12.5)) as source:
        cut = next(iter(source)).seconds + float(origin(path))
    expected = [onset - cut for onset in onsets(path) if cut < onset < cut + 1]
    assert len(expected) == 1
    assert onsets(sink.path) == pytest.approx(expected, abs=0.012)
    if name == "aac.ts":
        return  # recordings may have been joined in it: it is read from the top, but not decoded
    with av.open(str(path)) as source:
        assert 0 < len(read) < 0.5 * sum(1 for packet in source.demux(audio=0) if packet.size)


def test_sound_stops_with_the_pictures_when_told(tmp_path):
    path = beeping(tmp_path / "in.mp4", "libx264", "aac", count=100)
    with VideoSource(path) as source, VideoSink(tmp_path / "out.mp4", source.info, FAST) as sink:
        for frame in source:
            sink.write(frame)
            if frame.index == 29:
                break
        sink.cut_sound()
    with av.open(str(sink.path)) as made:
        assert made.duration == pytest.approx(1_200_000, abs=60_000)
    assert len(onsets(sink.path)) == 2


def test_sound_that_outlasts_the_pictures_is_kept(tmp_path):
    path = film(tmp_path / "in.mp4", moving(50), sound=["aac"], seconds_of_sound=2)
    with VideoSource(path) as source, VideoSink(tmp_path / "out.mp4", source.info, FAST) as sink:
        for frame in list(source)[:25]:
            sink.write(frame)
    with av.open(str(sink.path)) as made:
        assert made.streams.audio[0].duration * made.streams.audio[0].time_base == pytest.approx(2, abs=0.05)


def test_sound_is_read_in_step_with_the_pictures(tmp_path):
    """Nothing of the sound is held back or read ahead: the packets of one second come with that second's pictures."""
    path = beeping(tmp_path / "in.mp4", "libx264", "aac", count=100)
    info = StreamInfo("in", 64, 48, Fraction(25), Fraction(1, 25), location=str(path))
    passthrough = Passthrough(info, audio=True, timeout=5, warn=pytest.fail)
    with av.open(str(tmp_path / "out.mkv"), "w") as output:
        passthrough.add_to(output, Fraction(0))
        written = []
        output = Spy(output, written)
        for second in (1, 2, 3):
            passthrough.pump(output, Fraction(second), Fraction(0))
            assert second - 0.03 <= written[-1] <= second
        passthrough.pump(output, None, Fraction(0))
        passthrough.close()
    assert written == sorted(written)
    assert written[-1] > 3.9


class Spy:
    """An output that notes the time of every packet."""

    def __init__(self, output, times):
        self.output, self.times = output, times

    def mux_one(self, packet):
        self.times.append(float(packet.dts * packet.time_base))
        self.output.mux_one(packet)


def test_pictures_alone_when_the_input_is_gone(tmp_path):
    path = beeping(tmp_path / "in.mkv", "libx264", "aac", count=10)
    with VideoSource(path) as source:
        frames = list(source)
    path.unlink()
    with VideoSink(tmp_path / "out.mp4", source.info, FAST) as sink:
        for frame in frames:
            sink.write(frame)
    assert "sound and metadata are left out" in sink.warnings[0]
    assert len(stamps(sink.path)) == 10


def test_damaged_sound_does_not_stop_the_video(tmp_path):
    path = beeping(tmp_path / "in.mkv", "libx264", "aac", count=50)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    with av.open(str(path)) as source:
        places = [(packet.pos, packet.size) for packet in source.demux(audio=0) if packet.size]
    for position, size in places[10:40:2]:
        content[position + 8 : position + size] ^= 0x5A
    path.write_bytes(content.tobytes())
    for suffix in (".mp4", ".webm"):
        sink = copy(path, tmp_path / f"out{suffix}", WriteOptions())
        assert len(stamps(sink.path)) == 50


def test_subtitles_are_copied_where_they_can_be(shared, tmp_path):
    path = shared("video/odd/nasa_13013.mp4")
    for suffix, kept in ((".mp4", 2), (".mkv", 0)):
        sink = copy(path, tmp_path / f"out{suffix}", end=1.0)
        with av.open(str(sink.path)) as made:
            assert len(made.streams.subtitles) == kept
            assert len(made.streams.audio) == 2
        assert any("subtitle" in warning and "left out" in warning for warning in sink.warnings) == (kept == 0)
