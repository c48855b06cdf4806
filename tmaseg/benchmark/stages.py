"""Stages: seconds a frame of decoding, converting, the network, painting and encoding of a video."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tmaseg.benchmark.rows import Row
from tmaseg.inference.frame_segmenter import FrameSegmenter
from tmaseg.render import Painter
from tmaseg.video import DEMO
from tmaseg.video.decoder import Decoder
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Frame, ReadOptions, Source, open_source
from tmaseg.video.video_source import VideoSource

_FRAMES = 60
_PASSES = 3
_PAINTED_BYTES = 256 * 2**20  # of painted frames that wait to be encoded
_MAX_SECONDS = 30.0  # a network that takes a second a frame needs fewer frames


def measure_stages(segmenter: FrameSegmenter, video: Path | None) -> list[Row]:
    """Each stage of `tmaseg run` on a video, one after the other, and their sum; a run overlaps them.

    `video` None: the demo clip. Model (the network and smoothing) and painting are medians; decoding, converting and
    encoding, which work in bursts, are means over all frames, opening and closing the files included.
    Reading a folder of images is all "decode". Raises VideoError and OutputError.
    """
    with TemporaryDirectory() as folder:
        rows = _measure(segmenter, video or DEMO, Path(folder) / "out.mp4")
    return [*rows, Row("all stages, one after the other", sum(row.seconds_per_frame or 0.0 for row in rows))]


def _measure(segmenter: FrameSegmenter, path: Path, out: Path) -> list[Row]:
    painter, painted = Painter(segmenter.labels), list[Frame]()
    model, render, encode = list[float](), list[float](), list[float]()
    with open_source(path) as source:
        for frame in _frames(source):
            if not painted:  # warm up
                segmenter.step(frame.rgb)
                segmenter.reset()
            with _timed(model):
                labels = segmenter.step(frame.rgb, seconds=frame.seconds, discontinuity=frame.discontinuity).labels
            with _timed(render):
                painted.append(frame.with_rgb(painter.paint(frame.rgb, labels)))
        # Afterwards: an encoder's threads work on while other stages would be timed.
        with _timed(encode), VideoSink(out, source.info) as sink:
            for frame in painted:
                sink.write(frame)
    return [
        *_measure_reading(path, len(painted)),
        Row("model", median(model)),
        Row("render", median(render)),
        Row("encode", sum(encode) / len(painted)),
    ]


def _frames(source: Source) -> Iterator[Frame]:
    """The first frames, limited by count, by time, and by the memory that the painted ones take."""
    start_time = time.perf_counter()
    limit = max(1, _PAINTED_BYTES // (3 * source.info.width * source.info.height))
    for frame in islice(source, min(_FRAMES, limit)):
        yield frame
        if time.perf_counter() - start_time > _MAX_SECONDS:
            return


def _measure_reading(path: Path, count: int) -> list[Row]:
    """Decode and convert: reading without conversion to RGB, and the rest; the quickest of some passes."""
    read, decode = list[float](), list[float]()
    for _ in range(_PASSES):
        with _timed(read), open_source(path) as source:
            for frame in islice(source, count):
                assert frame.rgb.size  # converted by now, even if on demand
        if isinstance(source, VideoSource):
            with _timed(decode), closing(Decoder(str(path), ReadOptions())) as decoder:
                for _ in islice(decoder.frames(), count):
                    pass
    decoding = min([*read, *decode])
    return [Row("decode", decoding / count), Row("convert", (min(read) - decoding) / count)]


@contextmanager
def _timed(seconds: list[float]) -> Iterator[None]:
    start_time = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - start_time)
