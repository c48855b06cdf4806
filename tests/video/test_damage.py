"""Damaged video: what decodes is given, what does not is counted and said."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest
from films import film, moving, stamps

from tmaseg.errors import VideoError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Damage
from tmaseg.video.video_source import VideoSource


def noisy(count):
    """Pictures that compress badly, so that most of a file is pictures."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(count)]


def read(path):
    with VideoSource(path) as source:
        frames = list(source)
        return frames, source.damage, source


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm", ".avi", ".ts", ".mpg", ".gif"])
def test_a_whole_file_has_no_damage(tmp_path, suffix):
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4", ".mpg": "mpeg2video", ".gif": "gif"}.get(suffix, "libx264")
    path = film(tmp_path / f"a{suffix}", moving(30), codec=codec, pix_fmt="rgb8" if codec == "gif" else "yuv420p")
    frames, damage, source = read(path)
    assert len(frames) == 30
    assert not damage
    assert damage.lines() == ()
    assert source.warnings == ()
    assert not damage.announced_seconds or damage.decoded_seconds >= damage.announced_seconds


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4", ".avi"])
@pytest.mark.parametrize("with_sound", [False, True])
def test_a_truncated_file_is_noticed(tmp_path, suffix, with_sound):
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    sound = {".webm": ["libopus"], ".avi": ["mp2"]}.get(suffix, ["aac"]) if with_sound else []
    container = {"movflags": "faststart"} if suffix == ".mp4" else {}
    sounds = {"sound": sound, "seconds_of_sound": 2.4}
    whole = film(tmp_path / f"a{suffix}", noisy(60), codec=codec, container=container, **sounds)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    frames, damage, _ = read(cut)
    assert 20 < len(frames) < 45
    assert damage.truncated
    assert damage
    assert damage.decoded_seconds / damage.announced_seconds == pytest.approx(len(frames) / 60, abs=0.06)
    assert any("% of the announced length" in line for line in damage.lines())


def test_sound_that_outlasts_the_pictures_is_no_damage(tmp_path):
    path = film(tmp_path / "a.mkv", moving(30), sound=["aac"], seconds_of_sound=1.2)
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mkv"), "w") as output:
        # The first half of the pictures, and all of the sound.
        streams = {s.index: output.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.size and not (packet.stream.type == "video" and packet.pts > 600):
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    frames, damage, _ = read(tmp_path / "b.mkv")
    assert len(frames) < 20
    assert not damage


@pytest.mark.parametrize("where", [slice(10, 40, 3), slice(30, 31), slice(57, 60)])
def test_packets_that_do_not_decode_are_skipped_and_counted(tmp_path, where):
    path = film(tmp_path / "a.mp4", noisy(60), options={"g": "5", "bf": "0"})
    count = blank(path, where)
    frames, damage, _ = read(path)
    assert len(frames) == 60 - count
    assert damage.packets == count
    assert damage
    assert any("could not be decoded" in line for line in damage.lines())
    # What is left has its own time, and the last good frame is not lost.
    kept = [index for index in range(60) if index not in range(60)[where]]
    assert [frame.pts * frame.time_base * 25 for frame in frames] == kept


def blank(path, where):
    """Overwrite some of a file's video packets with zeros; how many."""
    with av.open(str(path)) as source:
        places = [(packet.pos, packet.size) for packet in source.demux(video=0) if packet.size][where]
    content = bytearray(path.read_bytes())
    for position, size in places:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    return len(places)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_random_damage_never_gets_past_the_error_tree(tmp_path, seed, suffix):
    codec, sound = ("mpeg4", "mp2") if suffix == ".avi" else ("libx264", "aac")
    path = film(tmp_path / f"a{suffix}", noisy(20), codec=codec, sound=[sound], seconds_of_sound=0.8)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(seed)
    content[rng.integers(0, len(content), 200)] ^= rng.integers(1, 256, 200, np.uint8)
    path.write_bytes(content.tobytes())
    with suppress(VideoError):
        frames, _, source = read(path)
        assert {frame.rgb.shape for frame in frames} == {frames[0].rgb.shape}
        assert all(before.pts < after.pts for before, after in pairwise(frames))
        # The sound is as damaged: what is left of it goes along and does not stop the pictures.
        with VideoSink(tmp_path / "out.mp4", source.info, WriteOptions(preset="ultrafast")) as sink:
            for frame in frames:
                sink.write(frame)
        assert len(stamps(sink.path)) == len(frames)


def test_a_file_none_of_whose_packets_decodes(tmp_path):
    path = film(tmp_path / "a.mp4", noisy(10), options={"bf": "0"})
    blank(path, slice(None))
    with pytest.raises(VideoError, match="none of its 10 packets decodes"):
        VideoSource(path)


@pytest.mark.parametrize(("second", "fits"), [((32, 24), True), ((48, 64), True), ((64, 48), False)])
def test_pictures_of_another_size_are_fitted_and_marked(tmp_path, second, fits):
    # A transport stream may change its size: two of them, one after the other.
    one, two = film(tmp_path / "1.ts", moving(5)), film(tmp_path / "2.ts", moving(5, *second), pts=range(5, 10))
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    frames, damage, source = read(both)
    assert {frame.rgb.shape for frame in frames} == {(48, 64, 3)}
    assert [frame.index for frame in frames if frame.discontinuity] == ([5] if fits else [])
    assert damage.resized == (5 if fits else 0)
    assert not damage.truncated
    assert any(f"is {second[0]}x{second[1]}, the first one 64x48" in warning for warning in source.warnings) == fits


def test_damage_in_words():
    none = Damage(decoded_seconds=6.4, announced_seconds=6.44, step_seconds=0.04)
    assert not none
    some = replace(none, packets=2, decoded_seconds=6.4, announced_seconds=10.0, unreadable=("a.png",), missing=1)
    assert some.lines() == (
        "2 packets could not be decoded and were skipped",
        "decoded 64 % of the announced length (6.4 of 10.0 s): the file is cut short or damaged",
        "1 number missing from the image sequence",
        "1 image could not be read and was skipped: a.png",
    )
    assert Damage(resized=3, irregular=1).lines()
    assert not Damage(resized=3, irregular=1)
