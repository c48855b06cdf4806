"""The page that shows a run: what it serves, and that readers harm nothing."""

import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tmaseg.errors import ConfigError, OutputError
from tmaseg.labels import CITYSCAPES
from tmaseg.pipeline.preview import Preview
from tmaseg.render import Painter
from tmaseg.video.source import Frame

PAINTERS = {view: Painter(CITYSCAPES, mode=view) for view in ("overlay", "side-by-side")}


def frame(index=0, size_hw=(720, 1280), **more):
    return Frame(np.full((*size_hw, 3), 40, np.uint8), index, Fraction(1, 25), index, **more)


def labels(size_hw=(720, 1280)):
    ids = np.zeros(size_hw, np.uint8)
    ids[:, size_hw[1] // 4 :] = 10  # a quarter road, the rest sky
    return ids


def get(preview, path):
    with urllib.request.urlopen(preview.url + path, timeout=20) as answer:
        return answer.read(), answer.headers


@pytest.fixture
def preview():
    with Preview("0", CITYSCAPES, PAINTERS) as made:
        yield made


def test_the_page_is_one_file_that_needs_nothing_else(preview):
    page = get(preview, "")[0].decode()
    assert preview.url.startswith("http://127.0.0.1:")
    assert "http" not in page.replace('"http', "")
    assert "src=" not in page


def test_views_and_facts(preview):
    preview.facts = lambda: {"input": "clip.mp4", "dropped": 3, "resets": 2, "reconnects": 1}
    assert json.loads(get(preview, "status")[0])["frames"] == 0
    for index in range(3):
        preview.write(frame(index, arrival=time.monotonic() - 0.25), labels())
    status = json.loads(get(preview, "status")[0])
    assert (status["frames"], status["dropped"], status["resets"], status["reconnects"]) == (3, 3, 2, 1)
    assert 250 <= status["latency_ms"] < 1000
    shares = {each["name"]: each["share"] for each in status["classes"] if each["share"]}
    assert shares == {"road": 0.25, "sky": 0.75}
    assert status["classes"][0]["colour"] == "#804080"
    for view, size in (("original", (640, 360)), ("overlay", (640, 360)), ("side-by-side", (1280, 360))):
        data, headers = get(preview, f"picture?view={view}")
        assert headers["X-Frame"] == "3"
        picture = Image.open(io.BytesIO(data))
        assert picture.size == size
        right, _, blue = picture.getpixel((size[0] - 10, 10))
        assert (blue > right + 40) == (view != "original")


def test_a_picture_waits_for_the_next_frame_and_all_readers_get_the_same(preview):
    preview.write(frame(), labels())
    first = get(preview, "picture?view=overlay")[0]
    assert get(preview, "picture?view=overlay&after=nonsense")[0] == first
    threading.Timer(0.4, preview.write, (frame(1), labels())).start()
    begun = time.monotonic()
    _, headers = get(preview, "picture?view=overlay&after=1")
    assert headers["X-Frame"] == "2"
    assert time.monotonic() - begun > 0.3


def test_readers_who_leave_or_read_nothing_hold_up_nobody(preview, capfd):
    preview.write(frame(), labels())
    host = preview.url.split("/")[2].split(":")
    silent = [socket.create_connection((host[0], int(host[1]))) for _ in range(3)]
    for reader in silent:
        reader.sendall(b"GET /picture?view=side-by-side HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    silent[0].close()
    begun = time.monotonic()
    for index in range(1, 100):
        preview.write(frame(index), labels())
    assert time.monotonic() - begun < 2
    assert json.loads(get(preview, "status")[0])["frames"] == 100
    for reader in silent:
        reader.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("path", ["nothing", "picture?view=nonsense", "picture", "../preview.py"])
def test_what_is_not_there_is_404(preview, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(preview, path)


def test_a_port_in_use_and_an_address_that_is_none(preview):
    port = preview.url.split(":")[2].strip("/")
    with pytest.raises(OutputError, match=f"--preview {port} cannot be served: Address already in use; name another"):
        Preview(port, CITYSCAPES, PAINTERS)
    for address in ("80x", "host", "1:99999", ""):
        with pytest.raises(ConfigError, match="write a port such as 8000"):
            Preview(address, CITYSCAPES, PAINTERS)


def test_it_ends_at_once_with_readers_that_wait():
    codes = []

    def wait(made):
        try:
            get(made, "picture?view=overlay")
        except urllib.error.HTTPError as error:
            codes.append(error.code)

    with Preview("127.0.0.1:0", CITYSCAPES, PAINTERS) as made:
        waiting = threading.Thread(target=wait, args=(made,))
        waiting.start()
        time.sleep(0.3)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    waiting.join(5)
    assert codes == [503]
