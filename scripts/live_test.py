"""Runs `tmaseg run` on live servers of the loopback address, which are killed and started again in the middle.

    scripts/live_test                       every kind of source, and a stream as output; about five minutes
    scripts/live_test --only rtsp --minutes 10   latency and drops of one source over ten minutes

Needs Debian's packages that scripts/live_test installs. Exits with 1 when anything is not as it must be.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av

DOWN_AFTER, DOWN_FOR = 8, 3  # seconds of the run before the server is killed, and until it is back
PICTURES = "testsrc2=size=640x360:rate=25"
ENCODE = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p")

RTSP_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
auth = GstRtspServer.RTSPAuth()
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "user")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic("bob", "secret"), token)
server.set_auth(auth)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=25/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 pt=96 )")
factory.set_shared(True)
permissions = GstRtspServer.RTSPPermissions()
permissions.add_permission_for_role("user", "media.factory.access", True)
permissions.add_permission_for_role("user", "media.factory.construct", True)
factory.set_permissions(permissions)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
GLib.MainLoop().run()
"""

NGINX = """
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
rtmp {{ server {{ listen 127.0.0.1:{rtmp}; application live {{
    live on; hls on; hls_path {folder}/hls; hls_fragment 1s; hls_playlist_length 6s;
}} }} }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{http}; root {folder}; }} }}
"""


class Servers:
    """The servers, each a list of commands whose processes live and die together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("rtsp", "rtmp", "http", "mjpeg")}
        (folder / "hls").mkdir()
        (folder / "rtsp.py").write_text(RTSP_SERVER)
        ports = {name: self.ports[name] for name in ("rtmp", "http")}
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, **ports))
        self.running: dict[str, list[subprocess.Popen[bytes]]] = {}

    def url(self, name: str) -> str:
        ports = self.ports
        return {
            "rtsp": f"rtsp://bob:secret@127.0.0.1:{ports['rtsp']}/cam",
            "rtmp": f"rtmp://127.0.0.1:{ports['rtmp']}/live/cam",
            "hls": f"http://127.0.0.1:{ports['http']}/hls/cam.m3u8",
            "mjpeg": f"http://127.0.0.1:{ports['mjpeg']}/cam.mjpg",
            "lavfi": f"lavfi:{PICTURES}",
        }[name]

    def start(self, name: str) -> None:
        live = ("ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", PICTURES)
        nginx = ["nginx", "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]
        publish = [*live, *ENCODE, "-f", "flv", self.url("rtmp")]
        serve = [*live, "-q:v", "4", "-f", "mpjpeg", "-listen", "1", self.url("mjpeg")]
        commands = {
            "rtsp": [["/usr/bin/python3", str(self.folder / "rtsp.py"), str(self.ports["rtsp"])]],
            "rtmp": [nginx, publish],
            "hls": [nginx, publish],
            "mjpeg": [serve],
            "lavfi": [],
        }[name]
        self.running[name] = []
        for command in commands:
            log = (self.folder / f"{name}.log").open("ab")
            self.running[name].append(subprocess.Popen(command, stdout=log, stderr=log))
            time.sleep(1)
        if name == "hls":
            wait_for(lambda: (self.folder / "hls" / "cam.m3u8").exists(), 15)
            time.sleep(3)

    def kill(self, name: str) -> None:
        for process in self.running.pop(name, []):
            process.kill()
            process.wait()

    def close(self) -> None:
        for name in list(self.running):
            self.kill(name)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(ready: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not ready() and time.monotonic() < until:
        time.sleep(0.1)


def tmaseg(*words: object, **more: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tmaseg", *map(str, words)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)  # type: ignore[call-overload, no-any-return]


def frames_in(path: Path) -> int:
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def run_source(servers: Servers, name: str, arguments: argparse.Namespace) -> list[str]:
    """Runs one source, killed in the middle; prints its row; what is wrong with it."""
    servers.start(name)
    folder = servers.folder
    seconds = 60 * arguments.minutes or DOWN_AFTER + DOWN_FOR + 14
    events = folder / f"{name}.jsonl"
    process = tmaseg(
        *("run", servers.url(name), "-o", folder / f"{name}.mp4", "--events", events, "--duration", seconds, "--json"),
        *("--overwrite", "--weights", arguments.weights, "--device", "cpu", "--timeout", 5),
        *(("--size", arguments.size) if arguments.size else ()),
    )
    interrupt = not arguments.minutes and name != "lavfi"
    if interrupt:
        wait_for(lambda: events.exists() and events.stat().st_size > 0, 90)
        time.sleep(DOWN_AFTER)
        servers.kill(name)
        time.sleep(DOWN_FOR)
        servers.start(name)
    try:
        out, err = process.communicate(timeout=seconds + 120)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    servers.kill(name)
    if process.returncode or not out.strip():
        return [f"{name}: exit {process.returncode}: {err[-400:]}"]
    report = json.loads(out)
    written = frames_in(folder / f"{name}.mp4")
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    latencies = [1000 * line["latency"] for line in lines]
    tenth = max(1, len(latencies) // 10)
    print(
        f"{name:6} {report['frames']:6} frames {report['dropped_frames']:6} dropped "
        f"{report['reconnects']} reconnects {report['memory_resets']} resets; "
        f"latency {report['latency_median_ms']:.0f} ms median, "
        f"{report['latency_p95_ms']:.0f} ms 95th percentile (first tenth of the run "
        f"{statistics.median(latencies[:tenth]):.0f}, last tenth {statistics.median(latencies[-tenth:]):.0f} median); "
        f"{report['peak_rss_mb']:.0f} MB",
        flush=True,
    )
    faults = []
    if written != report["frames"] or len(lines) != written:
        faults.append(f"{name}: {written} frames in the file, {len(lines)} events, {report['frames']} reported")
    if interrupt and not (report["reconnects"] and report["memory_resets"]):
        faults.append(f"{name}: the server was restarted, but {report['reconnects']} reconnects")
    if "secret" in out + err + events.read_text():
        faults.append(f"{name}: the password is shown")
    return faults


def run_output(servers: Servers, arguments: argparse.Namespace) -> list[str]:
    """Sends an overlay to nginx, and reads it back."""
    servers.start("rtmp")
    url = servers.url("rtmp").replace("cam", "out")
    process = tmaseg(
        *("run", servers.url("lavfi"), "-o", url, "--duration", 15, "--weights", arguments.weights, "--device", "cpu"),
        *(("--size", arguments.size) if arguments.size else ()),
    )
    got, until = 0, time.monotonic() + 60
    while got < 5 and time.monotonic() < until and process.poll() is None:
        try:
            with av.open(url, timeout=10) as stream:
                for _ in stream.decode(video=0):
                    got += 1
                    if got >= 5:
                        break
        except (av.FFmpegError, OSError):
            time.sleep(0.5)
    _, err = process.communicate(timeout=120)
    servers.kill("rtmp")
    print(f"output to rtmp: {got} frames read back, exit {process.returncode}", flush=True)
    return [] if got >= 5 and process.returncode == 0 else [f"output: {got} frames, {err[-400:]}"]


def run_errors(servers: Servers) -> list[str]:
    """A wrong password, and no server: one line each."""
    servers.start("rtsp")
    wrong = servers.url("rtsp").replace("secret", "wrong-word")
    faults = []
    for url, words in ((wrong, "user name and password"), (servers.url("mjpeg"), "no server listens there")):
        process = tmaseg("run", url, "-o", servers.folder / "none.mp4")
        _, err = process.communicate(timeout=60)
        print(f"exit {process.returncode}: {err.strip()}", flush=True)
        if process.returncode != 1 or words not in err or len(err.splitlines()) != 1 or "wrong-word" in err:
            faults.append(f"{words!r} is not what was said: {err}")
    servers.kill("rtsp")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="rtsp,rtmp,hls,mjpeg,lavfi", help="kinds of sources")
    parser.add_argument("--minutes", type=float, default=0, help="run that long, without killing anything")
    parser.add_argument("--weights", default="street")
    parser.add_argument("--size", type=int, help="short side of the network's input")
    arguments = parser.parse_args()
    for program in ("ffmpeg", "nginx"):
        if not shutil.which(program):
            print(f"{program} is missing: run scripts/live_test, which installs it", file=sys.stderr)
            return 1
    folder = Path(tempfile.mkdtemp(prefix="tmaseg-live-"))
    os.chmod(folder, 0o755)  # noqa: PTH101  (nginx reads it as another user)
    servers = Servers(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    faults: list[str] = []
    try:
        for name in arguments.only.split(","):
            faults += run_source(servers, name, arguments)
        if not arguments.minutes:
            faults += run_output(servers, arguments)
            faults += run_errors(servers)
    finally:
        servers.close()
        shutil.rmtree(folder, ignore_errors=True)
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)
    print(f"{len(faults)} wrong")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
