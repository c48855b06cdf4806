"""Checkpoints: one .safetensors file that says what network it is, what its classes are and where it came from."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tmaseg.errors import CheckpointError
from tmaseg.files import atomic_write
from tmaseg.labels import LabelSet
from tmaseg.model.config import TMANetConfig
from tmaseg.model.geometry import InputGeometry
from tmaseg.model.tmanet import TMANet
from tmaseg.model.weights import FORMAT, METADATA_KEY, read_weights_info


@dataclass(frozen=True)
class Checkpoint:
    """A network's parameters with everything needed to use them."""

    config: TMANetConfig
    labels: LabelSet
    state: dict[str, Tensor] = field(repr=False)
    geometry: InputGeometry = field(default_factory=InputGeometry)
    """How frames were meant to be fed to the network."""
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
        "format": FORMAT,
        "config": checkpoint.config.to_dict(),
        "labels": checkpoint.labels.to_dict(),
        "geometry": vars(checkpoint.geometry),
        "provenance": checkpoint.provenance,
    }
    state = {
        name: (value.half() if half and value.ndim == 4 else value).detach().cpu().contiguous()
        for name, value in checkpoint.state.items()
    }
    try:
        with atomic_write(path) as part:
            part.write_bytes(save(state, metadata={METADATA_KEY: json.dumps(about)}))
    except OSError as error:
        raise CheckpointError(f"{path}: the weights cannot be written ({error}): choose another place") from error


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Reads a checkpoint by the name of shipped weights ("street") or by path. Nothing is unpickled.

    Raises CheckpointError, saying what the file is instead and what to do, when it is no complete tmaseg checkpoint.
    """
    info = read_weights_info(name_or_path)
    try:
        with safe_open(info.path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{info.path}: the weights cannot be read ({error}): get the file again") from error
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    try:
        _check_state(state, TMANet(info.config), str(info.path))
    except TypeError as error:
        raise CheckpointError(f"{info.path}: its description is incomplete ({error}): get the file again") from error
    return Checkpoint(info.config, info.labels, state, info.geometry, info.provenance)


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
