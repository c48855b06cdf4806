"""A camera on the loopback address: motion JPEG over HTTP, as simple network cameras have it."""

import io
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from films import moving
from PIL import Image


class Camera:
    """What the server sends, and to how many; may be changed while it does."""

    def __init__(self) -> None:
        self.size, self.rate, self.port = (64, 48), 25.0, 0
        self.password: str | None = None
        self.film: bytes | None = None
        """A transport stream that is sent instead, once; no length is announced."""
        self.silent = False
        """Sends nothing, but keeps the connection."""
        self.connections = 0
        self._dropped = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream"

    def start(self) -> None:
        """Listens, on the port of before if there was one."""
        self._dropped = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Ends every connection, and listens no more."""
        self._dropped.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        expected = f"Basic {b64encode((self.password or '').encode()).decode()}"
        if self.password and request.headers.get("Authorization") != expected:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="camera"')
            request.end_headers()
            return
        self.connections += 1
        dropped = self._dropped
        request.send_response(200)
        if self.film is not None:
            request.end_headers()
            request.wfile.write(self.film)
            dropped.wait(20)
            return
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        pictures = [jpeg(rgb) for rgb in moving(20, *self.size)]
        try:
            for count in range(10**6):
                if dropped.wait(1 / self.rate):
                    return
                while self.silent and not dropped.is_set():
                    time.sleep(0.02)
                data = pictures[count % len(pictures)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                request.wfile.write(head.encode() + data + b"\r\n")
        except OSError:  # the reader left
            pass


def jpeg(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=95)
    return file.getvalue()


@contextmanager
def camera() -> Iterator[Camera]:
    made = Camera()
    made.start()
    try:
        yield made
    finally:
        made.stop()
