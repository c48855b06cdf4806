"""Data sets as people have them: any known layout, labels converted in memory, frames with those before them."""

from tmaseg.data.check import Check, check_dataset, spread
from tmaseg.data.clip import Clip, ClipFrame
from tmaseg.data.dataset import Dataset, Sample, frame_size, read_frame
from tmaseg.data.layouts import is_described, open_dataset

__all__ = [
    "Check",
    "Clip",
    "ClipFrame",
    "Dataset",
    "Sample",
    "check_dataset",
    "frame_size",
    "is_described",
    "open_dataset",
    "read_frame",
    "spread",
]
