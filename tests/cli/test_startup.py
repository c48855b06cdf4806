"""What commands import: nothing heavy before inputs, weights and options are checked, nothing that is not theirs."""

import json
import subprocess
import sys

import pytest
from films import film, moving
from PIL import Image
from tiny import noise_frames

HEAVY = ("torch", "torchvision")

_CALL = """
import json, sys
from typer.testing import CliRunner
from tmaseg.cli import app
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, words)
    print(json.dumps({"code": result.exit_code, "err": result.stderr, "modules": sorted(sys.modules)}))
"""


def call(*commands):
    """(exit code, standard error, names of all modules) after each of some commands, in one other process."""
    words = [[str(word) for word in command] for command in commands]
    done = subprocess.run([sys.executable, "-c", _CALL, json.dumps(words)], capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [(answer["code"], answer["err"], set(answer["modules"])) for answer in answers]


@pytest.fixture
def place(tmp_path, clip, weights):
    """A folder with a video, a folder of images, and an output that exists."""
    (tmp_path / "v.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "w.safetensors").write_bytes(weights.read_bytes())
    (tmp_path / "there.mp4").write_bytes(b"mine")
    (tmp_path / "images").mkdir()
    Image.fromarray(noise_frames(1, (48, 64))[0]).save(tmp_path / "images" / "0.png")
    return tmp_path


WRONG = (
    ("run {}/missing.mp4 -o {}/o.mp4", "missing.mp4 does not exist"),
    ("run {}/v.mp4 -o {}/o.mp4 --weights nope", "no such weights file; the names that ship are: "),
    ("run {}/v.mp4 -o {}/o.mp4 --weights {}/images", "a folder; give a .safetensors file or one of the names that"),
    ("run {}/v.mp4 -o {}/o.mp4 --weights {}/there.mp4", "no safetensors file at all"),
    ("run {}/v.mp4 -o {}/there.mp4 --weights {}/w.safetensors", "there.mp4 exists"),
    ("run {}/v.mp4 -o {}/o.xyz --weights {}/w.safetensors", ".mp4"),
    ("run {}/v.mp4 -o {}/no/o.mp4 --weights {}/w.safetensors", "does not exist"),
    ("run {}/v.mp4 -o {}/o.mp4 --weights {}/w.safetensors --classes unicorn", "unicorn"),
    ("run {}/v.mp4 -o {}/o.mp4 --weights {}/w.safetensors --palette nope", "nope"),
    ("run {}/v.mp4 -o {}/o.mp4 --weights {}/w.safetensors --size 2", "--size is 2"),
    ("run {}/v.mp4 -o {}/o.mp4 --weights {}/w.safetensors --stride 8", "--window"),
    ("run {}/v.mp4 -o {}/o.mp4 --weights {}/w.safetensors --memory -1", "--memory is -1"),
    ("run {}/v.mp4 -o {}/o.mp4 --weights {}/w.safetensors --device tpu", "--device is 'tpu'"),
    ("run {}/v.mp4 -o {}/o.mp4 --crf 99", "--crf is 99"),
    ("run {}/v.mp4 -o {}/o.mp4 --start -1", "--start is -1"),
    ("frames {}/missing -o {}/o", "missing does not exist"),
    ("frames {}/images -o {}/images", "write the masks to another folder"),
    ("frames {}/images -o {}/o --weights nope", "no such weights file"),
    ("eval --video {}/missing.mp4", "missing.mp4 does not exist"),
    ("eval --dataset camvid --data {}/missing", "missing"),
    ("eval --video {}/v.mp4 --weights nope", "no such weights file"),
    ("info {}/missing.mp4", "missing.mp4 does not exist"),
    ("info nope.safetensors", "no such weights file"),
)


def test_what_is_wrong_is_reported_before_torch_is_imported(place):
    commands = [command.replace("{}", str(place)).split() for command, _ in WRONG]
    for (command, words), (code, err, modules) in zip(WRONG, call(*commands), strict=True):
        assert code == 1, command
        assert words in err, command
        assert len(err.splitlines()) == 1, command
        assert not {*HEAVY} & modules, command


def test_descriptions_need_no_torch(place):
    for code, _, modules in call(("info", place / "w.safetensors"), ("info", place / "v.mp4"), ("info", "street")):
        assert code == 0
        assert not {*HEAVY} & modules


def test_run_imports_nothing_of_training_evaluation_and_data_sets(weights, tmp_path):
    video = film(tmp_path / "one.mp4", moving(1))
    [(code, err, modules)] = call(("run", video, "-o", tmp_path / "out.mp4", "--weights", weights, "--device", "cpu"))
    assert code == 0, err
    others = ("benchmark", "data", "evaluation", "metrics", "plots", "training")
    loaded = {name for name in modules if name.startswith(tuple(f"tmaseg.{other}" for other in others))}
    assert not loaded
    assert not {"torchvision", "torch._dynamo", "matplotlib", "jinja2"} & modules
    assert "torch" in modules
