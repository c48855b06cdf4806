"""StreamSink: frames to a server or to another machine, as they come."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Self
from urllib.parse import urlsplit

import av
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from tmaseg.errors import OutputError
from tmaseg.video.address import STREAM_FORMATS, check_options, hidden, without_address
from tmaseg.video.colour import EncoderPictures
from tmaseg.video.encoder import WriteOptions, choose_encoder
from tmaseg.video.source import Frame, StreamInfo

_KEY_FRAME_SECONDS = 2  # how long somebody who joins waits for a picture at most
_MUXER_OPTIONS = {"flush_packets": "1", "flvflags": "no_duration_filesize", "rtsp_transport": "tcp"}


class StreamSink:
    """Pictures to rtmp://, rtsp://, udp:// and the like, without sound. Frames have the size of the first.

    A context manager; leaving its block closes the connection. Its time begins at zero with the first frame.
    """

    def __init__(self, url: str, info: StreamInfo, options: WriteOptions) -> None:
        """Raises OutputError for an unknown option of the URL, and for an encoder that does not work."""
        check_options(url, OutputError)
        self._url, self._info = url, info
        self._kind = STREAM_FORMATS[urlsplit(url).scheme]
        self._time_base = Fraction(1, 1000 if self._kind == "flv" else 90_000)
        self._encoder = choose_encoder(self._kind, options, self._time_base)
        self._container: OutputContainer | None = None
        self._stream: VideoStream
        self._pictures: EncoderPictures
        self._origin = self._key_frame = Fraction(0)
        self._ticks = -1
        self.encoder = self._encoder.name
        """Name of the video encoder in use."""
        self.warnings = ("the sound is not sent to a stream",) if info.sound and options.audio else ()
        """Sentences a user should read."""

    def write(self, frame: Frame) -> None:
        """Encode and send one frame. Raises OutputError when there is no server, or no longer."""
        seconds = frame.pts * frame.time_base
        with self._failing_clearly():
            if self._container is None:
                self._begin(frame)
                self._origin = self._key_frame = seconds
            picture = self._pictures.make(frame.rgb)
            self._ticks = max(self._ticks + 1, round((seconds - self._origin) / self._time_base))
            picture.pts, picture.time_base = self._ticks, self._time_base
            if seconds - self._key_frame >= _KEY_FRAME_SECONDS:
                picture.pict_type, self._key_frame = PictureType.I, seconds
            assert self._container is not None
            self._container.mux(self._stream.encode(picture))

    def cut_sound(self) -> None:
        """Nothing: there is none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._container is None:
            return
        try:
            with self._failing_clearly():
                if kind is None:
                    self._container.mux(self._stream.encode(None))
        finally:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()

    def _begin(self, first: Frame) -> None:
        encoder, info = self._encoder, self._info
        if encoder.name == "libx264":
            encoder = replace(encoder, options={**encoder.options, "tune": "zerolatency"})
        size = encoder.padded(first.rgb.shape[1], first.rgb.shape[0])
        container = av.open(self._url, "w", format=self._kind, container_options=_MUXER_OPTIONS)
        self._stream = encoder.add_to(container, size, info.rate, self._time_base, info.sample_aspect)
        self._pictures = EncoderPictures(*size, encoder.pixel_format)
        container.start_encoding()
        self._container = container

    @contextlib.contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(
                f"{hidden(self._url)} cannot be sent to: {reason}; check the address, the server, and --encoder"
            ) from without_address(error)
