"""Memory is flat: frames are let go of at once, not when the garbage collector comes by."""

import gc
from fractions import Fraction
from pathlib import Path

import pytest
from films import film, patches

from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Frame, StreamInfo
from tmaseg.video.video_source import VideoSource

STATM = Path("/proc/self/statm")
SIZE = (320, 240)
GROWTH_MB = 15  # 500 pictures kept would be 60 (stored) or 115 (RGB)

pytestmark = pytest.mark.skipif(not STATM.exists(), reason="memory is measured with /proc")


def resident_mb():
    return int(STATM.read_text().split()[1]) * 4096 / 1e6


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_reading_and_writing(tmp_path, no_collector):
    path = film(tmp_path / "in.mp4", [patches(*SIZE)] * 600, sound=["aac"], seconds_of_sound=24, rotation=(90.0,))
    with (
        VideoSource(path) as source,
        VideoSink(tmp_path / "out.mp4", source.info, WriteOptions(preset="ultrafast")) as sink,
    ):
        begun = 0.0
        for frame in source:
            sink.write(frame)
            if frame.index == 100:
                begun = resident_mb()
        grown = resident_mb() - begun
    assert grown < GROWTH_MB


def test_writing_lossless(tmp_path, no_collector):
    info = StreamInfo("drawn", *SIZE, Fraction(25), Fraction(1, 25))
    with VideoSink(tmp_path / "out.mkv", info, WriteOptions(lossless=True)) as sink:
        begun, picture = 0.0, patches(*SIZE)
        for index in range(600):
            sink.write(Frame(picture, index, info.time_base, index))
            if index == 100:
                begun = resident_mb()
        grown = resident_mb() - begun
    assert grown < GROWTH_MB
