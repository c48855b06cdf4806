"""`tmaseg train` from outside: recipes shown, wrong usage, Ctrl-C and going on."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import torch
from drawn import tiny_recipe, write_drawn
from typer.testing import CliRunner

from tmaseg.cli import app
from tmaseg.cli.train import _placed
from tmaseg.training import to_toml
from tmaseg.training.job import load_state
from tmaseg.training.record import read_record


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_drawn(tmp_path / "data")


def call(*arguments: object):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_the_recipe_is_shown_as_it_would_be_used_and_read_again(tmp_path):
    shown = call("--show-preset", "--preset", "paper-camvid", "--lr", 0.02, "--set", "backbone=resnet18", "--steps", 5)
    assert shown.exit_code == 0
    values = tomllib.loads(shown.stdout)
    assert tomllib.loads(call("--show-preset", "--preset", "scratch", "--steps", 5).stdout)["run"]["minutes"] == 0
    both = call("--show-preset", "--steps", 5, "--minutes", 3)
    assert (both.exit_code, "a run's length is one of them" in both.stderr) == (1, True)
    assert (values["optimizer"]["lr"], values["run"]["steps"], values["network"]["backbone"]) == (0.02, 5, "resnet18")
    path = tmp_path / "mine.toml"
    path.write_text(shown.stdout)
    assert call("--show-preset", "--preset", path).stdout == shown.stdout
    assert tomllib.loads(call("--show-preset").stdout)["init"] == "street"
    assert tomllib.loads(call("--show-preset", "--init", "none").stdout)["network"]["backbone"] == "resnet18"
    assert tomllib.loads(call("--show-preset", "--init", "imagenet").stdout)["network"]["stem"] == "plain"


def test_folders_go_to_the_data_sets_that_need_one():
    for names, folders, whose in (
        (["camvid", "mine.yaml", "vspw"], ["A", "B"], ["A", None, "B"]),
        (["camvid", "mine.yaml"], ["A", "B"], ["A", "B"]),
        (["mine.yaml"], ["A"], ["A"]),
        (["mine.yaml", "camvid"], [], [None, None]),
        (["mine.yaml", "camvid"], ["A"], [None, "A"]),
    ):
        assert _placed(names, folders) == list(zip(names, whose, strict=True))


def test_wrong_usage_and_bad_input_are_told_in_one_line(tmp_path, data):
    for arguments, said, code in (
        ((), "-o DIR", 2),
        (("-o", tmp_path / "run"), "--dataset NAME", 2),
        (("-o", tmp_path / "run", "--dataset", "camvid", "--data", data, "--data", data), "one folder for each", 2),
        (("-o", tmp_path / "run", "--dataset", "camvid", "--data", data, "--init", "none"), "no CamVid in", 1),
        (("-o", tmp_path / "run", "--dataset", "folder", "--data", data, "--preset", "fast"), "unknown preset", 1),
        (
            ("-o", tmp_path / "run", "--dataset", "folder", "--data", data, "--set", "lr=fast"),
            "be a valid number",
            1,
        ),
        (
            ("-o", tmp_path / "run", "--dataset", "folder", "--data", data, "--set", "mixture.flder=1"),
            "mixture.flder",
            1,
        ),
        (("-o", tmp_path / "none", "--resume"), "holds no run", 1),
        (
            ("-o", tmp_path / "run", "--dataset", "folder", "--data", data, "--init", tmp_path / "no.safetensors"),
            "no such weights file",
            1,
        ),
    ):
        result = call(*arguments)
        assert result.exit_code == code, result.output
        assert said in " ".join(result.stderr.split()).replace("│ ", ""), result.stderr
        assert "Traceback" not in result.output


def test_short_memory_is_told_with_what_helps_in_training(tmp_path, data, monkeypatch):
    def fail(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("tmaseg.training.train", fail)
    result = call("-o", tmp_path / "run", "--dataset", "folder", "--data", data, "--init", "none")
    assert result.exit_code == 1
    assert "out of memory; give a smaller --batch or --crop, or --set accumulate=2" in result.stderr
    assert "--size" not in result.stderr


def test_ctrl_c_writes_the_run_down_and_resume_finishes_it(tmp_path, data):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(to_toml(tiny_recipe(run={"steps": 100_000, "save_every": 2, "validate_every": 0})))
    output = tmp_path / "run"
    common = [sys.executable, "-m", "tmaseg", "train", "-o", str(output), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [*common, "--dataset", "folder", "--data", str(data), "--preset", str(recipe)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (output / "state.pt").exists() and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    step = load_state(output / "state.pt")["step"]
    assert f"stopped after {step} steps" in said
    assert "--resume" in said
    again = subprocess.run(
        [*common, "--resume", "--steps", str(step + 3), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    assert (result["steps"], result["interrupted"], result["scored_step"]) == (step + 3, False, step + 3)
    means = [float(row["miou_folder"]) for row in read_record(output / "log.csv") if row["miou_folder"]]
    assert result["best_miou"] == pytest.approx(max(means), abs=1e-4)
    assert (output / "best.safetensors").exists()
    unscored = call("-o", output, "--resume", "--steps", step + 4, "--set", "val_split=", "--device", "cpu", "--json")
    assert (unscored.exit_code, "no val data set to score on" in unscored.stderr) == (0, True), unscored.output
    assert json.loads(unscored.stdout)["scored_step"] is None
