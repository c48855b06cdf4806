"""scripts/bench and scripts/gpu_check: what they write."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_gpu_check_runs_dry_on_a_cpu(tmp_path):
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = [SCRIPTS / "gpu_check", "--device", "cpu", "--short", "-o", tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    facts = json.loads((tmp_path / "gpu.json").read_text())
    assert "passed" in facts["tests"]["result"]
    assert facts["traffic"]["frames"] == 40
    assert facts["bench"]["rows"][0]["streaming over clip"] > 1
    assert facts["run"]["CPU's coders"]["fps"] > 0
    assert facts["train"]["steps"] == 3
    assert facts["train"]["crops a second, made alone"] > 0


def test_bench_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "cityscapes", "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPTS / "bench.py"), run_name="__main__")
    assert end.value.code == 0
    assert json.loads((tmp_path / "cityscapes.json").read_text())["rows"][0]["gmacs_paper"] == 753.48
    assert "753.5" in capsys.readouterr().out
