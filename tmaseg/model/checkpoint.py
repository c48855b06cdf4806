"""Checkpoints: one .safetensors file that says what network it is, what its classes are and where it came from."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tmaseg.errors import CheckpointError, TmasegError
from tmaseg.files import atomic_write
from tmaseg.labels import LabelSet
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet

_KEY = "tmaseg"
_FORMAT = 1
_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the shipped weights lie inside the package, in a source checkout beside it.
_WEIGHTS_FOLDERS = (_PACKAGE / "weights", _PACKAGE.parent / "weights")


@dataclass(frozen=True)
class View:
    """How the network was meant to look at frames; options of the user go before these."""

    size: int | None = None
    """Short side in pixels fed to the network; None: the frame's own."""
    window: int | None = None
    """Side of square windows, in pixels of the network's input; None: the whole frame at once."""
    stride: int | None = None
    """Step between windows in pixels."""

    def window_hw(self, input_hw: tuple[int, int]) -> tuple[int, int]:
        """How much of the network's input is seen at once: a window, or all of it."""
        height, width = input_hw
        return min(self.window or height, height), min(self.window or width, width)


@dataclass(frozen=True)
class Checkpoint:
    """A network's parameters with everything needed to use them."""

    config: TMANetConfig
    labels: LabelSet
    state: dict[str, Tensor] = field(repr=False)
    view: View = View()
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the weights came from: data, recipe, scores. Plain JSON values."""

    def build(self) -> TMANet:
        """The network with these parameters, in float32 on the CPU, in evaluation mode."""
        net = TMANet(self.config)
        _check_state(self.state, net, "the checkpoint")
        net.load_state_dict(self.state)
        return net.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Writes the checkpoint; the file appears under its name only when complete.

    `half` stores convolutions in float16; statistics and scales of batch normalisation stay as they are.
    Raises CheckpointError when the file cannot be written.
    """
    about = {
        "format": _FORMAT,
        "config": checkpoint.config.to_dict(),
        "labels": checkpoint.labels.to_dict(),
        "view": vars(checkpoint.view),
        "provenance": checkpoint.provenance,
    }
    state = {
        name: (value.half() if half and value.ndim == 4 else value).detach().cpu().contiguous()
        for name, value in checkpoint.state.items()
    }
    try:
        with atomic_write(path) as part:
            part.write_bytes(save(state, metadata={_KEY: json.dumps(about)}))
    except OSError as error:
        raise CheckpointError(f"{path}: the weights cannot be written ({error}): choose another place") from error


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Reads a checkpoint by the name of shipped weights ("street") or by path. Nothing is unpickled.

    Raises CheckpointError, saying what the file is instead and what to do, when it is not a whole tmaseg checkpoint.
    """
    path = find_weights(name_or_path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise CheckpointError(
                    f"{path}: a safetensors file of another program (it has no tmaseg description): "
                    "give weights written by tmaseg train or tmaseg convert"
                )
            about = json.loads(metadata[_KEY])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: {_what_is(path)} ({error})") from error
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: the weights cannot be read ({error}): get the file again") from error
    if about.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path}: written in format {about.get('format')}, this tmaseg reads {_FORMAT}: upgrade it"
        )
    try:
        config = TMANetConfig.from_dict(about["config"])
        labels = LabelSet.from_dict(about["labels"])
        view = View(**about["view"])
        state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        _check_state(state, TMANet(config), str(path))
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its description is incomplete ({error}): get the file again") from error
    except CheckpointError:
        raise
    except TmasegError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if len(labels) != config.classes:
        raise CheckpointError(f"{path}: {config.classes} outputs but {len(labels)} class names: get the file again")
    return Checkpoint(config, labels, state, view, about.get("provenance", {}))


def find_weights(name_or_path: str | Path) -> Path:
    """The file of shipped weights by name, or the path itself. Raises CheckpointError when there is neither."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = shipped_weights()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder; give a .safetensors file or one of the names {_names(shipped)}")
    raise CheckpointError(f"{name_or_path}: no such weights file; shipped names are {_names(shipped)}")


def shipped_weights() -> dict[str, Path]:
    """The checkpoints that come with the program, by name."""
    return {path.stem: path for folder in _WEIGHTS_FOLDERS for path in sorted(folder.glob("*.safetensors"))}


def _names(shipped: dict[str, Path]) -> str:
    return ", ".join(sorted(shipped)) or "none (this copy was installed without weights)"


def _what_is(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "a pickled PyTorch file, which may run code when loaded: make a safe one with `tmaseg convert`"
    if not head:
        return "an empty file: get the weights again"
    return "a damaged or truncated file, or no safetensors file at all: get the weights again"


def _check_state(state: dict[str, Tensor], net: torch.nn.Module, source: str) -> None:
    """Strict: raises CheckpointError that names keys missing, left over or of the wrong shape."""
    wanted = net.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in state]
    problems += [f"{name} is left over" for name in state if name not in wanted]
    problems += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise CheckpointError(f"{source} does not fit its network: {'; '.join(problems[:3])}{more}")
