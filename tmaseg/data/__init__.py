"""Data sets as people have them: any known layout, labels converted in memory, frames with those before them."""

from tmaseg.data.check import Check, SplitCheck, check_dataset, spread
from tmaseg.data.clip import Clip, ClipFrame
from tmaseg.data.dataset import Dataset, Sample, frame_size, read_frame
from tmaseg.data.find import DATASETS, data_root, is_described, open_dataset, variable
from tmaseg.data.masks import MaskReader

__all__ = [
    "DATASETS",
    "Check",
    "Clip",
    "ClipFrame",
    "Dataset",
    "MaskReader",
    "Sample",
    "SplitCheck",
    "check_dataset",
    "data_root",
    "frame_size",
    "is_described",
    "open_dataset",
    "read_frame",
    "spread",
    "variable",
]
