"""`tmaseg info` and `tmaseg convert`."""

import json

import numpy as np
import pytest
import torch
from films import film, moving

from tmaseg.labels import CITYSCAPES


def test_a_machine(tmaseg):
    answer = tmaseg("info", "--json")
    assert answer.code == 0
    facts = answer.json
    assert facts["packages"]["torch"] == torch.__version__.split("+")[0]
    cpu = facts["devices"]["cpu"]
    assert cpu["precision"] in cpu["attention"]
    assert cpu["attention"]["fp32"] == "explicit"  # tried and works
    assert "libx264" in facts["encoders"]
    text = tmaseg("info")
    assert (text.code, text.err) == (0, "")
    assert "libx264" in text.out


def test_weights(tmaseg, weights):
    facts = tmaseg("info", weights, "--json").json
    assert facts["kind"] == "weights"
    assert facts["config"]["classes"] == len(facts["labels"]["names"]) == 19
    assert facts["labels"]["names"] == list(CITYSCAPES.names)
    assert "resnet18" in tmaseg("info", weights).out


def test_a_video(tmaseg, tmp_path):
    from fractions import Fraction

    path = film(tmp_path / "v.mkv", moving(6), seconds_of_sound=0.2, sound=["aac"], rate=Fraction(30000, 1001))
    facts = tmaseg("info", path, "--json").json
    assert (facts["kind"], facts["width"], facts["height"], facts["codec"]) == ("video", 64, 48, "h264")
    assert facts["sound"] == ["aac"]
    assert "64x48" in tmaseg("info", path).out


@pytest.mark.parametrize("name", ["missing.mp4", "missing.safetensors", "text.mp4", "checkpoint.pth"])
def test_what_is_neither_is_one_line(tmaseg, tmp_path, name):
    (tmp_path / "text.mp4").write_text("text")
    torch.save({"a": torch.zeros(1)}, tmp_path / "checkpoint.pth")
    answer = tmaseg("info", tmp_path / name)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert name in answer.err


def test_the_authors_checkpoint_becomes_ours_and_runs(tmaseg, shared, tmp_path):
    """Right names and shapes are enough here; that the values come along is tested beside the converter."""
    shapes = json.loads((shared("fixtures/upstream") / "camvid_t4.keys.json").read_text())
    state = {f"module.{name}": torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}
    source, out = tmp_path / "tmanet.pth", tmp_path / "ours.safetensors"
    torch.save({"meta": {}, "state_dict": state}, source)
    answer = tmaseg("convert", source, "-o", out, "--half")
    assert (answer.code, answer.out) == (0, "")
    assert "preset camvid, guessed from the 12 outputs" in answer.err
    facts = tmaseg("info", out, "--json").json
    assert (facts["config"]["memory_frames"], facts["labels"]["name"]) == (4, "camvid12")
    assert facts["provenance"]["file"] == "tmanet.pth"
    video = film(tmp_path / "v.mp4", moving(2))
    assert tmaseg("run", video, "-o", tmp_path / "o.mp4", "--weights", out).code == 0
    again = tmaseg("convert", source, "-o", out, "--quiet")
    assert again.code == 1
    assert "--overwrite" in again.err


@pytest.mark.parametrize("kind", ["missing", "text", "no network", "bad suffix"])
def test_what_cannot_be_converted_is_one_line(tmaseg, tmp_path, kind):
    source, out = tmp_path / "in.pth", tmp_path / ("out.zip" if kind == "bad suffix" else "out.safetensors")
    if kind == "text":
        source.write_text("text")
    elif kind == "no network":
        torch.save({"state_dict": {"a": torch.from_numpy(np.zeros(1))}}, source)
    answer = tmaseg("convert", source, "-o", out)
    assert answer.code == 1
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert not out.exists()
