"""`tmaseg export`, and exported files in the other commands."""

import shutil

import cv2
import numpy as np
import pytest
from drawn import write_drawn
from films import film, moving

from tmaseg.inference import onnx_export


@pytest.fixture
def files(onnx_file, tmp_path, monkeypatch):
    """A folder with the exported file, its checkpoint and a clip, as the current one."""
    shutil.copytree(onnx_file.parent, tmp_path, dirs_exist_ok=True)
    film(tmp_path / "v.mp4", moving(8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_gives_the_masks_that_torch_gives(tmaseg, files):
    for name in ("street.onnx", "street.safetensors"):
        run = ["run", "v.mp4", "--weights", name, "--masks", name + ".masks", "--device", "cpu", "--json"]
        answer = tmaseg(*run, *(["--precision", "fp32", "--no-smooth"] if "onnx" not in name else []), plain=True)
        assert answer.code == 0, answer.err
        assert (answer.json["precision"], answer.json["memory_frames"], answer.json["frames"]) == ("fp32", 3, 8)
    for path in sorted((files / "street.onnx.masks").iterdir()):
        masks = [
            cv2.imread(str(folder / path.name), -1) for folder in (path.parent, files / "street.safetensors.masks")
        ]
        assert (masks[0] != masks[1]).mean() < 0.01
    assert len(np.unique(masks[0])) > 2


def test_the_other_commands_take_it(tmaseg, files):
    keys = tmaseg(
        "run", "v.mp4", "--weights", "street.onnx", "--stats", "s.csv", "--key-frames", 3, "--json", plain=True
    )
    assert keys.json["network_frames"] < 8
    (files / "images").mkdir()
    for index, rgb in enumerate(moving(2)):
        cv2.imwrite(str(files / "images" / f"{index}.png"), rgb)
    assert tmaseg("frames", "images", "-o", "masks", "--weights", "street.onnx", plain=True).code == 0
    assert len(list((files / "masks").glob("*.png"))) == 2
    measured = tmaseg("eval", "--video", "v.mp4", "--weights", "street.onnx", "--memory", 3, "--limit", 3, "--json")
    assert measured.code == 1  # it has no form without memory to compare with
    assert "was exported with 3 memory frames, not with 0" in measured.err
    smoothed = tmaseg("eval", "--video", "v.mp4", "--weights", "street.onnx", "--smooth")
    assert smoothed.code == 1
    assert "street.onnx gives classes, not probabilities to be averaged: leave out --smooth" in smoothed.err
    facts = tmaseg("info", "street.onnx", "--json").json
    assert (facts["onnx"]["frame"], facts["onnx"]["weights"]) == ("64x48", str(facts["onnx"]["weights"]))
    assert facts["parameters"] > 0


def test_bench_compares_the_runtimes(tmaseg, files):
    words = ["bench", "--weights", "street.onnx", "--video", "v.mp4", "--device", "cpu", "--repeats", 1]
    answer = tmaseg(*words, "--json")
    assert answer.code == 0, answer.err
    names = [row["name"] for row in answer.json["rows"]]
    assert names[0] == "onnx fp32"
    assert names[-2:] == ["torch fp32", "torch bf16"]
    assert answer.json["ratios"]["onnx fp32 over torch fp32"] > 0
    assert (answer.json["frame"], answer.json["memory_frames"]) == ("64x48", 3)
    refused = tmaseg(*words, "--set", "memory_frames=2")
    assert refused.code == 1
    assert "is measured as it is: leave out" in refused.err


def test_a_data_set_scores_the_file(tmaseg, files, monkeypatch):
    write_drawn(files / "data", names=("road", "building", "car", "person"), train=1, val=2)

    def copied(_checkpoint, path, _spec, **_options):
        shutil.copy("street.onnx", path)
        return onnx_export.Parity(12, 2, 0.0, 0.0)

    monkeypatch.setattr(onnx_export, "export_onnx", copied)
    words = ["export", "street.safetensors", "-o", "new.onnx", "--frame", "64x48", "--dataset", "folder"]
    answer = tmaseg(*words, "--data", "data", "--json")
    assert answer.code == 0, answer.err
    assert 0 <= answer.json["miou"] <= 1
    assert "on 2 frames of folder" in answer.err
    assert (answer.json["frame"], answer.json["memory_frames"], answer.json["differing"]) == ("64x48", 3, 0)
    scored = ["eval", "--dataset", "folder", "--data", "data", "--weights", "new.onnx", "--device", "cpu"]
    for options, said in (
        (["--batch", 2], "new.onnx takes frames one by one: leave out --batch"),
        (["--scales", "0.5,1"], "new.onnx has its size in it: leave out --size, --window, --stride and --scales"),
    ):
        refused = tmaseg(*scored, *options)
        assert refused.code == 1
        assert said in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run v.mp4 -o o.mp4 --weights street.onnx --size 64", "--size is 64 but street.onnx was exported with 48"),
        ("run v.mp4 -o o.mp4 --weights street.onnx --memory 2", "--memory is 2 but street.onnx was exported with 3"),
        ("run v.mp4 -o o.mp4 --weights street.onnx --window 32", "--window is 32 but street.onnx has no such choice"),
        (
            "run v.mp4 -o o.mp4 --weights street.onnx --precision fp16",
            "--precision is fp16 but street.onnx was exported",
        ),
        ("run big.mp4 -o o.mp4 --weights street.onnx", "a frame of 96x64 came but street.onnx takes 64x48: export it"),
        ("run v.mp4 -o o.mp4 --weights other.onnx", "other.onnx: no ONNX file, or a truncated one: export it again"),
        ("export street.onnx -o o.onnx", "an ONNX file, which only runs: give the checkpoint"),
        ("export street.safetensors -o o.pt", "must end in .onnx"),
        ("export street.safetensors -o street.onnx", "exists already; give --overwrite"),
        ("export street.safetensors -o o.onnx --precision int8", "int8 needs pictures to calibrate on"),
        ("export street.safetensors -o o.onnx --precision int8 --calibrate no", "no does not exist"),
        ("export street.safetensors -o o.onnx --memory -1", "--memory is -1"),
        ("export street.safetensors -o o.onnx --size 2", "--size is 2"),
    ],
)
def test_what_does_not_fit_is_one_line(tmaseg, files, words, said):
    (files / "other.onnx").write_bytes(b"text")
    film(files / "big.mp4", moving(2, 96, 64))
    answer = tmaseg(*words.split(), plain=True)
    assert (answer.code, answer.out) == (1, "")
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (files / "o.mp4").exists()


def test_a_size_of_frames_has_two_sides(tmaseg):
    answer = tmaseg("export", "street", "-o", "o.onnx", "--frame", "64")
    assert answer.code == 2
    assert "WIDTHxHEIGHT" in answer.err
