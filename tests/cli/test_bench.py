import json

import cv2
import pytest
from typer.testing import CliRunner

from tmaseg.benchmark import stages
from tmaseg.cli import app


def bench(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_bench_tells_of_network_stages_and_curves_in_one_object(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "_FRAMES", 4)
    plot = tmp_path / "new" / "curves.png"
    arguments = ["--weights", weights, "--frame", "64x48", "--repeats", 1, "--device", "cpu"]
    result = bench(*arguments, "--plot", plot, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    names = [row["name"] for row in told["rows"]]
    assert names[:6] == [
        f"{form} {precision}" for precision in ("fp32", "bf16") for form in ("clip", "stream", "alone")
    ]
    assert names[6:] == ["decode", "convert", "model", "render", "encode", "all stages, one after the other"]
    assert all(row["seconds_per_frame"] > 0 for row in told["rows"] if row["name"] != "convert")
    assert told["rows"][0]["gmacs"] >= told["rows"][1]["gmacs"]
    assert "stream over clip, fp32" in told["ratios"]
    assert set(told["attention"]) == {"fp32", "bf16"}
    assert told["attention"]["fp32"] == "explicit"  # on the CPU
    assert [point["memory_frames"] for point in told["curves"]["against_memory"]] == [0, 1, 2, 4, 6, 8]
    assert all(point["stream"]["seconds_per_frame"] > 0 for point in told["curves"]["against_size"])
    assert cv2.imread(str(plot)) is not None


def test_the_papers_figure_is_counted_without_running_anything():
    result = bench("--paper", "cityscapes", "--frame", "769x769", "--count-only", "--json")
    assert result.exit_code == 0, result.stderr
    clip, stream, _ = json.loads(result.stdout)["rows"]
    assert (clip["name"], clip["seconds_per_frame"]) == ("clip", None)
    assert clip["gmacs_paper"] == pytest.approx(753.5, abs=0.1)  # the paper: 754
    assert clip["gmacs"] == pytest.approx(810.1, abs=0.1)
    assert stream["gmacs_paper"] == pytest.approx(290.2, abs=0.1)


def test_any_configuration_can_be_counted_and_shown():
    def rows(*arguments):
        return json.loads(bench(*arguments, "--count-only", "--json").stdout)["rows"]

    longer = ["--paper", "camvid", "--frame", "64x48", "--set", "memory_frames=9", "--set", "memory_encoder=shared"]
    assert rows(*longer)[0]["gmacs"] > 1.8 * rows(*longer[:4])[0]["gmacs"]
    assert [row["name"] for row in rows(*longer[:4], "--set", "memory_frames=0")] == ["alone"]
    shown = bench(*longer, "--count-only").stdout
    assert "memory_frames=9" in shown
    assert "clip" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frame", "16x64"], "at least 32"),
        (["--precisions", "fp32,fp8"], "'fp8'"),
        (["--precisions", ","], "--precisions"),
        (["--plot", "curves.jpg"], ".png"),
        (["--plot", "curves.png", "--set", "memory_frames=0"], "no memory"),
        (["--plot", "curves.png", "--count-only"], "leave out"),
        (["--set", "memory_frames"], "NAME=VALUE"),
        (["--set", "colour=blue"], "colour"),
        (["--set", "backbone=vgg"], "backbone"),
        (["--paper", "camvid", "--weights", "other"], "--paper camvid"),
        (["--video", "nowhere.mp4"], "nowhere.mp4"),
        (["--device", "tpu"], "--device"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(arguments, words):
    result = bench(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


def test_a_size_has_two_sides():
    result = bench("--frame", "64")
    assert result.exit_code == 2
    assert "WIDTHxHEIGHT" in result.stderr
