"""What cannot be read is refused in one line that says what came; playlists reach nothing."""

import os
import socket
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import pytest
from av.stream import Disposition
from films import film, moving

from tmaseg.errors import VideoError
from tmaseg.video.source import ReadOptions, open_source
from tmaseg.video.video_source import VideoSource


def refusal(spec, **options):
    with pytest.raises(VideoError) as caught:
        open_source(spec, ReadOptions(**options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(path, content):
    path.write_bytes(content)
    return path


def test_nothing_there(tmp_path):
    assert "does not exist" in refusal(tmp_path / "no.mp4")
    assert "does not exist" in refusal(str(tmp_path / "no" / "such.mp4"))


def test_an_empty_file(tmp_path):
    assert "is empty" in refusal(write(tmp_path / "a.mp4", b""))


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "notes", "a.nfo", "a.mkv"])
def test_a_text_file(tmp_path, name):
    assert "is a text file" in refusal(write(tmp_path / name, "hello, world ü\n".encode() * 200))


@pytest.mark.parametrize("name", ["a.mp4", "a.bin", "a.avi"])
def test_noise(tmp_path, name):
    assert "is not a video" in refusal(write(tmp_path / name, os.urandom(5000)))


def test_an_mp4_whose_recording_broke_off(tmp_path):
    path = film(tmp_path / "a.mp4", moving(30))
    write(path, path.read_bytes()[: path.stat().st_size // 2])
    assert "without a readable index" in refusal(path)


def test_sound_only_and_cover_pictures(tmp_path):
    path = film(tmp_path / "a.mkv", moving(5), sound=["aac"], seconds_of_sound=0.2)
    for keep_picture, target in ((False, tmp_path / "sound.mkv"), (True, tmp_path / "cover.mp4")):
        with av.open(str(path)) as source, av.open(str(target), "w") as output:
            streams = {source.streams.audio[0].index: output.add_stream_from_template(source.streams.audio[0])}
            if keep_picture:
                cover = output.add_stream("png", rate=1)
                cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
                cover.disposition = Disposition.attached_pic
            for packet in source.demux(source.streams.audio[0]):
                if packet.size:
                    packet.stream = streams[packet.stream.index]
                    output.mux(packet)
            if keep_picture:
                output.mux(cover.encode(av.VideoFrame.from_ndarray(moving(1)[0])))
                output.mux(cover.encode(None))
        with av.open(str(target)) as made:
            assert bool(made.streams.video) == keep_picture
        assert "has no video stream (sound only)" in refusal(target)


def test_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "it is empty" in refusal(tmp_path / "empty")
    write(tmp_path / "a.txt", b"x")
    assert "holds no images" in refusal(tmp_path)
    with pytest.raises(VideoError, match="is a folder"):
        VideoSource(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = film(tmp_path / "a.mp4", moving(2))
    path.chmod(0)
    assert "Permission denied" in refusal(path)


PLAYLISTS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
    "a.ffconcat": "ffconcat version 1.0\nfile {path}\n",
    "a.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
    "a.mkv": "ffconcat version 1.0\nfile {path}\n",
    "a.m3u": "#EXTM3U\n{path}\n",
    "a.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{path}</BaseURL></MPD>\n',
}


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_local_playlist_opens_nothing(tmp_path, name, absolute):
    secret = film(tmp_path / "secret.ts", moving(5))
    text = PLAYLISTS[name].format(path=secret if absolute else secret.name)
    assert "is a playlist" in refusal(write(tmp_path / name, text.encode()))


def test_a_local_playlist_does_not_reach_the_network(tmp_path):
    film(tmp_path / "secret.ts", moving(5))
    with serving(tmp_path) as (url, asked):
        for name, text in PLAYLISTS.items():
            refusal(write(tmp_path / name, text.format(path=f"{url}/secret.ts").encode()))
    assert asked == []


def test_names_that_look_like_addresses_or_patterns_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp4", "12:30.mp4", "a%03d.mp4", "a b?#&.mp4"):
        film(tmp_path / "made.mp4", moving(3)).rename(tmp_path / name)
        with open_source(name) as source:
            assert len(list(source)) == 3
    with open_source(f"file://{tmp_path}/12:30.mp4") as source:
        assert len(list(source)) == 3


@contextmanager
def serving(folder):
    """A web server for a folder: its address, and the paths it was asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):  # noqa: ARG002
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_url_is_read_like_a_file(tmp_path):
    film(tmp_path / "a.mkv", moving(10))
    write(tmp_path / "page.html", b"<html>" + b"nothing to see here " * 100)
    with serving(tmp_path) as (url, _):
        with open_source(f"{url}/a.mkv") as source:
            assert len(list(source)) == 10
            assert source.info.location == f"{url}/a.mkv"
        assert "answered, but not with a video" in refusal(f"{url}/page.html")
        assert "cannot be fetched" in refusal(f"{url}/none.mp4")


def test_a_playlist_on_the_web_reaches_the_web_only(tmp_path):
    secret = film(tmp_path / "secret.ts", moving(5))
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\n{}\n#EXT-X-ENDLIST\n"
    write(tmp_path / "good.m3u8", playlist.format("secret.ts").encode())
    write(tmp_path / "bad.m3u8", playlist.format(f"file://{secret}").encode())
    with serving(tmp_path) as (url, _):
        with open_source(f"{url}/good.m3u8") as source:
            assert len(list(source)) == 5
        refusal(f"{url}/bad.m3u8")


def test_a_silent_url_is_not_called_corrupt():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        assert "did not answer within 0.5 s" in refusal(url, timeout=0.5)
    assert "refused" in refusal(url)


def test_a_url_that_falls_silent_ends_the_video_with_what_came(tmp_path):
    path = film(tmp_path / "a.mkv", moving(60), options={"qp": "0", "preset": "ultrafast"})
    content = path.read_bytes()

    def serve_half(server):
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
            connection.sendall(content[: len(content) * 3 // 4])
            quiet.wait(20)

    quiet = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve_half, args=(server,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/a.mkv"
            with VideoSource(url, ReadOptions(timeout=0.5)) as source:
                count = len(list(source))
                damage = source.damage
        finally:
            quiet.set()
            thread.join()
    assert 10 < count < 60
    assert damage
    assert "did not answer within 0.5 s" in (damage.stopped or "")


def test_other_schemes():
    assert "ftp:// is not supported" in refusal("ftp://example.com/a.mp4")
