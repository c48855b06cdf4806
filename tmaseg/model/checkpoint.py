"""Checkpoints: one .safetensors file that says what network it is, what its classes are and where it came from.

Torch is imported where tensors are read or written: metadata alone is read in a fraction of a second.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError, safe_open

from tmaseg.errors import CheckpointError, TmasegError
from tmaseg.files import atomic_write
from tmaseg.labels import LabelSet
from tmaseg.model.config import InputGeometry, OnnxSpec, TMANetConfig

if TYPE_CHECKING:
    from torch import Tensor

    from tmaseg.model.tmanet import TMANet

METADATA_KEY = "tmaseg"
_FORMAT = 1
_ONNX_METADATA = 14  # metadata_props of ModelProto; an entry's fields 1 and 2 are key and value
_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the shipped weights lie inside the package, in a source checkout beside it.
_WEIGHTS_FOLDERS = (_PACKAGE / "weights", _PACKAGE.parent / "weights")


@dataclass(frozen=True)
class WeightsInfo:
    """The metadata of a weights file."""

    path: Path
    config: TMANetConfig
    labels: LabelSet
    geometry: InputGeometry  # how frames were meant to be fed to the network
    provenance: dict[str, Any]  # where the weights came from: data, recipe, scores. Plain JSON values.
    parameters: int  # number of values in all tensors, running statistics included
    onnx: OnnxSpec | None = None  # of a file that `tmaseg export` wrote: what it fixes. None: a checkpoint.


@dataclass(frozen=True)
class Checkpoint:
    """A network's parameters with everything needed to use them."""

    config: TMANetConfig
    labels: LabelSet
    state: "dict[str, Tensor]" = field(repr=False)
    geometry: InputGeometry = field(default_factory=InputGeometry)
    """How frames were meant to be fed to the network."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the weights came from: data, recipe, scores. Plain JSON values."""

    def build(self) -> "TMANet":
        """The network with a copy of these parameters, in float32 on the CPU, in evaluation mode.

        Raises CheckpointError that names keys missing, left over or of the wrong shape.
        """
        net = _fitting_network(self, "the checkpoint")
        expected = net.state_dict()
        state = {name: value.to("cpu", expected[name].dtype, copy=True) for name, value in self.state.items()}
        net.load_state_dict(state, assign=True)
        return net.eval()

    def description(self) -> dict[str, Any]:
        """Everything but the parameters, as plain values for a file's metadata."""
        return {
            "format": _FORMAT,
            "config": self.config.to_dict(),
            "labels": self.labels.to_dict(),
            "geometry": vars(self.geometry),
            "provenance": self.provenance,
        }


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Writes the checkpoint; the file appears under its name only when complete.

    `half` stores convolutions in float16; statistics and scales of batch normalisation stay as they are.
    Raises CheckpointError when the file cannot be written.
    """
    from safetensors.torch import save

    state = {
        name: (value.half() if half and value.ndim == 4 else value).detach().cpu().contiguous()
        for name, value in checkpoint.state.items()
    }
    try:
        with atomic_write(path) as part:
            part.write_bytes(save(state, metadata={METADATA_KEY: json.dumps(checkpoint.description())}))
    except OSError as error:
        raise CheckpointError(f"{path}: the weights cannot be written ({error}): choose another place") from error


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Reads a checkpoint by the name of shipped weights ("street") or by path. Nothing is unpickled.

    Raises CheckpointError, saying what the file is instead and what to do, when it is no complete tmaseg checkpoint.
    """
    info = read_weights_info(name_or_path)
    if info.onnx:
        raise CheckpointError(f"{info.path}: an ONNX file, which only runs: give the checkpoint, {info.onnx.weights}")
    from safetensors.torch import load_file

    try:
        state = load_file(info.path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{info.path}: the weights cannot be read ({error}): get the file again") from error
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    checkpoint = Checkpoint(info.config, info.labels, state, info.geometry, info.provenance)
    _fitting_network(checkpoint, str(info.path))
    return checkpoint


def read_weights_info(name_or_path: str | Path) -> WeightsInfo:
    """The metadata of shipped weights by name ("street"), or of a file. Nothing is unpickled, no tensor is read.

    A file may also be what `tmaseg export` wrote.

    Raises CheckpointError, saying what the file is instead and what to do, when it is no complete file of this program.
    """
    path = find_weights(name_or_path)
    metadata, parameters = _read_metadata(path)
    if METADATA_KEY not in metadata:
        raise CheckpointError(
            f"{path}: a file of another program (it has no tmaseg description): "
            "give weights written by tmaseg train, convert or export"
        )
    try:
        about = json.loads(metadata[METADATA_KEY])
        if about.get("format") != _FORMAT:
            raise CheckpointError(f"written in format {about.get('format')}, this tmaseg reads {_FORMAT}: upgrade it")
        config = TMANetConfig.from_dict(about["config"])
        labels = LabelSet.from_dict(about["labels"])
        geometry = InputGeometry(**about["geometry" if "geometry" in about else "view"])  # older files have a view
        geometry.check()
        onnx = None
        if "onnx" in about:
            values = about["onnx"]
            onnx = OnnxSpec(**{**values, "frame_hw": values["frame_hw"] and tuple(values["frame_hw"])})
            parameters = about["parameters"]
        if len(labels) != config.classes:
            raise CheckpointError(f"{config.classes} outputs but {len(labels)} class names: get the file again")
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: its description is incomplete ({error}): get the file again") from error
    except TmasegError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return WeightsInfo(path, config, labels, geometry, about.get("provenance", {}), parameters, onnx)


def _read_metadata(path: Path) -> tuple[dict[str, str], int]:
    """Metadata, and the number of values in all tensors as far as the file says it itself."""
    try:
        if path.suffix.lower() == ".onnx":
            return _read_onnx_metadata(path), 0
        with safe_open(path, framework="np") as file:
            parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
            return file.metadata() or {}, parameters
    except SafetensorError as error:
        raise CheckpointError(f"{path}: {_what_is(path)} ({error})") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}: export it again") from error
    except OSError as error:
        raise CheckpointError(f"{path}: the weights cannot be read ({error}): get the file again") from error


def _read_onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file, read without the onnx package. Raises ValueError for a file that is none."""
    found = {}
    with path.open("rb") as file:
        for number, length in _protobuf_fields(file, path.stat().st_size):
            if number == _ONNX_METADATA:
                entry = {
                    each: file.read(count).decode() for each, count in _protobuf_fields(file, file.tell() + length)
                }
                found[entry.get(1, "")] = entry.get(2, "")
    return found


def _protobuf_fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """The number and length of each field of a message that ends at `end`, with the file at the field's content."""
    while file.tell() < end:
        number, kind = divmod(_varint(file), 8)
        if kind == 0:
            _varint(file)
        length = _varint(file) if kind == 2 else {0: 0, 1: 8, 5: 4}.get(kind, end)
        following = file.tell() + length
        if following > end or not 0 < number < 100:
            raise ValueError("no ONNX file, or a truncated one")
        yield number, length
        file.seek(following)


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while (byte := file.read(1)) and shift <= 63:
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return value
    raise ValueError("no ONNX file, or a truncated one")


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


def _fitting_network(checkpoint: Checkpoint, source: str) -> "TMANet":
    """Without storage. Raises CheckpointError where the state does not fit it."""
    from tmaseg.model.tmanet import empty_network

    net = empty_network(checkpoint.config)
    state, expected = checkpoint.state, net.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is left over" for name in state if name not in expected]
    problems += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise CheckpointError(f"{source} does not fit its network: {'; '.join(problems[:3])}{more}")
    return net


def _what_is(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "a pickled PyTorch file, which may run code when loaded: make a safe one with `tmaseg convert`"
    if not head:
        return "an empty file: get the weights again"
    return "a damaged or truncated file, or no safetensors file at all: get the weights again"
