"""Video semantic segmentation with a temporal memory (TMANet): a class for every pixel of every frame.

segment_video    a video in, a video, masks and statistics out: `tmaseg run` as a function
load             a Segmenter: labels of one frame after the other
"""

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
    TrainingError,
    VideoError,
)

if TYPE_CHECKING:
    from tmaseg.inference.frame_segmenter import Segmentation
    from tmaseg.inference.segmenter import Segmenter, load
    from tmaseg.labels import LabelSet, get_labels
    from tmaseg.model.config import InputGeometry
    from tmaseg.pipeline.report import RunReport
    from tmaseg.pipeline.video import segment_video

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
    "RunReport",
    "Segmentation",
    "Segmenter",
    "ShortageError",
    "TmasegError",
    "TrainingError",
    "VideoError",
    "__version__",
    "get_labels",
    "load",
    "segment_video",
]

# Imported on first access: torch takes seconds, and `tmaseg --help` needs none of it.
_LAZY = {
    "InputGeometry": "tmaseg.model.config",
    "LabelSet": "tmaseg.labels",
    "RunReport": "tmaseg.pipeline.report",
    "Segmentation": "tmaseg.inference.frame_segmenter",
    "Segmenter": "tmaseg.inference.segmenter",
    "get_labels": "tmaseg.labels",
    "load": "tmaseg.inference.segmenter",
    "segment_video": "tmaseg.pipeline.video",
}


def __getattr__(name: str) -> object:
    from importlib import import_module, metadata

    if name == "__version__":
        try:
            value: object = metadata.version("tmaseg")
        except metadata.PackageNotFoundError:  # a checkout that is run without being installed
            value = "checkout"
    elif name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    elif name in ("inference", "model", "pipeline"):  # `tmaseg.model.TMANet` without another import
        return import_module(f"tmaseg.{name}")
    else:
        raise AttributeError(f"module 'tmaseg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
