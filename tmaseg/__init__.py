"""Video semantic segmentation with a temporal memory (TMANet): a class for every pixel of every frame."""

from typing import TYPE_CHECKING

from tmaseg.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    LabelError,
    MemoryStateError,
    OutputError,
    ShortageError,
    TmasegError,
    VideoError,
)

if TYPE_CHECKING:
    from tmaseg.inference.segmenter import Segmentation, Segmenter, load
    from tmaseg.labels import LabelSet, get_labels
    from tmaseg.model.geometry import InputGeometry

    __version__: str

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "InputGeometry",
    "LabelError",
    "LabelSet",
    "MemoryStateError",
    "OutputError",
    "Segmentation",
    "Segmenter",
    "ShortageError",
    "TmasegError",
    "VideoError",
    "__version__",
    "get_labels",
    "load",
]

# Imported when first asked for: torch takes seconds, and `tmaseg --help` needs none of it.
_LAZY = {
    "InputGeometry": "tmaseg.model.geometry",
    "LabelSet": "tmaseg.labels",
    "get_labels": "tmaseg.labels",
    "Segmentation": "tmaseg.inference.segmenter",
    "Segmenter": "tmaseg.inference.segmenter",
    "load": "tmaseg.inference.segmenter",
}


def __getattr__(name: str) -> object:
    from importlib import import_module, metadata

    if name == "__version__":
        value: object = metadata.version("tmaseg")
    elif name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    else:
        raise AttributeError(f"module 'tmaseg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
