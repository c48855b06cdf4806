"""The network, in the order in which a frame passes through it; then checkpoints. Nothing here knows videos or devices.

config      TMANetConfig, and how it is fed and exported: InputGeometry, OnnxSpec
preprocess  pixels -> the network's input
resnet, efficientnet_lite    features of a frame
layers      encoders of keys and values, heads
memory      MemoryRing: those of the last T frames; the attention that reads it
tmanet      TMANet: all of it
checkpoint, upstream    files
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tmaseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from tmaseg.model.config import InputGeometry, TMANetConfig
    from tmaseg.model.memory import MemoryRing
    from tmaseg.model.tmanet import TMANet

__all__ = ["Checkpoint", "InputGeometry", "MemoryRing", "TMANet", "TMANetConfig", "load_checkpoint", "save_checkpoint"]


def __getattr__(name: str) -> object:
    """Imports a name on first use: torch takes seconds, and most of the command line does without it."""
    if name not in __all__:
        raise AttributeError(f"module 'tmaseg.model' has no attribute {name!r}")
    module = {"InputGeometry": "config", "MemoryRing": "memory", "TMANet": "tmanet", "TMANetConfig": "config"}
    return getattr(import_module(f"tmaseg.model.{module.get(name, 'checkpoint')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
