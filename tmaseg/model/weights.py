"""Weights files without their tensors: where they are, and what their metadata says. Nothing here imports torch."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tmaseg.errors import CheckpointError, TmasegError
from tmaseg.labels import LabelSet
from tmaseg.model.config import TMANetConfig
from tmaseg.model.geometry import InputGeometry

METADATA_KEY = "tmaseg"
FORMAT = 1
_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the shipped weights lie inside the package, in a source checkout beside it.
_WEIGHTS_FOLDERS = (_PACKAGE / "weights", _PACKAGE.parent / "weights")


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file holds beside its tensors."""

    path: Path
    config: TMANetConfig
    labels: LabelSet
    geometry: InputGeometry
    """How frames were meant to be fed to the network."""
    provenance: dict[str, Any]
    """Where the weights came from: data, recipe, scores. Plain JSON values."""
    parameters: int
    """Number of values in all tensors, running statistics included."""


def read_weights_info(name_or_path: str | Path) -> WeightsInfo:
    """The metadata of shipped weights by name ("street"), or of a file. Nothing is unpickled, no tensor is read.

    Raises CheckpointError, saying what the file is instead and what to do, when it is no complete file of this program.
    """
    path = find_weights(name_or_path)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path}: {_what_is(path)} ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: the weights cannot be read ({error}): get the file again") from error
    if METADATA_KEY not in metadata:
        raise CheckpointError(
            f"{path}: a safetensors file of another program (it has no tmaseg description): "
            "give weights written by tmaseg train or tmaseg convert"
        )
    try:
        about = json.loads(metadata[METADATA_KEY])
        if about.get("format") != FORMAT:
            raise CheckpointError(
                f"{path}: written in format {about.get('format')}, this tmaseg reads {FORMAT}: upgrade it"
            )
        config = TMANetConfig.from_dict(about["config"])
        labels = LabelSet.from_dict(about["labels"])
        geometry = InputGeometry(**about["geometry" if "geometry" in about else "view"])  # older files have a view
        geometry.check()
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: its description is incomplete ({error}): get the file again") from error
    except CheckpointError:
        raise
    except TmasegError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if len(labels) != config.classes:
        raise CheckpointError(f"{path}: {config.classes} outputs but {len(labels)} class names: get the file again")
    return WeightsInfo(path, config, labels, geometry, about.get("provenance", {}), parameters)


def find_weights(name_or_path: str | Path) -> Path:
    """The file of shipped weights by name, or the path itself. Raises CheckpointError when there is neither."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = shipped_weights()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    names = ", ".join(sorted(shipped)) or "none (this copy was installed without weights)"
    if path.exists():  # a folder, a device or a pipe
        what = "a folder" if path.is_dir() else "no regular file"
        raise CheckpointError(f"{path}: {what}; give a .safetensors file or one of the names that ship: {names}")
    raise CheckpointError(f"{name_or_path}: no such weights file; the names that ship are: {names}")


def shipped_weights() -> dict[str, Path]:
    """The checkpoints that come with the program, by name."""
    return {path.stem: path for folder in _WEIGHTS_FOLDERS for path in sorted(folder.glob("*.safetensors"))}


def _what_is(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "a pickled PyTorch file, which may run code when loaded: make a safe one with `tmaseg convert`"
    if not head:
        return "an empty file: get the weights again"
    return "a damaged or truncated file, or no safetensors file at all: get the weights again"
