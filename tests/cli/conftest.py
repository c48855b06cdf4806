"""The command line as a user has it, with a tiny network of Cityscapes' classes."""

import json
import threading
from dataclasses import dataclass, replace

import pytest
from films import film, moving
from tiny import tiny_checkpoint
from typer.testing import CliRunner

from tmaseg.cli import app
from tmaseg.labels import CITYSCAPES
from tmaseg.model.checkpoint import save_checkpoint


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A checkpoint whose masks change from frame to frame."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, replace(tiny_checkpoint(classes=19), labels=CITYSCAPES))
    return path


@pytest.fixture
def tmaseg(weights):
    """`tmaseg("run", ...)`: calls the program; `--weights` is added unless it is given or `plain`."""

    def call(*arguments, plain=False):
        words = [str(argument) for argument in arguments]
        if words[0] in ("run", "frames") and not plain:
            for flag, value in (("--weights", weights), ("--precision", "fp32"), ("--device", "cpu")):
                words += [] if flag in words else [flag, str(value)]
        threads = set(threading.enumerate())
        result = CliRunner().invoke(app, words)
        left = {each for each in threading.enumerate() if "process_request" not in each.name}  # a test's own camera
        assert left <= threads
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """12 frames of 64x48."""
    return film(tmp_path_factory.mktemp("clip") / "clip.mp4", moving(12))
