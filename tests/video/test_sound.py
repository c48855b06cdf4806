"""Sound goes along: copied, or converted where the container refuses it, and always in time with the pictures."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from films import film, moving, onsets, origin, remux, stamps

from tmaseg.video.encoder import WriteOptions
from tmaseg.video.passthrough import Passthrough, timecode_after
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import ReadOptions, StreamInfo
from tmaseg.video.video_source import VideoSource

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


def beeping(path, video, audio, count=75, tracks=1, setup=None, **options):
    """Pictures of 3 seconds with a beep each whole second."""
    sound = {"sound": [audio] * tracks, "seconds_of_sound": count / 25, **(setup or {})}
    return film(path, moving(count), codec=video, options=options, **sound)


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
    passthrough = Passthrough(info, WriteOptions(), pytest.fail)
    with av.open(str(tmp_path / "out.mkv"), "w") as output:
        passthrough.add_to(output)
        written = []
        passthrough.output = Spy(output, written)
        for second in (1, 2, 3):
            passthrough.pump(Fraction(second))
            assert second - 0.03 <= written[-1] <= second
        passthrough.pump(None)
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


@pytest.mark.parametrize(("rate", "kept"), [(192_000, 96_000), (5512, 8000), (44_100, 44_100)])
def test_unusual_rates_are_resampled_and_said(tmp_path, rate, kept):
    path = beeping(tmp_path / "in.mkv", "libx264", "pcm_s16le", setup={"sound_rate": rate})
    for suffix, wanted in ((".mp4", kept), (".webm", 48_000)):
        sink = copy(path, tmp_path / f"out{suffix}", WriteOptions())
        with av.open(str(sink.path)) as made:
            assert made.streams.audio[0].codec_context.sample_rate == wanted
        assert lag(sink.path) == pytest.approx([0, 1, 2], abs=0.012)
        said = f"resampled from {rate} to {wanted} Hz" in sink.warnings[0]
        assert said == (rate != wanted)


@pytest.mark.parametrize("layout", ["mono", "quad", "5.0", "5.1(side)", "6.1", "7.1", "hexadecagonal"])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_channels_are_kept_or_the_mix_is_said(tmp_path, layout, suffix):
    path = beeping(tmp_path / "in.mkv", "libx264", "pcm_s16le", count=40, setup={"sound_layout": layout})
    channels = av.AudioLayout(layout).nb_channels
    sink = copy(path, tmp_path / f"out{suffix}", WriteOptions())
    kept = channels if channels <= 8 else 2
    with av.open(str(sink.path)) as made:
        assert made.streams.audio[0].codec_context.layout.nb_channels == kept
    assert ("mixed from 16 channels" in sink.warnings[0]) == (kept != channels)
    if kept == channels:  # what is mixed is quieter
        assert lag(sink.path) == pytest.approx([0, 1], abs=0.012)


@pytest.mark.parametrize(("audio", "rate", "layout"), [("aac", 32_000, "stereo"), ("mp2", 32_000, "stereo")])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
def test_another_rate_on_the_way_is_resampled_to_the_first(tmp_path, audio, rate, layout, suffix):
    one = beeping(tmp_path / "1.ts", "libx264", audio)
    two = beeping(tmp_path / "2.ts", "libx264", audio, setup={"sound_rate": rate, "sound_layout": layout})
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    sink = copy(joined, tmp_path / f"out{suffix}", WriteOptions())
    with av.open(str(sink.path)) as made:
        assert made.streams.audio[0].codec_context.sample_rate == 48_000
    beeps = onsets(sink.path)
    steps = [after - before for before, after in pairwise(beeps)]
    assert len(beeps) == 6
    assert steps == pytest.approx([1] * 5, abs=0.1)
    assert any(f"changes to {rate} Hz" in warning for warning in sink.warnings)


def test_other_channels_on_the_way_are_mixed_to_the_first(tmp_path):
    one = beeping(tmp_path / "1.ts", "libx264", "aac", setup={"sound_layout": "5.1"})
    two = beeping(tmp_path / "2.ts", "libx264", "aac", setup={"sound_layout": "mono"})
    (tmp_path / "joined.ts").write_bytes(one.read_bytes() + two.read_bytes())
    for suffix in (".mp4", ".webm"):
        sink = copy(tmp_path / "joined.ts", tmp_path / f"out{suffix}", WriteOptions())
        with av.open(str(sink.path)) as made:
            assert {frame.layout.nb_channels for frame in made.decode(audio=0)} == {6}
        assert any("48000 Hz, mono" in warning for warning in sink.warnings)


@pytest.mark.parametrize("hole", [0.6, 20])
def test_a_hole_in_sound_that_is_converted_stays_one(tmp_path, hole):
    whole = beeping(tmp_path / "whole.mkv", "libx264", "pcm_s16le")

    def lacking(packet, number):
        if packet.stream.type == "audio" and packet.pts * packet.time_base >= 1.2:
            if packet.pts * packet.time_base < 1.8:
                return False
            packet.pts = packet.dts = packet.pts + round((hole - 0.6) / packet.time_base)
        return True

    path = remux(whole, tmp_path / "in.mkv", lacking)
    for suffix in (".mp4", ".webm"):
        sink = copy(path, tmp_path / f"out{suffix}", WriteOptions())
        assert lag(sink.path) == pytest.approx([0, 1, 1.4 + hole], abs=0.03)


def test_camera_telemetry_is_copied_or_named(tmp_path):
    path = film(tmp_path / "in.mp4", moving(25), telemetry=True)
    sink = copy(path, tmp_path / "out.mp4")
    with av.open(str(path)) as source, av.open(str(sink.path)) as made:
        before, after = ([bytes(p) for p in file.demux(file.streams.data[0]) if p.size] for file in (source, made))
        assert before == after
        assert len(before) == 1
    sink = copy(path, tmp_path / "out.mkv")
    assert "(gpmd, GoPro MET) is left out: .mkv" in sink.warnings[0]


def test_timecode_goes_along_and_on_with_a_cut(tmp_path):
    path = film(tmp_path / "in.mov", moving(75), timecode="01:02:03:20")
    for reading, expected in (({}, "01:02:03:20"), ({"start": 1.4}, "01:02:05:05")):
        for suffix in (".mp4", ".mov"):
            sink = copy(path, tmp_path / f"out{suffix}", WriteOptions(overwrite=True), **reading)
            with av.open(str(sink.path)) as made:
                assert made.streams.data[0].metadata["timecode"] == expected
            assert sink.warnings == ()
    assert "(tmcd, TimeCodeHandler) is left out: .mkv" in copy(path, tmp_path / "out.mkv").warnings[0]


def test_a_timecode_that_does_not_fit_is_left_out():
    drop, ntsc = "01:00:00;02", Fraction(30000, 1001)
    assert timecode_after(drop, ntsc, Fraction(0)) == drop
    assert timecode_after(drop, ntsc, Fraction(1)) is None
    assert timecode_after(drop, Fraction(25), Fraction(0)) is None
    assert timecode_after("01:00:00:30", Fraction(25), Fraction(0)) is None
    assert timecode_after("23:59:59:24", Fraction(25), Fraction(1, 25)) == "00:00:00:00"
    assert timecode_after("noon", Fraction(25), Fraction(0)) is None


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
