"""`tmaseg run` of live sources: what is written, counted and said."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import av
import pytest
from mjpeg import camera

from tmaseg.inference.segmenter import Segmenter


def run(tmaseg, weights, *arguments):
    return tmaseg("run", *arguments, "--weights", weights, "--device", "cpu", "--json")


def shape(path):
    with av.open(str(path)) as video:
        frames = list(video.decode(video=0))
    return len(frames), float(frames[0].time), float(frames[-1].time)


@pytest.mark.parametrize("policy", ["newest", "all"])
def test_a_camera_for_some_seconds(tmaseg, weights, tmp_path, policy, monkeypatch):
    monkeypatch.setattr(Segmenter, "looking_ahead", lambda _: pytest.fail("the next frame may be another"))
    keep = ["--keep-all"] if policy == "all" else []
    with camera() as made:
        made.password = "bob:secret"
        address = made.url.replace("//", "//bob:secret@")
        answer = run(tmaseg, weights, address, "-o", tmp_path / "out.mp4", "--duration", "2s", *keep)
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    frames, first, last = shape(tmp_path / "out.mp4")
    assert report["frames"] == frames > 5
    assert first == 0
    assert last == pytest.approx(2, abs=0.7)
    assert report["live"]
    assert 0 < report["latency_median_ms"] <= report["latency_p95_ms"] < 5000
    assert report["damaged"] is report["interrupted"] is False
    assert "latency" in answer.err
    assert "frames dropped" in answer.err
    if keep:
        assert report["dropped_frames"] == 0
        assert report["network_frames"] <= report["frames"]
    assert "secret" not in answer.out + answer.err + (tmp_path / "out.mp4").read_bytes().decode("latin-1")


def test_ctrl_c_ends_a_silent_camera_at_once_and_the_file_is_complete(weights, tmp_path):
    with camera() as made:
        command = [sys.executable, "-m", "tmaseg", "run", made.url, "-o", "out.mp4", "--weights", str(weights)]
        process = subprocess.Popen(
            [*command, "--events", "-"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
        )
        for _ in range(10):
            process.stdout.readline()
        made.silent = True
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        process.communicate(timeout=60)  # lines of frames that were begun
        assert process.returncode == 130
        assert time.monotonic() - begun < 6, "it is not waited for data"
    assert shape(tmp_path / "out.mp4")[0] >= 8


def test_a_camera_that_stays_away_leaves_a_complete_file(tmaseg, weights, tmp_path):
    with camera() as made:
        threading.Timer(4, made.stop).start()
        answer = run(tmaseg, weights, made.url, "-o", tmp_path / "out.mp4", "--reconnect", "0.5", "--strict")
    assert answer.code == 3
    report = json.loads(answer.out)
    assert report["damaged"]
    assert "reading stopped early" in " ".join(report["warnings"])
    assert shape(tmp_path / "out.mp4")[0] == report["frames"]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["camera:0?fps=5"], "camera has no option 'fps'; it has video_size"),
        (["a.mp4", "b.mp4"], "-o names a stream, but there may be several sources: send one, or give a folder"),
    ],
)
def test_sources_that_cannot_be_sent(tmaseg, sources, message):
    answer = tmaseg("run", *sources, "-o", "udp://127.0.0.1:9")
    assert answer.code == 1
    assert message in answer.err


@pytest.mark.parametrize("command", ["run", "eval", "info"])
def test_no_command_shows_credentials(tmaseg, weights, tmp_path, command):
    address = "http://bob:pa55@127.0.0.1:1/a.mp4?token=pa55"
    words = {"run": [address, "-o", tmp_path / "o.mp4"], "eval": ["--video", address], "info": [address]}[command]
    answer = tmaseg(command, *words)
    assert answer.code == 1
    assert "http://***@127.0.0.1:1/a.mp4?token=*** cannot be fetched: Connection refused" in answer.err
    assert "pa55" not in answer.err


@pytest.mark.parametrize("time", ["-1", "10x", "0"])
def test_a_time_that_is_none_is_wrong_usage(tmaseg, tmp_path, time):
    answer = tmaseg("run", "--demo", "-o", tmp_path / "out.mp4", "--duration", time)
    assert answer.code == 2
    assert "no time such as 90, 90s, 10m or 1h" in answer.err


def test_duration_of_a_file_is_of_its_own_time(tmaseg, weights, tmp_path):
    answer = run(tmaseg, weights, "--demo", "-o", tmp_path / "out.mp4", "--start", "1", "--duration", "0.4")
    assert json.loads(answer.out)["frames"] == 10


def test_events_and_regions_on_standard_output(tmaseg, weights, clip):
    answer = tmaseg("run", clip, "--events", "-", "--region", "lane=0.2,0.5,0.8,0.5,1,1,0,1", "--weights", weights)
    assert answer.code == 0
    events = [json.loads(line) for line in answer.out.splitlines()]
    assert [event["frame"] for event in events] == list(range(12))
    assert sum(events[0]["regions"]["lane"].values()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--events", "-", "--json"], 2, "both take standard output"),
        (["-o", "out.mp4", "--region", "lane=0,0,1,0,1,1"], 1, "--region is for events: give --events"),
        (["--events", "-", "--region", "lane=0,0"], 1, "three corners or more"),
    ],
)
def test_events_that_cannot_be(tmaseg, clip, arguments, code, message):
    answer = tmaseg("run", clip, *arguments)
    assert answer.code == code
    assert message in " ".join(answer.err.split())


def test_a_camera_in_segments_with_a_preview(tmaseg, weights, tmp_path):
    with camera() as made:
        answer = run(
            tmaseg, weights, made.url, "-o", tmp_path / "out.mp4", "--segment", "1", "--duration", "3", "--preview", "0"
        )
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    parts = [shape(path) for path in sorted(tmp_path.glob("out-*.mp4"))]
    assert len(parts) == len(report["segments"]) >= 3
    assert "out-0001.mp4 to " in answer.err
    assert sum(count for count, _, _ in parts) == report["frames"]
    assert all(first == 0 and last < 1 for _, first, last in parts[:-1])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--stats", "a.csv", "--segment", "5"], 1, "--segment cuts a video file: give -o OUT.mp4"),
        (["-o", "out.mp4", "--segment", "5x"], 2, "no time such as 90, 90s, 10m or 1h"),
        (["--preview", "80x"], 1, "write a port such as 8000"),
    ],
)
def test_segments_and_previews_that_cannot_be(tmaseg, clip, arguments, code, message):
    answer = tmaseg("run", clip, *arguments)
    assert answer.code == code
    assert message in " ".join(answer.err.split())
