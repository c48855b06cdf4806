"""Streams as outputs: what is sent arrives, and what cannot be is said."""

import socket
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from films import film, moving, patch_means, patches

from tmaseg.errors import OutputError
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import StreamSink
from tmaseg.video.source import open_source

ADDRESS = "rtmp://bob:pa55@127.0.0.1:1/live/x"


@pytest.fixture
def port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_what_is_sent_arrives_with_its_time(tmp_path, port):
    clip = film(tmp_path / "in.mp4", [patches()] * 60)
    got = []

    def receive():
        with av.open(f"udp://127.0.0.1:{port}", format="mpegts", timeout=20) as stream:
            for frame in stream.decode(video=0):
                got.append((frame.time, frame.to_ndarray(format="rgb24")))
                if len(got) == 40:
                    return

    reader = threading.Thread(target=receive)
    reader.start()
    with open_source(clip) as source:
        frames = list(source)
        info = source.info
    while reader.is_alive():  # until the reader has what it needs to begin
        with StreamSink(f"udp://127.0.0.1:{port}?pkt_size=1316", info, WriteOptions()) as sink:
            for frame in frames:
                sink.write(frame)
                reader.join(0.005)
    reader.join()
    steps = np.diff([time for time, _ in got[:20]])
    assert np.median(steps) == pytest.approx(0.04, abs=0.001)
    np.testing.assert_allclose(patch_means(got[20][1]), patch_means(patches()), atol=8)


def test_what_cannot_be_sent_to_is_said_without_the_password(tmp_path):
    clip = film(tmp_path / "in.mp4", moving(2))
    with open_source(clip) as source:
        with pytest.raises(OutputError) as caught, StreamSink(ADDRESS, source.info, WriteOptions()) as sink:
            sink.write(next(iter(source)))
        assert "rtmp://***@127.0.0.1:1/live/x cannot be sent to: " in str(caught.value)
        assert "pa55" not in f"{caught.value!r} {caught.value.__cause__!r}"
        with pytest.raises(OutputError, match="udp has no option 'size'"):
            StreamSink("udp://127.0.0.1:1?size=5", source.info, WriteOptions())


def test_a_key_frame_comes_every_two_seconds(tmp_path, monkeypatch):
    clip = film(tmp_path / "in.mp4", moving(9), pts=range(0, 225, 25))  # one a second
    path, opened = tmp_path / "out.flv", av.open
    with open_source(clip) as source:
        frames, info = list(source), source.info
    monkeypatch.setattr(av, "open", lambda _url, *rest, **more: opened(str(path), *rest, **more))
    with StreamSink("rtmp://127.0.0.1/live/x", info, WriteOptions()) as sink:
        for frame in frames:
            sink.write(frame)
    monkeypatch.undo()
    with av.open(str(path)) as file:
        packets = [(packet.pts * packet.time_base, packet.is_keyframe) for packet in file.demux(video=0) if packet.size]
    assert [time for time, _ in packets] == [Fraction(second) for second in range(9)]
    assert [key for _, key in packets] == [second % 2 == 0 for second in range(9)]
