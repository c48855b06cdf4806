"""scripts/bench: what it writes."""

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_bench_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "cityscapes", "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPTS / "bench.py"), run_name="__main__")
    assert end.value.code == 0
    assert json.loads((tmp_path / "cityscapes.json").read_text())["rows"][0]["gmacs_paper"] == 753.48
    assert "753.5" in capsys.readouterr().out
