"""Runs that are killed and resumed: the same masks, tables and time stamps as in one go."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from fractions import Fraction

import av
import numpy as np
import pytest
from films import film, moving, onsets, stamps
from PIL import Image
from tiny import tiny_checkpoint

import tmaseg
from tmaseg.errors import OutputError, VideoError
from tmaseg.inference import scene_cut
from tmaseg.model.checkpoint import save_checkpoint
from tmaseg.pipeline import resume
from tmaseg.video.segments import JoinedSink

FRAMES = 40


class Killed(BaseException):
    """What nothing catches."""


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(resume, "SEGMENT_SECONDS", 0.4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two shots, with B-frames, at a variable rate from 0.2 s on, with sound."""
    other = [np.ascontiguousarray(picture[:48, ::-1]) for picture in moving(FRAMES, 64, 64)]
    pictures = [*moving(21), *other[21:]]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    pts = [200 + 40 * index + 7 * (index % 3) for index in range(FRAMES)]
    return film(path, pictures, pts=pts, time_base=Fraction(1, 1000), seconds_of_sound=1.6, sound=("aac",))


@pytest.fixture
def run(weights, tmp_path):
    """Segments into a folder; `kill`: ends when that many frames are done, at once and with nothing completed."""

    def call(source, name="out", *, kill=None, suffix=".mp4", **options):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)

        def progress(done):
            if kill is not None and done >= kill:
                raise Killed

        values = {"weights": str(weights), "device": "cpu", "precision": "fp32", "compile": "off"}
        values |= {"masks": folder / "masks", "stats": folder / "stats.csv", "events": str(folder / "events.jsonl")}
        values |= {"progress": progress} | options
        with pytest.raises(Killed) if kill is not None else nullcontext():
            return tmaseg.segment_video(source, folder / f"out{suffix}", **values)

    return call


def results(folder):
    """Masks and tables by name, and the video's times and length."""
    files = {path.name: path.read_bytes() for path in [*folder.rglob("*.png"), *folder.glob("*.csv")]}
    (video,) = folder.glob("out.*")
    with av.open(str(video)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
        assert all(packet.dts is None or packet.dts <= packet.pts for packet in packets)
        events = folder / "events.jsonl"
        for line in events.read_text().splitlines() if events.exists() else ():
            event = json.loads(line)
            del event["time"]
            files[f"event {event['frame']}"] = event
        return files, stamps(video), onsets(video) if file.streams.audio else []


def compare(one, other):
    """Fails, naming what differs."""
    (files, *rest), (expected, *others) = one, other
    assert files.keys() == expected.keys()
    assert [name for name in files if files[name] != expected[name]] == []
    assert rest == others


@pytest.mark.parametrize(
    ("kills", "options"),
    [
        ((12, 30), {}),
        ((23,), {"suffix": ".mkv", "mode": "side-by-side"}),
        ((5, 26, 39), {"key_frames": 3, "every": 1}),
        ((17,), {"memory_frames": 0, "start": 0.3, "end": 1.5}),
        ((12,), {"every": 2, "mask_formats": ("ids", "overlay")}),
    ],
    ids=["memory", "mkv", "key-frames", "part", "every"],
)
def test_a_run_that_was_killed_gives_what_one_in_one_go_gives(run, clip, tmp_path, kills, options):
    whole = run(clip, "whole", **options)
    for kill in kills:
        run(clip, "parts", kill=kill, resume=True, **options)
        assert not list((tmp_path / "parts").glob("out.*"))
        assert not (tmp_path / "parts" / "stats.csv").exists()
    report = run(clip, "parts", resume=True, **options)
    compare(results(tmp_path / "parts"), results(tmp_path / "whole"))
    assert report.resumed_frames >= kills[-1] - 16 > 0 or kills == (12,)
    for name in ("frames", "memory_resets", "network_frames", "warnings", "damaged"):
        assert getattr(report, name) == getattr(whole, name), name
    assert len(list((tmp_path / "parts").iterdir())) == 4


def test_frames_too_late_for_the_memory_are_so_again(run, clip, tmp_path, monkeypatch):
    """Two of three frames here: what the memory holds was emptied between frames that are segmented again."""
    monkeypatch.setattr(scene_cut, "_FAR_SECONDS", 0.04)
    monkeypatch.setattr(scene_cut, "_STILL", 2.0)
    weights = tmp_path / "self.safetensors"
    save_checkpoint(weights, tiny_checkpoint(self_in_memory=True))
    whole = run(clip, "whole", weights=str(weights))
    run(clip, "parts", kill=23, resume=True, weights=str(weights))
    report = run(clip, "parts", resume=True, weights=str(weights))
    compare(results(tmp_path / "parts"), results(tmp_path / "whole"))
    assert report.resumed_frames > 7
    assert report.memory_resets == whole.memory_resets >= 26


def test_a_run_that_kill_9_ended_is_resumed(run, clip, weights, tmp_path):
    run(clip, "whole", events=None)
    program = f"""if True:
        import os, signal, tmaseg
        from tmaseg.pipeline import resume
        resume.SEGMENT_SECONDS = 0.4
        tmaseg.segment_video(
            {str(clip)!r},
            {str(tmp_path / "parts" / "out.mp4")!r},
            weights={str(weights)!r},
            device="cpu",
            precision="fp32",
            compile="off",
            masks={str(tmp_path / "parts" / "masks")!r},
            stats={str(tmp_path / "parts" / "stats.csv")!r},
            resume=True,
            progress=lambda done: done < 25 or os.kill(os.getpid(), signal.SIGKILL),
        )
    """
    (tmp_path / "parts").mkdir()
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert run(clip, "parts", events=None, resume=True).resumed_frames >= 8
    compare(results(tmp_path / "parts"), results(tmp_path / "whole"))


def test_an_interrupt_keeps_the_slice_begun(run, clip, tmp_path):
    run(clip, "whole")
    done = []
    with pytest.raises(KeyboardInterrupt):
        run(clip, "parts", resume=True, progress=done.append, stop=lambda: len(done) >= 15)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [".out.mp4.parts", "events.jsonl", "masks"]
    assert run(clip, "parts", resume=True).resumed_frames >= 15
    compare(results(tmp_path / "parts"), results(tmp_path / "whole"))


def test_a_full_disk_at_the_end_costs_nothing(run, clip, tmp_path, monkeypatch):
    run(clip, "whole")

    def full(*_):
        raise OutputError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(JoinedSink, "join", full)
        with pytest.raises(OutputError, match="No space left"):
            run(clip, "parts", resume=True)
    report = run(clip, "parts", resume=True)
    assert (report.frames, report.resumed_frames) == (FRAMES, FRAMES)
    compare(results(tmp_path / "parts"), results(tmp_path / "whole"))


def test_pictures_are_resumed(run, clip, tmp_path):
    (tmp_path / "images").mkdir()
    for index, picture in enumerate(moving(30)):
        Image.fromarray(picture).save(tmp_path / "images" / f"{index}.png")
    run(tmp_path / "images", "whole")
    run(tmp_path / "images", "parts", kill=25, resume=True)
    assert run(tmp_path / "images", "parts", resume=True).resumed_frames >= 10
    compare(results(tmp_path / "parts"), results(tmp_path / "whole"))


def test_a_run_of_something_else_is_named(run, clip, weights, tmp_path):
    run(clip, kill=15, resume=True)
    parts = tmp_path / "out" / ".out.mp4.parts"
    os.utime(parts, (0, 0))
    for path in parts.iterdir():
        os.utime(path, (0, 0))
    other = film(tmp_path / "other.mp4", moving(20))
    save_checkpoint(tmp_path / "other.safetensors", tiny_checkpoint(seed=1))
    for source, options, said in (
        (other, {}, r"input was .*clip.mp4 .*, now .*other.mp4"),
        (clip, {"opacity": 0.7, "key_frames": 2}, "another --key-frames, --opacity"),
        (clip, {"weights": str(tmp_path / "other.safetensors")}, "weights was .*, now "),
    ):
        with pytest.raises(OutputError, match=f"{parts}, [0-9]+ days old, is another one: .*{said}"):
            run(source, resume=True, **options)
    with pytest.raises(OutputError, match=f"{parts}, [0-9]+ days old, has the same output: give --resume"):
        run(clip)
    run(clip, overwrite=True)
    assert not parts.exists()


def test_what_cannot_be_read_again_is_refused(run, clip, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(writer, clip.read_bytes()[:60_000])
    with pytest.raises(VideoError, match=r"--resume needs a source that can be read again|pipe"):
        run(tmp_path / "pipe", resume=True)
    os.close(writer)
