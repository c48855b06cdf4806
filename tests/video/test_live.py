"""Live sources: a camera over HTTP that is lost and found again, FFmpeg's own test pictures, and bad addresses."""

import contextlib
import itertools
import os
import sys
import threading
import time

import pytest
from films import film, moving
from mjpeg import camera
from piping import named_pipe, standard_input

from tmaseg.errors import ConfigError, VideoError
from tmaseg.video import check_exists
from tmaseg.video.address import hidden
from tmaseg.video.live import CatchUp, LiveSource
from tmaseg.video.source import ReadOptions, open_source

FAST = ReadOptions(timeout=2, reconnect=5)


def take(source, count):
    return list(itertools.islice(source, count))


def test_a_camera_over_http_is_live_and_time_is_that_of_arrival():
    with camera() as made, open_source(made.url, FAST) as source:
        assert isinstance(source, LiveSource)
        assert (source.info.width, source.info.height, source.info.live, source.info.frames) == (64, 48, True, None)
        begun = time.monotonic()
        frames = take(source, 11)
        passed = time.monotonic() - begun
    span = frames[-1].seconds - frames[0].seconds
    assert 0.3 < span <= passed + 0.2
    assert all(earlier.pts < later.pts for earlier, later in itertools.pairwise(frames))
    assert all(begun - 1 < frame.arrival <= begun + passed for frame in frames)
    assert not any(frame.discontinuity for frame in frames)


def test_a_lost_camera_is_found_again_with_another_size_and_the_memory_must_begin_anew():
    with camera() as made, open_source(made.url, FAST) as source:
        frames = take(source, 5)
        made.stop()
        threading.Timer(1.0, made.start).start()
        made.size = (96, 80)
        more = take(source, 5)
        assert source.reconnects == 1
        assert not source.damage.stopped
        assert [frame.discontinuity for frame in more] == [True, False, False, False, False]
        assert {frame.rgb.shape for frame in frames + more} == {(48, 64, 3)}
        assert more[0].seconds - frames[-1].seconds > 0.9  # the time that passed
        assert more[0].index == frames[-1].index + 1
        assert any("lost once and made again" in warning for warning in source.warnings)
        assert any("fitted into the first" in warning for warning in source.warnings)


def test_a_transport_stream_over_http_is_live_and_the_codec_may_change_after_a_loss(tmp_path):
    with camera() as made:
        made.film = film(tmp_path / "a.ts", moving(30, 96, 80), kind="mpegts").read_bytes()
        with open_source(made.url, FAST) as source:
            assert (source.info.live, source.info.codec, source.info.rate) == (True, "h264", 25)
            frames = take(source, 20)
            assert {later.pts - earlier.pts for earlier, later in itertools.pairwise(frames)} == {3600}
            made.stop()
            made.film = None  # motion JPEG, of another size
            made.start()
            more = take(source, 15)
            assert {frame.rgb.shape for frame in frames + more} == {(80, 96, 3)}
            assert sum(frame.discontinuity for frame in more) == 1
            assert source.reconnects == 1


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_camera_that_stays_away_ends_the_frames_with_the_reason(seconds):
    with camera() as made, open_source(made.url, ReadOptions(timeout=2, reconnect=seconds)) as source:
        take(source, 3)
        made.stop()
        begun = time.monotonic()
        list(source)
        assert time.monotonic() - begun < seconds + 1.5
        assert source.reconnects == 0
        assert "127.0.0.1" in source.damage.stopped
        assert source.damage


def test_a_silent_camera_is_connected_again_after_the_timeout():
    with camera() as made, open_source(made.url, ReadOptions(timeout=0.5, reconnect=10)) as source:
        take(source, 3)
        made.silent = True
        threading.Timer(1.5, setattr, (made, "silent", False)).start()
        assert take(source, 3)[0].discontinuity
        assert made.connections >= 2


def test_every_pauses_and_stop():
    with open_source("lavfi:testsrc2=size=64x48:rate=25", ReadOptions(every=3)) as source:
        begun = time.monotonic()
        frames = take(source, 4)
        assert time.monotonic() - begun > 0.3, "made no faster than they are shown"
        assert {later.index - earlier.index for earlier, later in itertools.pairwise(frames)} == {3}
        source.stop()
        assert len(list(source)) <= 1


def test_test_pictures_that_end_are_not_sought_again():
    with open_source("lavfi:testsrc2=size=64x48:rate=25:duration=0.4", FAST) as source:
        assert len(list(source)) == 9  # without the first, which told the size
        assert not source.damage


def test_a_pipe_may_be_live(tmp_path):
    clip = film(tmp_path / "in.ts", moving(30), kind="mpegts")
    with (
        named_pipe(tmp_path / "pipe", clip.read_bytes()) as pipe,
        pipe.open("rb") as file,
        standard_input(file.fileno()),
        open_source("-", ReadOptions(live=True)) as source,
    ):
        assert (source.info.name, source.info.live) == ("-", True)
        assert len(list(source)) == 29


def test_a_file_cannot_be_live(tmp_path):
    clip = film(tmp_path / "in.mp4", moving(5))
    with pytest.raises(VideoError, match="has an end: --live is for cameras, streams and pipes"):
        open_source(clip, ReadOptions(live=True))


def test_a_live_source_has_no_start_and_no_end():
    with pytest.raises(ConfigError, match="has no --start and no --end; give --duration"):
        open_source("lavfi:testsrc2", ReadOptions(start=1.0))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("camera:77", "there is no camera /dev/video77; cameras here: "),
        ("/dev/video77", "there is no camera /dev/video77; cameras here: "),
        ("camera:0?fps=5", "camera has no option 'fps'; it has video_size, framerate"),
        ("rtsp://bob:pa55@127.0.0.1:1/x", "rtsp://***@127.0.0.1:1/x cannot be fetched: Connection refused; no server"),
        ("rtmp://127.0.0.1:1/live/x", "Connection refused; no server listens there"),
        ("udp://127.0.0.1:1?fifo=5", "udp has no option 'fifo'; it has buffer_size"),
        ("nonsense://bob:pa55@x/y", "nonsense://***@x/y: nonsense:// is not supported; give a file"),
        ("lavfi:nonsense", "lavfi:nonsense cannot be opened: Filter not found"),
        ("lavfi:sine", "has no video stream (sound only)"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems name cameras otherwise")
def test_what_cannot_be_opened_is_said_in_one_line(spec, message):
    check_exists(spec)
    with pytest.raises(VideoError) as caught:
        open_source(spec, FAST)
    assert message in str(caught.value)
    assert "pa55" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_screen_needs_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(VideoError, match="finds no display; set DISPLAY, or name one"):
        open_source("screen:", FAST)


def test_a_wrong_password_is_said_and_not_shown():
    with camera() as made:
        made.password = "bob:right"
        address = made.url.replace("//", "//bob:{}@")
        with open_source(address.format("right"), FAST) as source:
            assert source.info.name == made.url.replace("//", "//***@")
        with pytest.raises(
            VideoError, match=r"401 Unauthorized.*write user name and password before the host"
        ) as caught:
            open_source(address.format("wrong"), FAST)
    assert "wrong" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("clip.mp4", "clip.mp4"),
        ("http://host/@channel/clip.mp4?t=5", "http://host/@channel/clip.mp4?t=5"),
        ("rtsp://bob:secret@host:554/x", "rtsp://***@host:554/x"),
        ("rtsp://bob:se/cr@et@host/x", "rtsp://***@host/x"),
        ("http://host:8080/a?channel=2&token=abc&Password=x", "http://host:8080/a?channel=2&token=***&Password=***"),
        ("srt://host:9?passphrase=abc&mode=caller", "srt://host:9?passphrase=***&mode=caller"),
    ],
)
def test_no_credentials_are_shown(spec, shown):
    assert hidden(spec) == shown


def test_a_stream_that_is_read_too_slowly_is_caught_up_with_by_its_key_frames(tmp_path):
    clip = film(tmp_path / "in.ts", moving(400), kind="mpegts", options={"g": "25", "bf": "0"})
    packets = clip.read_bytes()
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def send():  # as a camera does: 25 frames a second, and no faster
        with path.open("wb", buffering=0) as pipe, contextlib.suppress(BrokenPipeError):
            begun = time.monotonic()
            for index in range(400):
                pipe.write(packets[len(packets) * index // 400 : len(packets) * (index + 1) // 400])
                time.sleep(max(0, begun + index / 25 - time.monotonic()))

    threading.Thread(target=send, daemon=True).start()
    with open_source(path, ReadOptions(live=True)) as source:
        begun, late = time.monotonic(), []
        for frame in source:
            time.sleep(0.08)  # half as fast as it comes
            late.append(time.monotonic() - begun - frame.seconds)
            if frame.seconds > 13:
                break
    assert max(late) - late[0] < 5, "without catching up it is 6.5 s late by now, and ever more"
    assert min(late[len(late) // 2 :]) - late[0] < 1.5


def test_catching_up_takes_clocks_that_drift_and_streams_that_are_late_for_good():
    drifting, late_for_good = CatchUp(), CatchUp()
    times = [index / 25 for index in range(25 * 3600)]
    assert not any(drifting.is_late(1.0005 * time, time) for time in times)
    found = [late_for_good.is_late(time + (5 if time > 10 else 0), time) for time in times[:1500]]
    assert not any(found[:250])
    assert all(found[252:480])
    assert not any(found[520:])
