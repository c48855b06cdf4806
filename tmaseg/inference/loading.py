"""load_network: reads weights and prepares the network for inference."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tmaseg.inference.device import Precision, choose_device, choose_precision, precision_of
from tmaseg.inference.engine import Engine, prepare
from tmaseg.labels import LabelSet
from tmaseg.model.checkpoint import Checkpoint, load_checkpoint
from tmaseg.model.config import InputGeometry, TMANetConfig
from tmaseg.model.tmanet import TMANet


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network prepared for a device and precision, with its label set and input geometry."""

    name: str
    """Name or path of the weights, as the user gave it."""
    engine: Engine
    labels: LabelSet
    geometry: InputGeometry
    """Input size and sliding windows."""

    @property
    def net(self) -> TMANet:
        """The network itself."""
        return self.engine.net

    @property
    def config(self) -> TMANetConfig:
        """Which network it is."""
        return self.net.config

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.engine.device

    @property
    def precision(self) -> Precision:
        """Precision of the network."""
        return precision_of(self.engine.dtype)

    def with_geometry(self, geometry: InputGeometry | None) -> "LoadedNetwork":
        """The same engine, with the size, window and stride that `geometry` sets."""
        return replace(self, geometry=self.geometry.overridden_by(geometry or InputGeometry()))


def load_network(
    weights: str | Path | Checkpoint,
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    geometry: InputGeometry | None = None,
    name: str | None = None,
) -> LoadedNetwork:
    """Shipped weights by name, a checkpoint file, or a checkpoint.

    `geometry` replaces the checkpoint's size, window and stride where it sets them. `name` is for messages; None: the
    weights'. Raises CheckpointError and ConfigError.
    """
    checkpoint = weights if isinstance(weights, Checkpoint) else load_checkpoint(weights)
    target = choose_device(str(device))
    net = prepare(checkpoint.build(), target, choose_precision(precision, target))
    name = name or ("these weights" if isinstance(weights, Checkpoint) else str(weights))
    return LoadedNetwork(name, Engine(net), checkpoint.labels, checkpoint.geometry).with_geometry(geometry)
