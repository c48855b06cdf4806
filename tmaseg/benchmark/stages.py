"""Stages: what decoding, converting, the network, painting and encoding take of a frame of a video."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tmaseg.benchmark.row import Row
from tmaseg.inference.segmenter import Segmenter
from tmaseg.render import Painter
from tmaseg.video import DEMO
from tmaseg.video.decoder import Decoder
from tmaseg.video.facts import ReadOptions
from tmaseg.video.frame import Frame
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Source, VideoSource, open_source

_FRAMES = 60
_PASSES = 3
_BYTES = 256 * 2**20  # of painted frames that wait to be encoded
_SECONDS = 30.0  # a network that takes a second for each frame needs fewer of them to tell


def measure_stages(segmenter: Segmenter, video: Path | None) -> list[Row]:
    """Each stage of `tmaseg run` on a video, one after the other, and their sum; a run overlaps them.

    `video` None: the demo clip. Network and painting are medians; decoding, converting
    and encoding, which work in bursts, are means over all frames, opening and closing the files included.
    Reading a folder of images is all "decode". Raises VideoError and OutputError.
    """
    with TemporaryDirectory() as folder:
        rows = _read_and_written(segmenter, video or DEMO, Path(folder) / "out.mp4")
    return [*rows, Row("all stages, one after the other", sum(row.seconds_per_frame or 0.0 for row in rows))]


def _read_and_written(segmenter: Segmenter, path: Path, out: Path) -> list[Row]:
    painter, watch = Painter(segmenter.labels), _Watch()
    painted: list[Frame] = []
    with open_source(path) as source:
        for frame in _frames(source):
            if not painted:  # warm up
                segmenter.step(frame.rgb)
                segmenter.reset()
            with watch.timed("network"):
                labels = segmenter.step(frame.rgb, seconds=frame.seconds, fresh=frame.discontinuity).labels
            with watch.timed("render"):
                painted.append(frame.with_rgb(painter.paint(frame.rgb, labels)))
        # Afterwards: an encoder's threads work on while other stages would be timed.
        with watch.timed("encode"), VideoSink(out, source.info) as sink:
            for frame in painted:
                sink.write(frame)
    return [
        *_reading(path, len(painted)),
        Row("network", median(watch.taken["network"])),
        Row("render", median(watch.taken["render"])),
        Row("encode", sum(watch.taken["encode"]) / len(painted)),
    ]


def _frames(source: Source) -> Iterator[Frame]:
    """So many, or as many as come in some time, or as painted ones have room."""
    begun = time.perf_counter()
    room = max(1, _BYTES // (3 * source.info.width * source.info.height))
    for frame in islice(source, min(_FRAMES, room)):
        yield frame
        if time.perf_counter() - begun > _SECONDS:
            return


def _reading(path: Path, count: int) -> list[Row]:
    """Decode and convert: what reading takes without making pictures, and the rest; the quickest of some passes."""
    watch = _Watch()
    for _ in range(_PASSES):
        with watch.timed("read"), open_source(path) as source:
            for frame in islice(source, count):
                assert frame.rgb.size  # made by now, however late that is
        if not isinstance(source, VideoSource):
            continue
        with watch.timed("decode"), closing(Decoder(str(path), ReadOptions().timeout)) as decoder:
            for _ in islice(decoder, count):
                pass
    read = min(watch.taken["read"]) / count
    decode = min([read, *(seconds / count for seconds in watch.taken["decode"])])
    return [Row("decode", decode), Row("convert", read - decode)]


class _Watch:
    """Seconds of every call, by stage."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.taken[stage].append(time.perf_counter() - begun)
