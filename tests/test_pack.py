"""scripts/pack_data and scripts/gpu_train: packed data read as the original, and train without PyAV."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from drawn import CLASSES, draw_scene, write_drawn

from tmaseg.data import open_dataset
from tmaseg.model.checkpoint import load_checkpoint

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def write_layout(root, stems, size_hw=(64, 64)):
    """Drawn pictures as SegNet's layout has them: SPLIT/ and SPLITannot/."""
    for split, names in stems.items():
        for number, stem in enumerate(names):
            rgb, labels = draw_scene(number, size_hw)
            for folder, suffix, picture in ((split, "jpg", rgb[..., ::-1]), (f"{split}annot", "png", labels)):
                (root / folder).mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(root / folder / f"{stem}.{suffix}"), picture)
    return root


@pytest.fixture
def street(tmp_path):
    """Data sets named cityscapes256 and camvid, and how they are given on the command line."""
    city = write_layout(tmp_path / "city", {"train": [f"{n:04}" for n in range(8)], "val": ["0001", "0002"]})
    films = {"train": [f"0006R0_f{30 * n:05}" for n in range(6)], "val": ["0016E5_07959", "0016E5_07961"]}
    camvid = write_layout(tmp_path / "camvid", films, (96, 128))
    return ["--dataset", "cityscapes256", "--data", city, "--dataset", "camvid", "--data", camvid]


def call(script, *arguments, **environment):
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def unpacked(archive, folder):
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return {each["dataset"]: folder / each["folder"] for each in json.loads((folder / "pack.json").read_text())["data"]}


def test_a_pack_is_small_enough_and_reads_as_the_original(street, tmp_path):
    done = call("pack_data.py", *street, "-o", tmp_path / "pack.zip", "--mib", 0.06, "--size", 64)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pack.zip").stat().st_size <= 0.06 * 2**20
    folders = unpacked(tmp_path / "pack.zip", tmp_path / "unpacked")
    for name, original in zip(("cityscapes256", "camvid"), (tmp_path / "city", tmp_path / "camvid"), strict=True):
        before, after = open_dataset(name, original), open_dataset(name, folders[name])
        for split in ("train", "val"):
            pairs = zip(before.samples(split), after.samples(split), strict=True)
            assert [clip.name for clip in before.split(split)] == [clip.name for clip in after.split(split)]
            for one, other in pairs:
                assert one.frame.name == other.frame.name
                rgb, truth = before.image(one.frame), before.truth(one.frame)
                if name == "camvid":
                    rgb = cv2.resize(rgb, (85, 64), interpolation=cv2.INTER_AREA)
                    truth = cv2.resize(truth, (85, 64), interpolation=cv2.INTER_NEAREST_EXACT)
                assert np.array_equal(after.truth(other.frame), truth)
                assert np.abs(after.image(other.frame).astype(int) - rgb).mean() < 10
    done = call("pack_data.py", *street, "-o", tmp_path / "tiny.zip", "--mib", 0.01)
    assert done.returncode == 1
    assert "18 pictures do not fit 0.01 MiB, of which masks and lists take 0.0" in done.stderr
    assert not (tmp_path / "tiny.zip").exists()


def test_colour_masks_and_lists_of_a_described_set_are_packed(tmp_path):
    root = write_drawn(tmp_path / "farm", train=2, val=2)
    palette = [[10 * index, 20, 200 - index] for index in range(4)]
    for path in (root / "masks").rglob("*.png"):
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert cv2.imwrite(str(path), np.array(palette, np.uint8)[ids][..., ::-1])
    (root / "val.txt").write_text("images/val/val_001.png masks/val/val_001.png\n")
    described = {"train": {"images": "images/train", "masks": "masks/train"}, "val": "val.txt"}
    (tmp_path / "farm.yaml").write_text(
        yaml.safe_dump({"path": "farm", **described, "names": list(CLASSES), "palette": palette, "colours": True})
    )
    done = call("pack_data.py", "--dataset", tmp_path / "farm.yaml", "--data", root, "-o", tmp_path / "pack.zip")
    assert done.returncode == 0, done.stderr
    ((name, folder),) = unpacked(tmp_path / "pack.zip", tmp_path / "unpacked").items()
    before, after = open_dataset(str(tmp_path / "farm.yaml")), open_dataset(str(tmp_path / "unpacked" / name), folder)
    for split, count in (("train", 2), ("val", 1)):
        pairs = list(zip(before.samples(split), after.samples(split), strict=True))
        assert len(pairs) == count
        assert all(np.array_equal(before.truth(one.frame), after.truth(other.frame)) for one, other in pairs)


def test_both_presets_train_on_a_pack_where_pyav_is_missing(street, tmp_path):
    assert call("pack_data.py", *street, "-o", tmp_path / "pack.zip").returncode == 0
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "av.py").write_text("raise ModuleNotFoundError('No module named av')")
    network = ("backbone=resnet18", "width=4", "head_channels=8", "decoder_channels=8", "key_channels=4")
    settings = [each for value in (*network, "warmup=0", "size=64") for each in ("--set", value)]
    options = ["--batch", 4, "--crop", "64x48", "--precision", "fp32", "--device", "cpu", "--threads", 1, *settings]
    done = call(
        *("gpu_train", tmp_path / "pack.zip", "--minutes", 0.1, "--init", "none", *options),
        OUT=str(tmp_path / "out"),
        PYTHONPATH=str(tmp_path / "blocked"),
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stderr
    for preset, classes in (("street", 19), ("camvid", 11)):
        card = load_checkpoint(tmp_path / "out" / f"{preset}.safetensors")
        assert len(card.labels) == classes
        assert card.provenance["steps"] > 0
        assert set(card.provenance["data"]) == {"cityscapes256", "camvid"}
        assert (tmp_path / "out" / f"{preset}.csv").exists()
