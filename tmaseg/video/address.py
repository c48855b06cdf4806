"""Addresses of sources that are not files: what FFmpeg opens for each, and how they are shown without secrets."""

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tmaseg.errors import TmasegError, VideoError

STDIN = "-"  # standard input, read as it comes where it is live
_DEVICE = re.compile(r"(camera|screen|lavfi):(?!//)|/dev/video\d+(?=\?|$)")
STREAM_FORMATS = {
    **dict.fromkeys(("rtmp", "rtmps", "rtmpt"), "flv"),
    **dict.fromkeys(("rtsp", "rtsps"), "rtsp"),
    **dict.fromkeys(("udp", "tcp", "srt"), "mpegts"),
    "rtp": "rtp_mpegts",
}
"""Schemes of addresses that can be sent to, and FFmpeg's name of the format of each."""
_STREAM_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,rtmp,rtmps,rtmpt,ffrtmphttp,srt,http,https,httpproxy,crypto"
_WEB_PROTOCOLS = "http,https,tcp,tls,crypto,httpproxy"  # streams on the web are playlists; their parts are there, too
_SECRET = re.compile(r"pass|token|key|secret|auth|sig|pwd|user", re.IGNORECASE)
_SOCKET = "buffer_size localaddr pkt_size sources block timeout ttl connect dscp"
# What may follow "?" in an address; of other kinds it is for the server.
_OPTIONS = {
    "udp": f"{_SOCKET} bitrate burst_bits localport local_port reuse broadcast fifo_size overrun_nonfatal".split(),
    "rtp": f"{_SOCKET} rtcpport rtcp_port localrtpport local_rtpport localrtcpport local_rtcpport fec".split(),
    "tcp": ["listen", "timeout", "listen_timeout", "send_buffer_size", "recv_buffer_size", "tcp_nodelay", "tcp_mss"],
    "camera": ["video_size", "framerate", "pixel_format", "input_format"],
    "screen": ["video_size", "framerate", "draw_mouse", "grab_x", "grab_y", "offset_x", "offset_y"],
}


@dataclass(frozen=True)
class Address:
    """What FFmpeg opens for a source that is no file."""

    location: str
    format: str | None = None  # FFmpeg's name of the device; None: the format of a stream is detected
    options: dict[str, str] = field(default_factory=dict)
    protocols: str = _STREAM_PROTOCOLS  # the only ones that may be used


def is_url(spec: object) -> bool:
    """Whether `spec` is a network address rather than a path."""
    return isinstance(spec, str) and "://" in spec and not Path(spec).exists()


def is_live(spec: object) -> bool:
    """Whether `spec` names a camera, a screen, or a stream other than http(s), where only its content tells."""
    text = str(spec)
    return bool(_DEVICE.match(text)) or is_stream(text)


def is_address(spec: object) -> bool:
    """Whether `spec` is opened by `address_of` rather than as a file: a URL, a device, or standard input read live."""
    return is_url(spec) or is_live(spec) or spec == STDIN


def address_of(spec: str) -> Address:
    """What to open for an address. Raises VideoError: unknown scheme or option, no such camera, no screen."""
    if spec == STDIN:
        return Address("pipe:0", protocols="pipe")
    check_options(spec)
    name, _, query = spec.partition("?")
    kind, _, number = name.partition(":")
    if not _DEVICE.match(spec):
        if kind in ("http", "https"):
            return Address(spec, protocols=_WEB_PROTOCOLS)
        if kind not in STREAM_FORMATS:
            raise VideoError(
                f"{hidden(spec)}: {kind}:// is not supported; give a file, a folder, a camera, or the URL of a file or "
                "a stream: http, https, rtsp, rtmp, srt, udp, tcp"
            )
        options = {"fflags": "nobuffer", "analyzeduration": "2000000"}
        if kind.startswith("rtsp"):
            options["rtsp_flags"] = "prefer_tcp"  # over UDP, frames are lost where packets are
        return Address(spec, None, options)
    if kind == "lavfi":
        return Address(spec.removeprefix("lavfi:"), "lavfi", protocols="")
    camera, screen = ("avfoundation", "avfoundation") if sys.platform == "darwin" else ("v4l2", "x11grab")
    if kind == "screen":
        return Address(_screen(number), screen, dict(parse_qsl(query)), "file")
    return Address(_camera(number or name.removeprefix("camera:")), camera, dict(parse_qsl(query)), "file")


def is_stream(spec: object) -> bool:
    """Whether `spec` is the address of a stream on a network, other than http(s)."""
    return is_url(spec) and urlsplit(str(spec)).scheme in STREAM_FORMATS


def hidden(spec: object) -> str:
    """`spec` as it may be shown: without user name, password, and values of the query that look like secrets."""
    text = str(spec)
    if "://" not in text:
        return text
    scheme, rest = text.split("://", 1)
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    broken = "@" not in host and re.search(r":\d*[^\d/?#]", host)  # a password with a slash in it
    if "@" in host or (broken and "@" in rest):
        end = rest.rindex("@") if broken else host.rindex("@")
        rest = f"***@{rest[end + 1 :]}"
    return f"{scheme}://" + re.sub(
        r"([?&;])([^=&;?]*)=[^&;]*",
        lambda found: f"{found[1]}{found[2]}=***" if _SECRET.search(found[2]) else found[0],
        rest,
    )


def without_secrets(text: str) -> str:
    """A sentence, its addresses as `hidden` shows them."""
    return re.sub(r"\w+://\S+", lambda found: hidden(found[0]), text)


def without_address(error: BaseException) -> BaseException:
    """An error of FFmpeg without the address in it, which may hold a password."""
    error.args = error.args[:2]
    return error


def check_options(spec: str, error: type[TmasegError] = VideoError) -> None:
    """Raises `error` for an option of an address that FFmpeg does not know, and would ignore."""
    name, _, query = spec.partition("?")
    kind = "camera" if name.startswith("/dev/") else name.partition(":")[0]
    known = _OPTIONS.get(kind)
    for option, _ in parse_qsl(query, keep_blank_values=True):
        if known is not None and option not in known:
            raise error(f"{hidden(spec)}: {kind} has no option {option!r}; it has {', '.join(known)}")


def _camera(name: str) -> str:
    if sys.platform == "darwin":
        return f"{name or 0}:none"
    path = Path(name if name.startswith("/") else f"/dev/video{name or 0}")
    if not path.exists():
        there = ", ".join(sorted(map(str, path.parent.glob("video*")))) if path.parent.is_dir() else ""
        raise VideoError(f"there is no camera {path}; cameras here: {there or 'none'}")
    return str(path)


def _screen(name: str) -> str:
    if sys.platform == "darwin":
        return f"Capture screen {name or 0}:none"
    display = name or os.environ.get("DISPLAY", "")
    if not display:
        raise VideoError("screen: finds no display; set DISPLAY, or name one, such as screen::0")
    return display
