"""scripts/ablation: each cell is trained and scored once, and the tables say what came out."""

import runpy
import sys
from pathlib import Path

import cv2
import pytest
import torch
from drawn import draw_scene

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "ablation.py"


@pytest.fixture
def camvid(tmp_path):
    """A drawn data set in CamVid's layout."""
    for split, count in (("train", 4), ("val", 3)):
        for number in range(count):
            rgb, labels = draw_scene(number)
            name = f"{'0016E5' if split == 'val' else '0006R0'}_{30 * number:06}.png"
            for folder, picture in ((split, rgb[..., ::-1]), (f"{split}annot", labels)):
                (tmp_path / "camvid" / folder).mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(tmp_path / "camvid" / folder / name), picture)
    return tmp_path / "camvid"


def ablate(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["ablation", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return end.value.code


def test_cells_are_trained_once_and_tables_show_means_and_spread(camvid, tmp_path, monkeypatch, capsys):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    runs = tmp_path / "runs"
    sizes = ["--size", 48, "--crop", "64x48", "--batch", 2, "--steps", 2, "--device", "cpu", "--set", "width=4"]
    common = ["--data", camvid, "-o", runs, "--table", "1", "--table", "3", *sizes, "--set", "warmup=0"]
    rows = ["--row", "baseline, no memory", "--row", "T = 4", "--length", 4]
    assert ablate(monkeypatch, *common, *rows, "--seeds", 2) == 0
    text = capsys.readouterr().out
    assert text == (runs / "tables.md").read_text() + "\n"
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "±" in lines["baseline, no memory"]
    assert lines["T = 4"].endswith("| 2 |")
    assert lines["1x1 then 3x3"].split("|")[2:] == lines["T = 4"].split("|")[2:]  # one network, two tables
    assert lines["T = 6"].endswith("| - | 0 |")
    made = {path: path.stat().st_mtime_ns for path in runs.rglob("last.safetensors")}
    assert len(made) == 4
    assert ablate(monkeypatch, *common, *rows, "--seeds", 2) == 0
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("last.safetensors")} == made
    torch.set_num_threads(threads)
    # What is asked for otherwise is refused before anything is trained.
    capsys.readouterr()
    assert ablate(monkeypatch, *common, *rows, "--seeds", 2, "--threads", 1) == 0
    assert ablate(monkeypatch, *common, *rows, "--steps", 3, "--set", "key_channels=8") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "network.key_channels was 64 and is 8, run.steps was 2 and is 3: ask" in said.replace("):", ":")
    assert ablate(monkeypatch, *common, "--table", "9") == 2
    assert ablate(monkeypatch, *common, "--row", "T = 5") == 2
    assert "'T = 5' here: choose baseline, no memory; T = 1; T = 2;" in " ".join(capsys.readouterr().err.split())
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("last.safetensors")} == made


def test_a_cell_is_named_by_its_whole_difference_so_that_another_length_is_another_cell():
    tables = runpy.run_path(str(SCRIPT))["tables"]
    names = {length: {cell.name for table in tables(length).values() for cell in table.cells} for length in (4, 6)}
    assert {"memory_frames-0", "memory_frames-4", "memory_frames-4_sampling-random"} <= names[4]
    assert names[4] & names[6] == {f"memory_frames-{frames}" for frames in (0, 1, 2, 4, 6)}
