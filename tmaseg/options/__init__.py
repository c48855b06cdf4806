"""Options of the commands, each declared once: its name, type, default, and what `--help` says of it.

The fields of these dataclasses are the options of the command line, and those of InputOptions, ModelOptions,
PaintOptions and OutputOptions the keyword arguments of `tmaseg.segment_video`. Nothing here imports torch, so that a
wrong value is reported at once.

inputs    how a source is read
network   which network runs, where, and what it is given
outputs   how class ids are painted, and what is written
batch     how several sources are found and shared out
measure   `tmaseg eval` and `tmaseg bench`
training  `tmaseg train`
export    `tmaseg export`
"""

from tmaseg.options.batch import BatchOptions
from tmaseg.options.export import ExportOptions
from tmaseg.options.inputs import InputOptions
from tmaseg.options.measure import BenchOptions, EvalInput, EvalOptions
from tmaseg.options.network import ModelOptions
from tmaseg.options.outputs import (
    FramesOutputOptions,
    Mode,
    OutputOptions,
    Overwrite,
    PaintOptions,
    PictureFormat,
    RunOptions,
    SkipExisting,
)
from tmaseg.options.training import RecipeSettings, TrainingRun

__all__ = [
    "BatchOptions",
    "BenchOptions",
    "EvalInput",
    "EvalOptions",
    "ExportOptions",
    "FramesOutputOptions",
    "InputOptions",
    "Mode",
    "ModelOptions",
    "OutputOptions",
    "Overwrite",
    "PaintOptions",
    "PictureFormat",
    "RecipeSettings",
    "RunOptions",
    "SkipExisting",
    "TrainingRun",
]
