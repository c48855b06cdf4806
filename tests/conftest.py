"""What every test may ask for: the shared material where it is, and a random state that no other test disturbs."""

from collections.abc import Callable, Iterator
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


@pytest.fixture(autouse=True)
def _random_state() -> Iterator[None]:
    """Each test starts from one seed and leaves the global state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
