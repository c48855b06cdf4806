"""Reading a video file: facts, threads, fields, and files that others wrote carelessly."""

import queue
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from films import film, moving, stamps

from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import ReadOptions
from tmaseg.video.video_source import VideoSource


def test_facts_before_the_first_frame(tmp_path):
    path = film(tmp_path / "a.mkv", moving(30), sound=["aac", "flac"], seconds_of_sound=1.2, metadata={"title": "x"})
    with VideoSource(path) as source:
        info = source.info
    assert (info.width, info.height, info.rate, info.frames) == (64, 48, 25, 30)
    assert info.seconds == pytest.approx(1.2)
    assert (info.codec, info.pixel_format, info.sound) == ("h264", "yuv420p", ("aac", "flac"))
    assert info.metadata["title"] == "x"
    assert (info.name, info.location) == (str(path), str(path))
    assert (info.start, info.end, info.rotation, info.sample_aspect) == (None, None, 0, 1)


def test_a_source_is_read_once_and_closed_twice(tmp_path):
    source = VideoSource(film(tmp_path / "a.mp4", moving(5)))
    assert len(list(source)) == 5
    assert list(source) == []
    source.close()
    source.close()


def test_reading_may_stop_halfway(tmp_path):
    with VideoSource(film(tmp_path / "a.mp4", moving(50))) as source:
        for frame in source:
            if frame.index == 3:
                break
    assert source.damage.decoded_seconds is None  # nothing is known of the rest
    assert not source.damage


def test_decoding_in_one_thread_and_encoding_in_another(tmp_path):
    path = film(tmp_path / "in.mp4", moving(60), sound=["aac"], seconds_of_sound=2.4)
    source = VideoSource(path)
    frames: queue.Queue = queue.Queue(4)

    def decode():
        for frame in source:
            frames.put(frame)
        frames.put(None)

    def encode():
        with VideoSink(tmp_path / "out.mp4", source.info, WriteOptions(preset="ultrafast")) as sink:
            while (frame := frames.get()) is not None:
                sink.write(frame)

    threads = [threading.Thread(target=work) for work in (decode, encode)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    source.close()
    assert stamps(tmp_path / "out.mp4") == stamps(path)


@pytest.fixture
def fields(tmp_path):
    """An interlaced video: a bar that has moved on in every second line."""
    pictures = []
    for index in range(10):
        rgb = np.full((48, 64, 3), 40, np.uint8)
        rgb[0::2, 4 * index : 4 * index + 16] = 220
        rgb[1::2, 4 * index + 8 : 4 * index + 24] = 220
        pictures.append(rgb)
    return film(tmp_path / "fields.mkv", pictures, options={"x264-params": "tff=1", "crf": "5"})


def combs(rgb):
    """How much neighbouring lines differ."""
    return np.abs(np.diff(rgb[..., 0].astype(int), axis=0)).mean()


def test_interlaced_video_is_reported_and_can_be_deinterlaced(fields):
    with VideoSource(fields) as source:
        plain = list(source)
        assert any("interlaced" in warning for warning in source.warnings)
    with VideoSource(fields, ReadOptions(deinterlace=True)) as source:
        deinterlaced = list(source)
        assert source.warnings == ()
        assert not source.damage
    assert [frame.pts for frame in deinterlaced] == [frame.pts for frame in plain]
    assert sum(combs(frame.rgb) for frame in deinterlaced) < 0.5 * sum(combs(frame.rgb) for frame in plain)


def test_deinterlacing_leaves_progressive_video_as_it_is(tmp_path):
    path = film(tmp_path / "a.mp4", moving(6), rotation=(90.0,))
    with VideoSource(path) as one, VideoSource(path, ReadOptions(deinterlace=True)) as other:
        for plain, deinterlaced in zip(one, other, strict=True):
            assert (plain.pts, plain.duration, plain.index) == (
                deinterlaced.pts,
                deinterlaced.duration,
                deinterlaced.index,
            )
            np.testing.assert_array_equal(plain.rgb, deinterlaced.rgb)


def test_metadata_in_an_old_code_page(tmp_path):
    path = film(tmp_path / "a.avi", moving(5), codec="mpeg4", metadata={"title": "Caf# Bl#te"})
    path.write_bytes(path.read_bytes().replace(b"Caf# Bl#te", "Café Blüte".encode("latin-1")))
    with VideoSource(path) as source:
        assert source.info.metadata["title"].startswith("Caf")
        with VideoSink(tmp_path / "out.mp4", source.info, WriteOptions(preset="ultrafast")) as sink:
            for frame in source:
                sink.write(frame)
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert made.metadata["title"].startswith("Caf")


def test_several_video_streams_are_said(shared):
    with VideoSource(shared("video/odd/nasa_13013.mp4")) as source:
        assert any("2 video streams" in warning for warning in source.warnings)


def test_apple_players_find_hevc(tmp_path):
    path = film(tmp_path / "in.mp4", moving(3), rate=Fraction(25))
    with (
        VideoSource(path) as source,
        VideoSink(tmp_path / "out.mp4", source.info, WriteOptions(encoder="libx265")) as sink,
    ):
        for frame in source:
            sink.write(frame)
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert made.streams.video[0].codec_context.codec_tag == "hvc1"
