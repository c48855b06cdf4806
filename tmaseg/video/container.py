"""Opening video files, URLs, devices and pipes: safely, with a clear error for what cannot be read."""

import codecs
import contextlib
import os
from functools import cache
from pathlib import Path

import av
from av import ContainerFormat
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Stream

from tmaseg.errors import VideoError
from tmaseg.video import missing
from tmaseg.video.address import Address, address_of, hidden, is_address, is_url, without_address
from tmaseg.video.pipe import Pipe, PipeReader

# Demuxers that open other files or addresses named in the file (an untrusted playlist must not read local files or
# reach the network), that run scripts, that read devices, or that take any text for an image.
_REFUSED_FORMATS = frozenset(
    {
        *("applehttp", "concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vobsub", "webm_dash_manifest"),
        *("avisynth", "lavfi", "vapoursynth", "mlv", "image2", "image2pipe", "alias_pix", "brender_pix", "svg_pipe"),
        *("adf", "bin", "ffmetadata", "idf", "ifv", "rawvideo", "tty", "xbin"),
    }
)
_WEB_FORMATS = frozenset({"hls", "dash"})  # playlists; the protocols that an address allows bound what they name


def open_input(location: str | Path | Pipe, timeout: float = 10.0, hardware: HWAccel | None = None) -> InputContainer:
    """Opens a local file, a URL, a camera, a screen or a pipe for reading; the caller closes it.

    `timeout`: seconds a URL or pipe may stay silent. Raises VideoError, also when `hardware` does not open.
    """
    if is_address(location):
        return _open_address(str(location), timeout, hardware)
    return _open_data(location if isinstance(location, Pipe) else Path(location), timeout, hardware)


def _open_data(source: Path | Pipe, timeout: float, hardware: HWAccel | None) -> InputContainer:
    head = b""
    try:
        head = source.head() if isinstance(source, Pipe) else _head(source)
        if not head and isinstance(source, Pipe):
            raise VideoError(f"{source} gave nothing (0 bytes); see what the program that writes into it says")
        if not head:
            raise VideoError(f"{source} is empty (0 bytes); copy or record it again")
        file = PipeReader(source) if isinstance(source, Pipe) else os.fspath(source.absolute())
        return _open(file, Address("", protocols="file"), _allowed_formats(web=False), None, hardware)
    except TimeoutError as error:
        raise VideoError(why_silent(source, error, timeout)) from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{source} {_describe(head)}") from error


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except FileNotFoundError as error:
        raise missing(path) from error
    except IsADirectoryError as error:
        raise VideoError(f"{path} is a folder; give a video file") from error
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}") from error


def _open_address(spec: str, timeout: float, hardware: HWAccel | None) -> InputContainer:
    address = address_of(spec)
    streams = "" if spec.startswith(("http:", "https:")) else ",rtsp,sdp,rtp"
    formats = address.format or _allowed_formats(web=True) + streams
    try:
        return _open(address.location, address, formats, timeout, hardware)
    except (av.FFmpegError, OSError, ValueError) as error:
        if address.format:
            reason = getattr(error, "strerror", None) or str(error)
            remedy = "see that it is connected, that no other program uses it, and what it can do (its options)"
            raise VideoError(f"{spec} cannot be opened: {reason}; {remedy}") from error
        raise VideoError(why_silent(spec, error, timeout)) from without_address(error)


def codec_name(stream: Stream) -> str:
    """Name of a stream's codec; a stream without a decoder does not have the attribute."""
    return getattr(stream, "name", None) or "unknown"


def why_silent(location: str | Path | Pipe, error: BaseException, timeout: float) -> str:
    """What went wrong with reading from an address or a pipe."""
    name, reason = hidden(location), getattr(error, "strerror", None) or str(error)
    if isinstance(location, Pipe) and isinstance(error, TimeoutError):
        return f"{name} gave nothing for {timeout:g} s; check the program that writes into it, or raise --timeout"
    if isinstance(error, av.error.ExitError | TimeoutError):
        return f"{name} did not answer within {timeout:g} s; check the address and the connection, or raise --timeout"
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        return f"{name} answered, but not with a video that can be read; check the address in a browser"
    remedy = "check the address and the connection"
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        remedy = "write user name and password before the host, as USER:PASSWORD@HOST, or correct them"
    elif isinstance(error, ConnectionRefusedError):
        remedy = "no server listens there: start it, or correct host and port"
    elif isinstance(error, av.error.ProtocolNotFoundError):
        reason = "this build of PyAV does not have the protocol"
        remedy = "pipe it in: ffmpeg -i URL -c copy -f mpegts - | tmaseg run - --live ..."
    return f"{name} cannot be fetched: {reason}; {remedy}"


def _open(
    source: str | PipeReader, address: Address, formats: str, timeout: float | None, hardware: HWAccel | None
) -> InputContainer:
    return av.open(
        source,
        "r",
        format=address.format,
        container_options=address.options | {"protocol_whitelist": address.protocols, "format_whitelist": formats},
        timeout=timeout,
        hwaccel=hardware,
        metadata_errors="replace",  # old cameras write metadata in a code page of their own
    )


@cache
def _allowed_formats(web: bool) -> str:
    allowed = set()
    for name in av.formats_available:
        try:
            demuxer = ContainerFormat(name, "r")
        except ValueError:
            continue
        names = set(demuxer.name.split(","))
        refused = _REFUSED_FORMATS - _WEB_FORMATS if web else _REFUSED_FORMATS
        if not demuxer.no_file and not names & refused:
            allowed |= names
    return ",".join(sorted(allowed))


def _describe(head: bytes) -> str:
    """What a file that did not open is: the rest of a sentence that begins with its path."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"#extm3u", b"ffconcat", b"[playlist]", b"<asx", b"<smil")) or b"<mpd" in start:
        return "is a playlist, which only names other files; give the video file itself"
    if _is_text(head):
        return "is a text file; give a video file, a folder of images, or a URL"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return (
            "is an MP4/MOV file without a readable index (the recording or the copy broke off); "
            "copy it again, or restore it with a repair tool and a good file of the same camera"
        )
    return "is not a video that can be read: unknown format or damaged header; try to play it, or copy it again"


def _is_text(head: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut in two
        return b"\0" not in head
    return False


def is_complete_matroska(location: str | Pipe) -> bool:
    """Whether a file is a Matroska segment of known size and complete; False for a URL."""
    if isinstance(location, Pipe):
        head, length = location.head(), location.size()
    elif is_url(location):
        return False
    else:
        head, length = _head(Path(location)), Path(location).stat().st_size
    at = head.find(b"\x18\x53\x80\x67") + 4  # the segment's id; its size follows in a self-describing length
    width = 9 - head[at].bit_length() if 4 <= at < len(head) else 9
    size = int.from_bytes(head[at : at + width], "big") - (1 << 7 * width)
    unknown = (1 << 7 * width) - 1
    return width < 9 and size < unknown and length >= at + width + size
