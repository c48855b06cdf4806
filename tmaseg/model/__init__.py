"""The network, in the order in which a frame passes through it; then checkpoints. Nothing here knows videos or devices.

geometry    InputGeometry: how frames are fed to the network
preprocess  pixels -> the network's input
resnet, efficientnet_lite, backbone    features of a frame
encoders    keys and values
memory      MemoryRing: those of the last T frames
attention   reading the memory
head        logits
tmanet      TMANet: all of it
weights, checkpoint, upstream    files
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tmaseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from tmaseg.model.config import TMANetConfig
    from tmaseg.model.geometry import InputGeometry
    from tmaseg.model.memory import MemoryRing
    from tmaseg.model.tmanet import TMANet

# Imported on first use: torch takes seconds, and most of the command line does without it.
_LAZY = {
    "Checkpoint": "tmaseg.model.checkpoint",
    "InputGeometry": "tmaseg.model.geometry",
    "MemoryRing": "tmaseg.model.memory",
    "TMANet": "tmaseg.model.tmanet",
    "TMANetConfig": "tmaseg.model.config",
    "load_checkpoint": "tmaseg.model.checkpoint",
    "save_checkpoint": "tmaseg.model.checkpoint",
}

__all__ = [
    "Checkpoint",
    "InputGeometry",
    "MemoryRing",
    "TMANet",
    "TMANetConfig",
    "load_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module 'tmaseg.model' has no attribute {name!r}")
    value: object = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
