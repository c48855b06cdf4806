"""Every odd file read and written again, held against what PyAV says of it."""

from fractions import Fraction

import av
import pytest
from films import origin, stamps

from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import open_source

# Name: frames, upright (width, height), sound streams.
FILES = {
    "animated.gif": (4, (64, 48), 0),
    "av1_video.mkv": (125, (640, 360), 0),
    "bt601_limited_range.mp4": (60, (320, 240), 0),
    "bt709_full_range.mp4": (30, (1280, 720), 0),
    "discard_first_keyframe.mp4": (25, (64, 64), 0),
    "h265_10bits.mp4": (30, (200, 200), 0),
    "nasa_13013.mp4": (325, (320, 180), 2),
    "nasa_13013_mkv_duration_tag.mkv": (390, (480, 270), 1),
    "nasa_13013_rotated.mp4": (17, (270, 480), 0),
    "nasa_13013_vfr.mp4": (50, (480, 270), 0),
    "sine_stereo_mp2.mpg": (100, (128, 128), 1),
    "test_non_zero_start.mp4": (12, (200, 112), 0),
    "testsrc2_hdr.mp4": (60, (320, 180), 0),
    "testsrc2_mpeg4.avi": (30, (1280, 720), 0),
    "testsrc2_mpeg4.mp4": (1, (64, 64), 0),
    "testsrc2_odd_height_and_width_444.mp4": (25, (321, 241), 0),
    "testsrc2_odd_width_vp9.mp4": (25, (321, 240), 0),
    "testsrc2_vp9.webm": (30, (1280, 720), 0),
    "unspecified_full_range.mp4": (60, (320, 240), 0),
}


def test_the_list_is_complete(shared):
    assert {path.name for path in shared("video/odd").iterdir()} == {*FILES, "LICENSE"}


@pytest.mark.parametrize("name", FILES)
def test_read_and_written_again(shared, tmp_path, name):
    path, target = shared("video/odd") / name, tmp_path / "out.mp4"
    count, (width, height), tracks = FILES[name]
    with open_source(path) as source:
        with VideoSink(target, source.info, WriteOptions(preset="veryfast")) as sink:
            for frame in source:
                assert frame.rgb.shape == (height, width, 3)
                sink.write(frame)
        info, damage = source.info, source.damage
    assert not damage
    assert damage.lines() == ()
    assert info.frames == pytest.approx(count, abs=2)
    assert (info.width, info.height, len(info.sound)) == (width, height, tracks)

    with av.open(str(path)) as before, av.open(str(target)) as after:
        old, new = before.streams.video[0], after.streams.video[0]
        zero = round(origin(path) / old.time_base)
        times = [(frame.pts - zero) * old.time_base for frame in before.decode(old)]
        assert len(times) == count
        assert [frame.pts * new.time_base for frame in after.decode(new)] == times
        context = new.codec_context
        assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (1, 1, 1, 1)
        assert (context.pix_fmt, context.name) == ("yuv420p", "h264")
        assert (new.width, new.height) == (width + width % 2, height + height % 2)
        assert any("needs an even size" in warning for warning in sink.warnings) == bool(width % 2 or height % 2)
        assert (new.sample_aspect_ratio or 1) == (old.sample_aspect_ratio or 1)
        assert len(after.streams.audio) == tracks
        assert after.duration == pytest.approx(before.duration, abs=150_000)
    with av.open(str(target)) as after:
        assert next(after.decode(video=0)).rotation == 0


@pytest.mark.parametrize("name", ["nasa_13013.mp4", "nasa_13013_mkv_duration_tag.mkv", "sine_stereo_mp2.mpg"])
def test_sound_is_copied_packet_by_packet(shared, tmp_path, name):
    path, target = shared("video/odd") / name, tmp_path / "out.mov"
    with open_source(path) as source, VideoSink(target, source.info, WriteOptions(preset="ultrafast")) as sink:
        for frame in source:
            sink.write(frame)
    before, after = sound_packets(path, origin(path)), sound_packets(target, 0)
    assert [len(track) for track in after] == [len(track) for track in before]
    for old, new in zip(before, after, strict=True):
        assert [content for _, content in new] == [content for _, content in old]
        assert max(abs(one - other) for (one, _), (other, _) in zip(new, old, strict=True)) < Fraction(1, 8000)


def sound_packets(path, zero):
    with av.open(str(path)) as container:
        tracks = {stream.index: [] for stream in container.streams.audio}
        for packet in container.demux(container.streams.audio):
            if packet.size:
                tracks[packet.stream.index].append((packet.pts * packet.time_base - zero, bytes(packet)))
        return list(tracks.values())


def test_the_first_video_stream_is_taken_whatever_its_index(shared):
    path = shared("video/drive-highway.mp4")
    with av.open(str(path)) as container:
        assert container.streams[0].type == "audio"
    with open_source(path) as source:
        frames = [frame.pts * frame.time_base for frame in source]
        assert not source.damage
    assert frames == stamps(path)
