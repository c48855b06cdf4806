"""What every test may ask for: the shared material where it is, and a random state that no other test disturbs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # networks here are tiny: threads would only wait for each other

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """`shared("video/odd")`: that path in the folder `shared` beside the checkout; skips where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs ../shared/{name}, which is not here")
        return path

    return find


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory) -> Path:
    """`tmaseg export` of a tiny network, for frames of 64x48; the checkpoint lies beside it as `street.safetensors`."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    # Here, since the tests of a bare machine with a GPU find no typer there.
    from tiny import tiny_checkpoint
    from typer.testing import CliRunner

    from tmaseg.cli import app
    from tmaseg.labels import CITYSCAPES
    from tmaseg.model.checkpoint import save_checkpoint
    from tmaseg.model.config import InputGeometry

    folder = tmp_path_factory.mktemp("onnx")
    weights, path = folder / "street.safetensors", folder / "street.onnx"
    checkpoint = tiny_checkpoint(classes=19, geometry=InputGeometry(48), reach=0.4, self_in_memory=True)
    save_checkpoint(weights, replace(checkpoint, labels=CITYSCAPES))
    result = CliRunner().invoke(app, ["export", str(weights), "-o", str(path), "--frame", "64x48"])
    assert result.exit_code == 0, result.stderr
    assert "of 12 frames differ from torch in fp32 (memory emptied 2 times)" in result.stderr
    return path


@pytest.fixture(autouse=True)
def _random_state() -> Iterator[None]:
    """Each test starts from one seed and leaves the global state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
