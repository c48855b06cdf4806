"""`tmaseg run`: whole commands on small videos; what they write is decoded again."""

import csv
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import film, moving, stamps
from PIL import Image
from piping import named_pipe, standard_input
from tiny import pan

from tmaseg import load
from tmaseg.files import PartFile
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import CAMVID, CITYSCAPES
from tmaseg.render import Painter
from tmaseg.video.source import open_source

REPORT = {
    *("input", "output", "frames", "damaged_packets", "seconds", "fps", "device", "precision", "weights", "width"),
    *("height", "memory_frames", "memory_resets", "stages", "peak_rss_mb"),
}


def expected_labels(video, weights, **options):
    """(N, H, W): what streaming through the library gives."""
    segmenter = load(weights, precision="fp32", device="cpu", **options)
    with open_source(video) as source:
        return np.stack([segmenter.step(frame.rgb, seconds=frame.seconds).labels for frame in source])


def pictures_of(video):
    with open_source(video) as source:
        return np.stack([frame.rgb for frame in source])


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_exact_mask_video_shows_what_the_library_gives(tmaseg, clip, weights, tmp_path):
    answer = tmaseg("run", clip, "-o", tmp_path / "out.mkv", "--mode", "mask", "--lossless")
    assert (answer.code, answer.out) == (0, "")
    labels = expected_labels(clip, weights)
    assert len(np.unique(labels)) > 2, "a network that answers one class proves nothing"
    np.testing.assert_array_equal(pictures_of(tmp_path / "out.mkv"), CITYSCAPES.palette()[labels])


def test_every_output_at_once_and_one_json_object(tmaseg, clip, weights, tmp_path):
    answer = tmaseg(
        *(
            "run",
            clip,
            "-o",
            tmp_path / "out.mp4",
            "--masks",
            tmp_path / "masks",
            "--stats",
            tmp_path / "s.csv",
            "--json",
        ),
    )
    assert answer.code == 0
    report = answer.json
    assert set(report) >= REPORT
    assert set(report["stages"]) == {"decode", "model", "render", "encode"}
    assert (report["frames"], report["width"], report["height"], report["memory_frames"]) == (12, 64, 48, 3)
    assert (report["input"], report["output"]) == (str(clip), str(tmp_path / "out.mp4"))
    assert (report["damaged_packets"], report["interrupted"], report["precision"]) == (0, False, "fp32")
    labels = expected_labels(clip, weights)
    for index, mask in enumerate(sorted((tmp_path / "masks").iterdir())):
        assert mask.name == f"{index:06d}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(mask)), labels[index])
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["seconds"]) for row in rows] == [pytest.approx(index / 25) for index in range(12)]
    assert [int(row["frame"]) for row in rows] == list(range(12))
    road = [float(row["road"]) for row in rows]
    np.testing.assert_allclose(road, (labels == 0).mean((1, 2)), atol=1e-6)
    assert all(sum(float(row[name]) for name in CITYSCAPES.names) == pytest.approx(1, abs=1e-4) for row in rows)
    assert stamps(tmp_path / "out.mp4") == stamps(clip)


def test_painting_follows_the_options(tmaseg, clip, weights, tmp_path):
    answer = tmaseg(
        *("run", clip, "-o", tmp_path / "out.mkv", "--lossless", "--mode", "side-by-side", "--opacity", "0.8"),
        *("--palette", "camvid", "--classes", "road,car", "--classes", "sky"),
    )
    assert answer.code == 0
    painter = Painter(CITYSCAPES, mode="side-by-side", opacity=0.8, palette=CAMVID, classes=("road", "car", "sky"))
    wanted = [painter.paint(*pair) for pair in zip(pictures_of(clip), expected_labels(clip, weights), strict=True)]
    np.testing.assert_array_equal(pictures_of(tmp_path / "out.mkv"), np.stack(wanted))
    assert "warning: the palette camvid" in answer.err or not painter.missing


def test_the_network_follows_the_options(tmaseg, clip, weights, tmp_path):
    from tmaseg.model.config import InputGeometry

    masks = tmp_path / "masks"
    code = tmaseg("run", clip, "--masks", masks, "--memory", 1, "--size", 40, "--window", 40, "--stride", 24).code
    assert code == 0
    labels = expected_labels(clip, weights, memory_frames=1, geometry=InputGeometry(size=40, window=40, stride=24))
    got = np.stack([np.asarray(Image.open(path)) for path in sorted(masks.iterdir())])
    np.testing.assert_array_equal(got, labels)
    assert (got != expected_labels(clip, weights)).any(), "the options make no difference"


def test_hardware_that_does_not_open_is_said(tmaseg, clip, tmp_path, monkeypatch):
    from tmaseg.video import decoder, encoder

    monkeypatch.setattr(decoder, "hwdevices_available", list)
    monkeypatch.setattr(encoder, "_works", lambda name, _: name == "libx264")
    asked = tmaseg("run", clip, "-o", tmp_path / "a.mp4", "--hardware")
    assert asked.code == 0
    assert "warning: --hardware: no device is used for decoding h264; the CPU does it" in asked.err
    assert "warning: --hardware: no device is used for encoding; libx264 does it on the CPU" in asked.err
    assert "no device" not in tmaseg("run", clip, "-o", tmp_path / "b.mp4").err


def test_start_end_every(tmaseg, clip, tmp_path):
    masks, out = tmp_path / "masks", tmp_path / "out.mp4"
    options = ("--start", "0.08", "--end", "0.4", "--every", "3")
    assert tmaseg("run", clip, "-o", out, "--masks", masks, *options).code == 0
    assert files(masks) == ["000000.png", "000003.png", "000006.png"]
    assert stamps(out) == [0, Fraction(3, 25), Fraction(6, 25)]


def test_several_formats_get_a_folder_each(tmaseg, clip, weights, tmp_path):
    code = tmaseg("run", clip, "--end", "0.08", "--masks", tmp_path, "--mask-format", "ids,indexed,color").code
    assert code == 0
    assert files(tmp_path) == [f"{kind}/{index:06d}.png" for kind in ("color", "ids", "indexed") for index in (0, 1)]
    ids, indexed, colour = (Image.open(tmp_path / kind / "000001.png") for kind in ("ids", "indexed", "color"))
    assert (ids.mode, indexed.mode, colour.mode) == ("L", "P", "RGB")
    np.testing.assert_array_equal(np.asarray(ids), np.asarray(indexed))
    np.testing.assert_array_equal(np.asarray(indexed.convert("RGB")), np.asarray(colour))
    np.testing.assert_array_equal(np.asarray(colour), CITYSCAPES.palette()[np.asarray(ids)])


def test_several_sources_go_into_a_folder_and_a_bad_one_stops_no_other(tmaseg, tmp_path):
    sources = [film(tmp_path / name, moving(3)) for name in ("b.mkv", "a.mp4")]
    (tmp_path / "bad.mp4").write_text("no video")
    out = tmp_path / "out"
    answer = tmaseg("run", sources[0], tmp_path / "bad.mp4", sources[1], "-o", out, "--stats", out, "--json")
    assert answer.code == 1
    assert files(out) == ["a.csv", "a.mp4", "b.csv", "b.mkv"]
    assert [run["output"] for run in answer.json["runs"]] == [str(out / "b.mkv"), str(out / "a.mp4")]
    assert [each["input"] for each in answer.json["failed"]] == [str(tmp_path / "bad.mp4")]
    assert answer.err.count("error: ") == 1
    written = (out / "a.mp4").read_bytes()
    again = tmaseg("run", sources[0], sources[1], "-o", out, "--skip-existing", "--json")
    assert again.code == 0
    assert again.json["runs"] == []
    assert len(again.json["skipped"]) == 2
    assert (out / "a.mp4").read_bytes() == written


def test_sources_that_would_share_an_output_are_refused(tmaseg, tmp_path):
    answer = tmaseg("run", "one/a.avi", "two/a.mp4", "-o", tmp_path / "out")
    assert (answer.code, answer.out) == (1, "")
    assert "one/a.avi and two/a.mp4 would both become" in answer.err
    assert files(tmp_path) == []


def test_one_source_into_a_folder(tmaseg, clip, tmp_path):
    assert tmaseg("run", clip, "-o", f"{tmp_path}/new/", "--end", "0.1").code == 0
    assert tmaseg("run", clip, "-o", tmp_path, "--end", "0.1").code == 0
    assert files(tmp_path) == ["clip.mp4", "new/clip.mp4"]


def test_the_demo_is_a_clip_that_comes_with_the_program(tmaseg, tmp_path):
    answer = tmaseg("run", "--demo", "--start", "1", "--end", "1.2", "-o", f"{tmp_path}/", "--json", "--size", 96)
    assert answer.code == 0, answer.err
    assert (answer.json["frames"], answer.json["width"], answer.json["height"]) == (5, 960, 540)
    assert len(stamps(tmp_path / "demo.mp4")) == 5
    with av.open(str(tmp_path / "demo.mp4")) as written:
        assert len(written.streams.audio) == 1


def test_quiet_says_nothing(tmaseg, clip, tmp_path):
    answer = tmaseg("run", clip, "-o", tmp_path / "out.mp4", "--quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_damage_is_reported_and_strict_makes_it_an_exit_code(tmaseg, clip, tmp_path):
    whole = clip.read_bytes()
    with av.open(str(clip)) as source:
        packet = [each for each in source.demux(video=0) if each.size][5]
        place, size = packet.pos, packet.size
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(whole[:place] + b"\0" * size + whole[place + size :])
    plain = tmaseg("run", damaged, "-o", tmp_path / "1.mp4", "--json")
    assert plain.code == 0
    assert plain.json["damaged_packets"] >= 1
    assert plain.json["damaged"]
    assert "warning: " in plain.err
    strict = tmaseg("run", damaged, "-o", tmp_path / "2.mp4", "--strict")
    assert strict.code == 3
    assert (tmp_path / "2.mp4").exists(), "the output is kept"


def test_existing_outputs_are_only_replaced_when_asked(tmaseg, clip, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"mine")
    answer = tmaseg("run", clip, "-o", out)
    assert answer.code == 1
    assert "--overwrite" in answer.err
    assert out.read_bytes() == b"mine"
    assert files(tmp_path) == ["out.mp4"]
    assert tmaseg("run", clip, "-o", out, "--overwrite").code == 0
    assert len(stamps(out)) == 12


def _videos_without_pictures(folder: Path):
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("hello\n" * 50)
    (folder / "folder").mkdir()
    with av.open(str(folder / "sound.m4a"), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        output.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4", "text.mp4", "sound.m4a", "folder"])
def test_bad_input_is_one_line(tmaseg, tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    _videos_without_pictures(tmp_path / "in")
    answer = tmaseg("run", tmp_path / "in" / name, "-o", tmp_path / "out" / "out.mp4", "--json")
    _is_one_clear_line(answer, name)
    assert files(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("-o", "{}/out.xyz"), ".mp4"),
        (("-o", "{}/no/such/out.mp4"), "does not exist"),
        (("-o", "/proc/out.mp4"), "/proc"),
        (("-o", "{}/out.mp4", "--lossless"), ".mkv"),
        (("-o", "{}/out.mp4", "--palette", "nope"), "cityscapes"),
        (("-o", "{}/out.mp4", "--palette", "{}/nope.yaml"), "nope.yaml"),
        (("-o", "{}/out.mp4", "--classes", "road,unicorn"), "unicorn"),
        (("-o", "{}/out.mp4", "--opacity", "2"), "--opacity"),
        (("-o", "{}/out.mp4", "--device", "cuda:99"), "cuda:99"),
        (("-o", "{}/out.mp4", "--encoder", "nope"), "nope"),
        (("-o", "{}/out.mp4", "--start", "100"), "start"),
        (("-o", "{}/out.mp4", "--memory", "-1"), "--memory"),
        (("-o", "{}/out.mp4", "--stride", "8"), "--window"),
        (("-o", "{}/out.mp4", "--size", "2"), "--size"),
    ],
)
def test_bad_options_are_one_line(tmaseg, clip, tmp_path, options, word):
    answer = tmaseg("run", clip, *(option.format(tmp_path) for option in options))
    _is_one_clear_line(answer, word)
    assert files(tmp_path) == []


@pytest.mark.parametrize("kind", ["missing", "truncated", "pickle", "stranger", "text", "folder"])
def test_bad_weights_are_one_line(tmaseg, clip, weights, tmp_path, kind):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    if kind == "truncated":
        path.write_bytes(weights.read_bytes()[:-1000])
    elif kind == "pickle":
        torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    elif kind == "stranger":
        save_file({"a": torch.zeros(1)}, path)
    elif kind == "text":
        path.write_text("weights")
    elif kind == "folder":
        path.mkdir()
    answer = tmaseg("run", clip, "-o", tmp_path / "out.mp4", "--weights", path)
    _is_one_clear_line(answer, "w.safetensors")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("run", "a.mp4", "--demo"),
        ("run", "a.mp4"),
        ("run", "a.mp4", "-o", "o.mp4", "--mode", "nope"),
        ("run", "a.mp4", "-o", "o.mp4", "--masks", "m", "--mask-format", "ids,nope"),
        ("run", "a.mp4", "-o", "o.mp4", "--rate", "fast"),
        ("run", "a.mp4", "-o", "o.mp4", "--no-such-flag"),
        ("frames", "folder"),
        ("nope",),
    ],
)
def test_wrong_usage_is_2(tmaseg, arguments):
    answer = tmaseg(*arguments, plain=True)
    assert (answer.code, answer.out) == (2, "")
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("flag", ["-o", "--stats", "--masks"])
def test_an_output_never_replaces_an_input(tmaseg, clip, weights, tmp_path, flag):
    video, network, folder = tmp_path / "a.mp4", tmp_path / "w.safetensors", tmp_path / "images"
    video.write_bytes(clip.read_bytes())
    network.write_bytes(weights.read_bytes())
    folder.mkdir()
    Image.fromarray(moving(1)[0]).save(folder / "000000.png")
    before = {path: path.read_bytes() for path in (video, network, folder / "000000.png")}
    for source, target in ((video, video), (folder, folder), (video, network)):
        if target is folder and flag != "--masks":
            continue
        answer = tmaseg("run", source, flag, target, "--overwrite", "--weights", network)
        assert answer.code == 1, (source, target)
        assert len(answer.err.splitlines()) == 1
    assert {path: path.read_bytes() for path in before} == before
    assert files(tmp_path) == ["a.mp4", "images/000000.png", "w.safetensors"]


def test_debug_shows_where_an_error_came_from(weights, tmp_path):
    from typer.testing import CliRunner

    from tmaseg.cli import app
    from tmaseg.errors import VideoError

    result = CliRunner().invoke(app, ["run", str(tmp_path / "no.mp4"), "-o", "o.mp4", "--debug"])
    assert isinstance(result.exception, VideoError)


def test_a_fault_of_the_program_is_one_line_too(tmaseg, clip, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr("tmaseg.inference.segmenter.Segmenter.step", broken)
    answer = tmaseg("run", clip, "-o", tmp_path / "out.mp4")
    _is_one_clear_line(answer, "RuntimeError: first")
    assert files(tmp_path) == []


@pytest.fixture
def signalled(monkeypatch):
    """`signalled(SIGTERM, times)`: the signal comes so many times, in the fifth frame."""

    def prepare(number, times=1):
        step, seen = Segmenter.step, []

        def interrupted(self, *arguments, **options):
            seen.append(1)
            if len(seen) == 5:
                for _ in range(times):
                    signal.raise_signal(number)
            return step(self, *arguments, **options)

        monkeypatch.setattr(Segmenter, "step", interrupted)

    return prepare


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_finishes_the_file_and_is_the_exit_code(tmaseg, clip, tmp_path, signalled, number, code):
    signalled(number)
    out = tmp_path / "out.mp4"
    answer = tmaseg("run", clip, "-o", out, "--stats", tmp_path / "s.csv", "--json")
    assert answer.code == code
    assert answer.json["interrupted"]
    assert answer.json["frames"] == len(stamps(out)) == len((tmp_path / "s.csv").read_text().splitlines()) - 1 == 5
    assert files(tmp_path) == ["out.mp4", "s.csv"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_leaves_nothing_behind(tmaseg, clip, tmp_path, signalled, monkeypatch, number, code):
    monkeypatch.setattr("tmaseg.signals._REPEAT_SECONDS", 0)
    signalled(number, times=2)
    answer = tmaseg("run", clip, "-o", tmp_path / "out.mp4", "--stats", tmp_path / "s.csv")
    assert answer.code == code
    assert files(tmp_path) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_has_nothing_to_finish_ends_at_once(tmaseg, monkeypatch, number, code):
    monkeypatch.setattr("tmaseg.benchmark.run_bench", lambda *_, **__: signal.raise_signal(number))
    answer = tmaseg("bench")
    assert (answer.code, answer.out, answer.err) == (code, "", "interrupted\n")


def test_what_a_killed_run_left_goes_with_the_next_one_but_not_what_a_running_one_writes(tmaseg, clip, tmp_path):
    out = tmp_path / "out.mp4"
    (tmp_path / ".out.mp4.part").write_bytes(b"left by kill -9")
    (tmp_path / ".s.csv.part").write_bytes(b"left by kill -9")
    assert tmaseg("run", clip, "-o", out, "--stats", tmp_path / "s.csv", "--end", "0.1").code == 0
    assert files(tmp_path) == ["out.mp4", "s.csv"]
    running = PartFile(out)
    running.path.write_bytes(b"of another run")
    assert tmaseg("run", clip, "-o", out, "--end", "0.1", "--overwrite").code == 0
    assert running.path.read_bytes() == b"of another run"
    running.discard()
    assert files(tmp_path) == ["out.mp4", "s.csv"]


def _is_one_clear_line(answer, word):
    lines = [line for line in answer.err.splitlines() if not line.startswith("warning: ")]
    assert answer.code == 1
    assert answer.out == ""
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert word in lines[0]
    assert len(lines[0]) > len("error: ") + 20
    assert "Traceback" not in answer.err


def test_key_frames_from_file_to_file(tmaseg, clip, weights, tmp_path):
    answer = tmaseg("run", clip, "--masks", tmp_path, "--key-frames", 5, "--json")
    assert (answer.json["frames"], answer.json["key_frames"]) == (12, 5)
    segmenter = load(weights, precision="fp32", device="cpu", key_frames=5)
    with open_source(clip) as source:
        labels = [segmenter.step(frame.rgb, seconds=frame.seconds).labels for frame in source]
    assert answer.json["network_frames"] == segmenter.network_frames == 3
    for mask, want in zip(sorted(tmp_path.iterdir()), labels, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(mask)), want)
    wrong = tmaseg("run", clip, "--masks", tmp_path / "other", "--key-frames", 0)
    assert wrong.code == 1
    assert "--key-frames is 0; it must be 1" in wrong.err


def test_classes_are_averaged_along_the_motion_unless_told_not_to(tmaseg, weights, tmp_path):
    clip = film(tmp_path / "pan.mp4", pan(8, 6, step_px=2, size_hw=(96, 128))[0])
    for flags, smooth in (((), True), (("--no-smooth",), False), (("--memory", 0), False)):
        answer = tmaseg("run", clip, "--masks", tmp_path / "masks", "--json", "--overwrite", *flags)
        assert answer.json["smooth"] == smooth
        memory = {"memory_frames": 0} if "--memory" in flags else {}
        segmenter = load(weights, precision="fp32", device="cpu", smooth=smooth, **memory)
        with open_source(clip) as source:
            labels = [segmenter.step(frame.rgb, seconds=frame.seconds).labels for frame in source]
        for mask, want in zip(sorted((tmp_path / "masks").iterdir()), labels, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(mask)), want)


def test_a_pipe_becomes_a_whole_video_with_sound(tmaseg, tmp_path):
    data = film(tmp_path / "a.ts", moving(12), seconds_of_sound=0.48, sound=["aac"]).read_bytes()
    with named_pipe(tmp_path / "pipe", data) as pipe, pipe.open("rb") as file, standard_input(file.fileno()):
        answer = tmaseg("run", "-", "-o", f"{tmp_path}/out/", "--json")
    assert (answer.code, answer.json["input"], answer.json["frames"]) == (0, "-", 12), answer.err
    with av.open(str(tmp_path / "out" / "stdin.mp4")) as written:
        lengths = [float(stream.duration * stream.time_base) for stream in written.streams]
    assert [stream for stream in lengths if abs(stream - 0.48) > 0.05] == []
    assert len(lengths) == 2


def test_ctrl_c_ends_a_run_that_waits_for_a_pipe(tmaseg, tmp_path, signalled):
    signalled(signal.SIGINT)
    data, more = film(tmp_path / "a.mkv", moving(40), options={"g": "5"}).read_bytes(), threading.Event()
    with named_pipe(tmp_path / "pipe", data[: len(data) // 2], more=more) as pipe:
        answer = tmaseg("run", pipe, "-o", tmp_path / "out.mp4", "--timeout", 300)
        more.set()
    assert answer.code == 130
    assert len(stamps(tmp_path / "out.mp4")) >= 5


@pytest.mark.parametrize("flag", ["-o", "--masks", "--stats"])
def test_standard_output_is_no_output(tmaseg, clip, flag):
    _is_one_clear_line(tmaseg("run", clip, flag, "-"), "standard output")
    _is_one_clear_line(tmaseg("frames", clip.parent, "-o", "/dev/stdout"), "standard output")


def test_what_libraries_say_of_a_damaged_file_is_not_shown(weights, tmp_path):
    picture = tmp_path / "a.tiff"
    Image.fromarray(moving(1)[0]).save(picture)
    data = bytearray(picture.read_bytes())
    entry = data.index(b"\x01\x01\x04\x00\x01\x00\x00\x00")  # ImageLength, one short: now there are too many
    data[entry + 4 : entry + 8] = b"\xff\xff\xff\x0f"
    picture.write_bytes(data)
    command = ("run", picture, "-o", tmp_path / "out.mp4", "--weights", weights)
    done = subprocess.run([sys.executable, "-m", "tmaseg", *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
    assert done.stderr.startswith("error: ")


def test_a_strip_is_segmented_with_bounded_pixels_and_that_is_said(tmaseg, tmp_path):
    Image.fromarray(np.tile(moving(1)[0], (1, 20, 1))).save(tmp_path / "strip.png")
    answer = tmaseg("run", tmp_path / "strip.png", "--masks", tmp_path / "masks", "--size", 64)
    assert answer.code == 0
    assert answer.err.count("sides differ more than 8 to 1") == 1
    assert pictures_of(tmp_path / "masks").shape == (1, 48, 1280, 3)
