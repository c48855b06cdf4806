"""Addresses of sources that are no files: which there are, what FFmpeg opens for each, and what of them is shown."""

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tmaseg.errors import TmasegError, VideoError

STDIN = "-"
"""Standard input, read as it comes where it is live."""
_DEVICE = re.compile(r"(camera|screen|lavfi):(?!//)|/dev/video\d+(?=\?|$)")
STREAM_FORMATS = {
    **dict.fromkeys(("rtmp", "rtmps", "rtmpt"), "flv"),
    **dict.fromkeys(("rtsp", "rtsps"), "rtsp"),
    **dict.fromkeys(("udp", "tcp", "srt"), "mpegts"),
    "rtp": "rtp_mpegts",
}
"""Schemes of addresses that can be sent to, and FFmpeg's name of the format of each."""
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,rtmp,rtmps,rtmpt,ffrtmphttp,srt,http,https,httpproxy,crypto"
_SECRET = re.compile(r"pass|token|key|secret|auth|sig|pwd|user", re.IGNORECASE)
_GRABBERS = {"darwin": ("avfoundation", "avfoundation"), "win32": ("dshow", "gdigrab")}  # else v4l2, x11grab
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
class LiveAddress:
    """What FFmpeg opens for a source without end."""

    location: str
    format: str | None = None
    """FFmpeg's name of the device; None: the format of a stream is detected."""
    options: dict[str, str] = field(default_factory=dict)
    protocols: str = _PROTOCOLS
    """The only ones that may be used."""


def is_url(spec: object) -> bool:
    """Whether `spec` is an address on a network rather than a path."""
    return isinstance(spec, str) and "://" in spec and not Path(spec).exists()


def is_live(spec: object) -> bool:
    """Whether `spec` names a camera, a screen, or a stream other than http(s), where only its content tells."""
    text = str(spec)
    return bool(_DEVICE.match(text)) or is_stream(text)


def live_address(spec: str) -> LiveAddress:
    """What to open for a `spec` that is live. Raises VideoError: an unknown option, no such camera, no screen."""
    if not _DEVICE.match(spec):
        check_options(spec)
        options = {"fflags": "nobuffer", "analyzeduration": "2000000"}
        if spec.startswith("rtsp"):
            options["rtsp_flags"] = "prefer_tcp"  # over UDP, pictures are lost where packets are
        return LiveAddress(spec, None, options)
    if spec.startswith("lavfi:"):
        return LiveAddress(spec.removeprefix("lavfi:"), "lavfi", protocols="")
    name, _, query = spec.partition("?")
    kind, _, number = name.partition(":")
    if kind.startswith("/dev/"):
        kind, number = "camera", name
    _check_known(spec, kind, query)
    camera, screen = _GRABBERS.get(sys.platform, ("v4l2", "x11grab"))
    location = _screen(number, screen) if kind == "screen" else _camera(number, camera)
    return LiveAddress(location, screen if kind == "screen" else camera, dict(parse_qsl(query)), "file")


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


def check_options(url: str, error: type[TmasegError] = VideoError) -> None:
    """Raises `error` for an option of a URL that FFmpeg does not know, and would ignore."""
    scheme, _, rest = url.partition("://")
    _check_known(url, scheme, rest.partition("?")[2], error)


def _check_known(spec: str, kind: str, query: str, error: type[TmasegError] = VideoError) -> None:
    known = _OPTIONS.get(kind)
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if known is not None and name not in known:
            raise error(f"{hidden(spec)}: {kind} has no option {name!r}; it has {', '.join(known)}")


def _camera(name: str, grabber: str) -> str:
    if grabber == "avfoundation":
        return f"{name or 0}:none"
    if grabber == "dshow":
        if name.isdecimal():
            import av

            names = [device.name for device in av.device.enumerate_input_devices("dshow")]
            if int(name) >= len(names):
                raise VideoError(f"camera:{name} does not exist; cameras here: {', '.join(names) or 'none'}")
            name = names[int(name)]
        return f"video={name}"
    path = Path(name if name.startswith("/") else f"/dev/video{name or 0}")
    if not path.exists():
        there = ", ".join(sorted(map(str, path.parent.glob("video*")))) if path.parent.is_dir() else ""
        raise VideoError(f"there is no camera {path}; cameras here: {there or 'none'}")
    return str(path)


def _screen(name: str, grabber: str) -> str:
    if grabber == "avfoundation":
        return f"Capture screen {name or 0}:none"
    if grabber == "gdigrab":
        return "desktop"
    display = name or os.environ.get("DISPLAY", "")
    if not display:
        raise VideoError("screen: finds no display; set DISPLAY, or name one, such as screen::0")
    return display
