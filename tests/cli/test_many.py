"""Many sources: folders and patterns, a process for each device, and a storage service."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from films import film, moving
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

DEVICES = ("--devices", "cpu,cpu:1")  # torch takes both for the CPU


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def clips(clip, tmp_path):
    """A tree of films: a.mp4, day/b.mkv, day/night/a.mp4."""
    for name in ("clips/a.mp4", "clips/day/night/a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(clip, tmp_path / name)
    film(tmp_path / "clips/day/b.mkv", moving(5))
    (tmp_path / "clips/notes.txt").write_text("no video")
    (tmp_path / "clips/.hidden.mp4").write_text("no video")
    return tmp_path / "clips"


def test_a_tree_of_videos_keeps_its_shape(tmaseg, clips, tmp_path):
    out = tmp_path / "out"
    answer = tmaseg("run", clips, "-o", out, "--stats", out, "--recursive", "--json")
    assert answer.code == 0, answer.err
    expected = ["a.csv", "a.mp4", "day/b.csv", "day/b.mkv", "day/night/a.csv", "day/night/a.mp4"]
    assert names_in(out) == expected
    runs = answer.json["runs"]
    assert [run["input"] for run in runs] == [str(clips / name) for name in ("a.mp4", "day/b.mkv", "day/night/a.mp4")]
    assert [run["frames"] for run in runs] == [12, 5, 12]
    (out / "day" / "b.mkv").unlink()
    again = tmaseg("run", clips, "-o", out, "--recursive", "--skip-existing", "--json")
    assert [run["input"] for run in again.json["runs"]] == [str(clips / "day/b.mkv")]
    assert len(again.json["skipped"]) == 2


def test_outputs_among_the_inputs_are_no_inputs(tmaseg, clips):
    for expected in (3, 3):
        answer = tmaseg("run", clips, "-o", clips / "out", "--recursive", "--overwrite", "--json")
        assert len(answer.json["runs"]) == expected


def test_a_pattern_keeps_the_tree_below_its_fixed_part(tmaseg, clips, tmp_path):
    out = tmp_path / "out"
    assert tmaseg("run", f"{clips}/**/a.mp4", "-o", out).code == 0
    assert names_in(out) == ["a.mp4", "day/night/a.mp4"]
    assert tmaseg("run", f"{clips}/day/*.mkv", "-o", tmp_path / "one").code == 0  # a folder, although one file matches
    assert names_in(tmp_path / "one") == ["b.mkv"]
    answer = tmaseg("run", f"{clips}/*.avi", "-o", out)
    assert (answer.code, answer.err) == (
        1,
        f"error: {clips}/*.avi matches nothing; give videos, or folders of images\n",
    )
    shutil.copy(clips / "a.mp4", clips / "a[1].mp4")
    assert tmaseg("run", clips / "a[1].mp4", "-o", tmp_path / "plain.mp4").code == 0


@pytest.mark.parametrize("where", [(), DEVICES], ids=["here", "devices"])
def test_a_source_that_fails_stops_no_other(tmaseg, clips, tmp_path, where):
    (clips / "broken.mp4").write_text("no video")
    sources = (clips / "broken.mp4", clips / "day/b.mkv", clips / "a.mp4", clips / "none.mp4")
    answer = tmaseg("run", *sources, "-o", tmp_path / "out", "--json", *where)
    assert answer.code == 1
    assert [run["frames"] for run in answer.json["runs"]] == [5, 12]
    assert [each["input"] for each in answer.json["failed"]] == [str(clips / "broken.mp4"), str(clips / "none.mp4")]
    assert answer.err.count("error: ") == 2
    assert names_in(tmp_path / "out") == ["a.mp4", "b.mkv"]


def test_devices_give_the_same_masks(tmaseg, clips, tmp_path):
    sources = [clips / "a.mp4", clips / "day/b.mkv"]
    for name, where in (("here", ()), ("devices", DEVICES)):
        answer = tmaseg("run", *sources, "--masks", tmp_path / name, "--json", *where)
        assert answer.code == 0, answer.err
    for path in (tmp_path / "here").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "devices" / path.relative_to(tmp_path / "here")).read_bytes()
    assert len(names_in(tmp_path / "devices")) == 17


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--devices", "cuda:7"), "--device is 'cuda:7' but this machine has"),
        (("--devices", "tpu"), "--devices is 'tpu'; it must be auto, cpu"),
        (("--cluster", "slurm"), "--cluster is 'slurm'; it must be ray"),
        (("--cluster", "ray", "--devices", "cpu"), "leave out --devices"),
    ],
)
def test_places_that_cannot_be(tmaseg, clip, tmp_path, options, said):
    answer = tmaseg("run", clip, "-o", tmp_path / "out.mp4", *options)
    assert (answer.code, answer.err.count("\n")) == (1, 1)
    assert said in answer.err
    assert names_in(tmp_path) == []


def processes(tmp_path, weights, sources, *options):
    command = [sys.executable, "-m", "tmaseg", "run", *map(str, sources), "-o", f"{tmp_path}/out", *DEVICES]
    command += ["--weights", str(weights), "--precision", "fp32", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def children(parent):
    """The processes of the devices."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def writing(run, seconds=100):
    """The processes of the devices, and the one that writes a video."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for pid in (found := children(run.pid)):
            with suppress(OSError):  # files are closed meanwhile
                if any(file.readlink().suffix == ".part" for file in Path(f"/proc/{pid}/fd").iterdir()):
                    return found, pid
        time.sleep(0.05)
    pytest.fail("no process has begun")


@pytest.fixture
def long_clips(tmp_path):
    return [film(tmp_path / f"long{number}.mp4", moving(600)) for number in range(2)]


def test_a_process_that_is_killed_fails_its_source_alone(tmp_path, weights, long_clips):
    with processes(tmp_path, weights, long_clips) as run:
        os.kill(writing(run)[1], signal.SIGKILL)
        said = run.stderr.read()
    assert run.returncode == 1
    assert said.count("was killed (exit code -9): memory may be short") == 1
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 1


def test_a_signal_finishes_what_is_begun_and_leaves_no_process(tmp_path, weights, long_clips):
    with processes(tmp_path, weights, long_clips) as run:
        begun, _ = writing(run)
        os.kill(run.pid, signal.SIGTERM)
        run.stderr.read()
    assert run.returncode == 143
    assert set(names_in(tmp_path / "out")) <= {"long0.mp4", "long1.mp4"}
    assert names_in(tmp_path / "out")
    assert not [pid for pid in begun if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def bucket(clip):
    """A file system in memory, which fsspec has."""
    store = MemoryFileSystem()
    store.pipe("/bucket/in/day/a.mp4", clip.read_bytes())
    store.pipe("/bucket/in/b.mp4", clip.read_bytes())
    yield store
    store.rm("/bucket", recursive=True)


def test_sources_and_outputs_on_a_storage_service(tmaseg, bucket, tmp_path):
    options = ("-o", "memory://bucket/out", "--stats", "memory://bucket/out", "--json")
    answer = tmaseg("run", "memory://bucket/in", "--recursive", *options)
    assert answer.code == 0, answer.err
    assert sorted(bucket.find("/bucket/out")) == [
        f"/bucket/out/{name}" for name in ("b.csv", "b.mp4", "day/a.csv", "day/a.mp4")
    ]
    assert answer.json["runs"][0]["input"] == "memory://bucket/in/b.mp4"
    (tmp_path / "b.mp4").write_bytes(bucket.cat("/bucket/out/b.mp4"))
    assert tmaseg("run", tmp_path / "b.mp4", "--masks", "memory://bucket/masks").code == 0
    assert len(bucket.ls("/bucket/masks")) == 12
    again = tmaseg("run", "memory://bucket/in/*.mp4", "-o", "memory://bucket/out", "--skip-existing", "--json")
    assert again.json["skipped"]
    refused = tmaseg("run", "memory://bucket/in/b.mp4", "-o", "memory://bucket/out/b.mp4")
    assert (refused.code, "exists already; give --overwrite" in refused.err) == (1, True)
    missing = tmaseg("run", "memory://bucket/in/none.mp4", "-o", tmp_path / "none.mp4")
    assert (missing.code, "does not exist; check the bucket and the name" in missing.err) == (1, True)


@pytest.fixture
def s3(monkeypatch):
    """An S3 service on this machine, with an empty bucket."""
    pytest.importorskip("s3fs", reason="needs s3fs")
    server = pytest.importorskip("moto.server", reason="needs moto[server]").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("ENDPOINT_URL", f"http://{host}:{port}"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    store.mkdir("videos")
    yield store
    server.stop()
    store.clear_instance_cache()


@pytest.mark.filterwarnings("default")  # of the service's own packages
def test_an_s3_bucket(tmaseg, clip, s3, tmp_path):
    s3.put_file(str(clip), "videos/in/a.mp4")
    answer = tmaseg("run", "s3://videos/in/*.mp4", "-o", "s3://videos/out", "--masks", "s3://videos/masks")
    assert answer.code == 0, answer.err
    s3.invalidate_cache()
    assert s3.ls("videos/out") == ["videos/out/a.mp4"]
    assert len(s3.find("videos/masks/a")) == 12
    for arguments in (("s3://none/a.mp4", "-o", tmp_path / "a.mp4"), (clip, "-o", "s3://none/a.mp4")):
        answer = tmaseg("run", *arguments)
        assert (answer.code, answer.err.count("\n")) == (1, 1)
        assert answer.err.startswith("error: s3://none")
        assert "does not exist" in answer.err


def test_frames_are_shared_out_among_devices(tmaseg, tmp_path):
    for folder, count in (("a", 40), ("b", 1), ("c/d", 3)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for number, picture in enumerate(moving(count)):
            Image.fromarray(picture).save(tmp_path / "in" / folder / f"{number}.png")
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "here").code == 0
    answer = tmaseg("frames", tmp_path / "in", "-o", tmp_path / "there", "--json", *DEVICES)
    assert (answer.code, answer.json["frames"], answer.json["sequences"]) == (0, 44, 3), answer.err
    assert names_in(tmp_path / "there") == names_in(tmp_path / "here")
    for name in names_in(tmp_path / "here"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
