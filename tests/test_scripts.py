"""What scripts import, and scripts/fuzz and scripts/kill_test on few files and kills."""

import ast
import importlib
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


def test_what_scripts_import_from_the_package_is_there():
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in SCRIPTS.glob("*.py")}
    wrong = [
        f"{name}: {node.module}.{alias.name}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tmaseg")
        for alias in node.names
        if not is_there(node.module, alias.name)
    ]
    assert trees
    assert not wrong


def is_there(module, name):
    try:
        return hasattr(importlib.import_module(module), name) or bool(importlib.import_module(f"{module}.{name}"))
    except ImportError:
        return False
