"""Standard input and named pipes: read once, used as any video is, with never a wait without end."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from films import film, moving
from piping import named_pipe, standard_input

from tmaseg.errors import VideoError
from tmaseg.video.source import ReadOptions, open_source


def pictures(spec, **options):
    with open_source(spec, ReadOptions(**options)) as source:
        return np.stack([frame.rgb for frame in source]), source.damage, source.info


@pytest.mark.parametrize(
    ("name", "kind"), [("a.ts", None), ("a.mp4", None), ("a.mkv", None), ("a.avi", None), ("a.mpg", "mpeg")]
)
def test_a_pipe_gives_what_the_file_does(tmp_path, name, kind):
    video = film(tmp_path / name, moving(12), kind=kind, seconds_of_sound=0.48, sound=["mp2" if kind else "aac"])
    wanted, _, info = pictures(video)
    with named_pipe(tmp_path / "pipe", video.read_bytes()) as pipe:
        got, damage, piped = pictures(pipe)
    np.testing.assert_array_equal(got, wanted)
    assert not damage
    assert (piped.name, piped.rate, piped.sound) == (str(pipe), info.rate, info.sound)
    with named_pipe(tmp_path / "again", video.read_bytes()) as pipe:
        np.testing.assert_array_equal(pictures(pipe, start=0.2, every=2)[0], pictures(video, start=0.2, every=2)[0])


def test_frames_come_before_the_pipe_has_ended(tmp_path):
    data = film(tmp_path / "a.mkv", moving(40), options={"g": "5"}).read_bytes()
    more = threading.Event()
    halves = data[: len(data) // 2], data[len(data) // 2 :]
    with named_pipe(tmp_path / "pipe", *halves, more=more) as pipe, open_source(pipe) as source:
        frames = iter(source)
        assert next(frames).index == 0
        more.set()
        assert len(list(frames)) == 39


def test_a_pipe_without_a_writer_or_with_a_silent_one_ends_after_the_timeout(tmp_path):
    os.mkfifo(tmp_path / "alone")
    with pytest.raises(VideoError, match=r"alone gave nothing for 0\.2 s; .* --timeout"):
        open_source(tmp_path / "alone", ReadOptions(timeout=0.2))
    data, more = film(tmp_path / "a.mkv", moving(40), options={"g": "5"}).read_bytes(), threading.Event()
    with named_pipe(tmp_path / "silent", data[: len(data) // 2], more=more) as pipe:
        got, damage, _ = pictures(pipe, timeout=0.3)
        more.set()
    assert 1 < len(got) < 40
    assert damage.stopped == f"{pipe} gave nothing for 0.3 s; check the program that writes into it, or raise --timeout"


def test_a_pipe_that_gives_nothing_or_no_video_is_said(tmp_path):
    with named_pipe(tmp_path / "empty") as pipe, pytest.raises(VideoError, match=r"empty gave nothing \(0 bytes\)"):
        open_source(pipe)
    with named_pipe(tmp_path / "text", b"hello\n") as pipe, pytest.raises(VideoError, match="is a text file"):
        open_source(pipe)


def test_what_a_pipe_lacks_room_for_is_said(tmp_path, monkeypatch):
    video = film(tmp_path / "a.ts", moving(12))
    with Path("/dev/full").open("r+b", buffering=0) as full, named_pipe(tmp_path / "p", video.read_bytes()) as pipe:
        monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)
        with pytest.raises(VideoError, match="TMPDIR"):
            open_source(pipe)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_a_pipe_or_a_file(tmp_path, name):
    video = film(tmp_path / "a.mp4", moving(12))
    wanted, _, _ = pictures(video)
    with named_pipe(tmp_path / "pipe", video.read_bytes()) as pipe, pipe.open("rb") as file:
        with standard_input(file.fileno()):
            got, _, info = pictures(name)
        assert info.name == name
        np.testing.assert_array_equal(got, wanted)
    with video.open("rb") as file, standard_input(file.fileno()):
        np.testing.assert_array_equal(pictures(name)[0], wanted)


def test_terminals_and_devices_are_no_videos():
    main, terminal = os.openpty()
    with standard_input(terminal), pytest.raises(VideoError, match="standard input is no video: pipe one in"):
        open_source("-")
    with pytest.raises(VideoError, match=r"is a device; .* ffmpeg -i /dev/zero -f mpegts - "):
        open_source("/dev/zero")
    os.close(terminal)
    os.close(main)


def test_reading_that_waits_for_a_pipe_can_be_stopped(tmp_path):
    data, more = film(tmp_path / "a.mkv", moving(40), options={"g": "5"}).read_bytes(), threading.Event()
    with named_pipe(tmp_path / "pipe", data[: len(data) // 2], more=more) as pipe:
        threading.Timer(0.3, lambda: source.stop()).start()
        with open_source(pipe, ReadOptions(timeout=60)) as source:
            assert 1 < len(list(source)) < 40
        more.set()
