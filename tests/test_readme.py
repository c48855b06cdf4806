"""The README's Python runs."""

import re
import shutil
import textwrap
from pathlib import Path

import pytest
from films import film, moving
from tiny import noise_frames

README = Path(__file__).parents[1] / "README.md"


def python_blocks():
    """Fenced blocks of Python, and indented ones that begin with an import."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return blocks + [block for block in map(textwrap.dedent, indented) if re.match(r"\s*(import|from) ", block)]


def test_the_onnx_example_needs_none_of_our_code():
    [example] = [block for block in python_blocks() if "street.onnx" in block]
    assert set(re.findall(r"^(?:import|from) (\w+)", example, re.MULTILINE)) == {"av", "json", "numpy", "onnxruntime"}
    assert len(example.splitlines()) <= 25


def test_there_are_some():
    assert any("tmaseg.load(" in block for block in python_blocks())


@pytest.mark.parametrize("block", python_blocks())
def test_a_block_runs(block, tmp_path, monkeypatch, request):
    """In a folder that has a `drive.mp4`, and a `street.onnx` where it is wanted, with some `frames`."""
    film(tmp_path / "drive.mp4", moving(3))
    if "street.onnx" in block:
        shutil.copy(request.getfixturevalue("onnx_file"), tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"frames": noise_frames(2, (48, 64))})
