"""State: what a run is resumed from, exactly, as one file."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from tmaseg.errors import CheckpointError, OutputError
from tmaseg.files import atomic_write

_FORMAT = 2


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes the state; what was there before stays until the new one is complete.

    Raises OutputError when it cannot be written, as when the disk is full; the old one is still there then.
    """
    try:
        with atomic_write(path) as part, part.open("wb") as file:
            torch.save({"format": _FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as a RuntimeError
        reason = str(error).splitlines()[0]
        raise OutputError(f"{path}: the run's state cannot be written ({reason}): make room there") from error


def load_state(path: Path) -> dict[str, Any]:
    """The state on the CPU; nothing in it is executed. Raises CheckpointError when it is missing or damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file: the run ended before its state was first written") from error
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: a damaged state ({reason}): begin again from the run's last weights") from error
    if state.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: no state of this version of tmaseg: begin again from the run's last weights")
    return state
