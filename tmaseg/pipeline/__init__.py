"""From a source through the network to outputs, all at once."""

from tmaseg.pipeline.frames import run_frames
from tmaseg.pipeline.options import FramesOptions, ModelOptions, PaintOptions, PictureFormat, RunOptions, Targets
from tmaseg.pipeline.report import FramesReport, Report, RunReport
from tmaseg.pipeline.stages import Outcome, Output, Stepper, segment
from tmaseg.pipeline.video import run_video

__all__ = [
    "FramesOptions",
    "FramesReport",
    "ModelOptions",
    "Outcome",
    "Output",
    "PaintOptions",
    "PictureFormat",
    "Report",
    "RunOptions",
    "RunReport",
    "Stepper",
    "Targets",
    "run_frames",
    "run_video",
    "segment",
]
