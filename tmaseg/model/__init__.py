"""The network, in the order in which a frame passes through it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tmaseg.model.config import TMANetConfig
    from tmaseg.model.tmanet import TMANet

__all__ = ["TMANet", "TMANetConfig"]

_LAZY = {"TMANet": "tmaseg.model.tmanet", "TMANetConfig": "tmaseg.model.config"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module 'tmaseg.model' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
