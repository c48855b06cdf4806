"""scripts/fuzz and scripts/kill_test, on few files and kills."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.mark.parametrize(
    ("name", "options"), [("fuzz", ["--count", "3"]), ("kill_test", ["--kills", "3", "--seconds", "0.2"])]
)
def test_a_few_go_well(name, options):
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout.splitlines()[-1]
