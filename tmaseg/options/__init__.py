"""Options that commands share, each declared once: its name, type, default, and what `--help` says of it.

The fields of these dataclasses are options of the command line, and those of InputOptions, ModelOptions, PaintOptions
and OutputOptions the keyword arguments of `tmaseg.segment_video`. Nothing here imports torch, so that a wrong value is
reported at once.

option   a field that is an option
inputs   how a source is read
network  which network runs, on which devices, and what it is given
outputs  how class ids are painted, and what is written
measure  `tmaseg eval` and `tmaseg bench`
"""

from tmaseg.options.inputs import InputOptions
from tmaseg.options.measure import BenchOptions, EvalOptions
from tmaseg.options.network import BatchOptions, ModelOptions
from tmaseg.options.outputs import FramesOutputOptions, Mode, OutputOptions, PaintOptions, PictureFormat, RunOptions

__all__ = [
    "BatchOptions",
    "BenchOptions",
    "EvalOptions",
    "FramesOutputOptions",
    "InputOptions",
    "Mode",
    "ModelOptions",
    "OutputOptions",
    "PaintOptions",
    "PictureFormat",
    "RunOptions",
]
