"""Preview: a web page that shows a run while it goes on, from the standard library's server."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

from tmaseg.arrays import Labels
from tmaseg.errors import ConfigError, OutputError
from tmaseg.labels import LabelSet
from tmaseg.render import Painter
from tmaseg.video.source import Frame

_WIDTH_PX = 640  # of the picture that is sent
_COUNTED_WIDTH_PX = 256  # of the pixels that shares are counted over, at least
_QUALITY = 80
_INTERVAL_SECONDS = 0.15  # between two pictures: what they cost does not grow with the rate or the readers
_WAIT_SECONDS = 5.0  # for a new frame
_READER_SECONDS = 10.0  # that a reader may take to read
_RECENT_FRAMES = 50  # over which the rate is measured


class Preview:
    """Serves the page until its `with` block ends. `write` takes every frame and keeps the latest.

    What is sent is made in the threads of the readers, for all of them together a few times a second; a reader who is
    slow or leaves holds up nobody.
    """

    def __init__(self, address: str, labels: LabelSet, painters: Mapping[str, Painter]) -> None:
        """Listens at [HOST:]PORT, on the loopback address unless a host is given.

        `painters`: by the name of the view. Raises ConfigError for another address, and OutputError where it cannot be
        listened at.
        """
        self.facts: Callable[[], dict[str, Any]] = dict  # what else it shows: input, dropped, resets, reconnects
        self._labels, self._painters = labels, painters
        self._colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in painters["overlay"].table]
        self._new = threading.Condition()
        self._latest: tuple[int, Frame, Labels] | None = None
        self._times: deque[float] = deque(maxlen=_RECENT_FRAMES)
        self._latency: float | None = None
        self._closed = False
        self._pictures = {view: _Picture() for view in ("original", *painters)}
        host, port = _parse(address)
        try:
            self._server = _Server((host, port), self)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"--preview {address} cannot be served: {reason}; name another port") from error
        self.url = f"http://{host}:{self._server.server_address[1]}/"

    def write(self, frame: Frame, labels: Labels) -> None:
        """The next frame, with labels (H, W)."""
        now = time.monotonic()
        with self._new:
            serial = self._latest[0] + 1 if self._latest else 1
            self._latest = (serial, frame, labels)
            self._times.append(now)
            self._latency = None if frame.arrival is None else now - frame.arrival
            self._new.notify_all()

    def picture(self, view: str, after: int) -> tuple[int, bytes] | None:
        """The number of the latest frame and its JPEG, once there is one after `after`; None when none comes."""
        with self._new:
            self._new.wait_for(lambda: self._closed or (self._latest and self._latest[0] > after), _WAIT_SECONDS)
            latest = self._latest
        if self._closed or latest is None:
            return None
        return self._pictures[view].get(latest, self._painters.get(view))

    def status(self) -> dict[str, Any]:
        """What the page shows beside the picture."""
        with self._new:
            latest, times, latency = self._latest, list(self._times), self._latency
        passed = time.monotonic() - times[0] if times else 0.0
        return {
            **self.facts(),
            "frames": latest[0] if latest else 0,
            "fps": round(len(times) / passed, 1) if passed > 0 else 0,
            "latency_ms": None if latency is None else round(1000 * latency),
            "classes": self._classes(latest[2]) if latest else [],
        }

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="tmaseg-preview", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._new:
            self._closed = True
            self._new.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _classes(self, labels: Labels) -> list[dict[str, Any]]:
        step = max(1, labels.shape[1] // _COUNTED_WIDTH_PX)
        counted = labels[::step, ::step]
        counts = np.bincount(counted.ravel(), minlength=256) / counted.size
        return [
            {"name": name, "colour": self._colours[index], "share": round(float(counts[index]), 4)}
            for index, name in enumerate(self._labels.names)
            if index not in self._labels.void
        ]


class _Picture:
    """One view as a JPEG, made at most once for each frame, and a few times a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[int, bytes] = (0, b"")
        self._next = 0.0

    def get(self, latest: tuple[int, Frame, Labels], painter: Painter | None) -> tuple[int, bytes]:
        with self._lock:
            serial, frame, labels = latest
            if self._made[0] < serial and time.monotonic() >= self._next:
                self._next = time.monotonic() + _INTERVAL_SECONDS
                self._made = (serial, _jpeg(frame, labels, painter))
            return self._made


def _jpeg(frame: Frame, labels: Labels, painter: Painter | None) -> bytes:
    height, width = labels.shape
    scale = min(1.0, _WIDTH_PX / width)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    rgb = np.asarray(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    if painter is not None:
        rgb = painter.paint(rgb, np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8))
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


class _Server(ThreadingHTTPServer):
    block_on_close = False

    def __init__(self, address: tuple[str, int], preview: Preview) -> None:
        self.preview = preview
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader who left is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _READER_SECONDS

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        preview = self.server.preview
        if url.path == "/":
            self._send(Path(__file__).with_name("preview.html").read_bytes(), "text/html; charset=utf-8")
        elif url.path == "/status":
            self._send(json.dumps(preview.status()).encode(), "application/json")
        elif url.path == "/picture" and query.get("view") in preview._pictures:
            after = query.get("after", "0")
            made = preview.picture(query["view"], int(after) if after.isdecimal() else 0)
            if made is None:
                self.send_error(503)
            else:
                self._send(made[1], "image/jpeg", {"X-Frame": str(made[0])})
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, data: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ConfigError(f"--preview is {address!r}; write a port such as 8000, or a host and a port: 0.0.0.0:8000")
    return host or "127.0.0.1", int(port)
