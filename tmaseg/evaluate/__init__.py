"""Evaluation: a data set or a plain video streamed through the network, measured, and written up."""

from tmaseg.evaluate.evaluation import Evaluation, Pass
from tmaseg.evaluate.options import EvalOptions
from tmaseg.evaluate.predict import Weights
from tmaseg.evaluate.report import write_report
from tmaseg.evaluate.run import evaluate
from tmaseg.evaluate.saving import check_submission
from tmaseg.evaluate.share import Share, shared_out
from tmaseg.evaluate.video import VideoEvaluation, evaluate_video

__all__ = [
    "EvalOptions",
    "Evaluation",
    "Pass",
    "Share",
    "VideoEvaluation",
    "Weights",
    "check_submission",
    "evaluate",
    "evaluate_video",
    "shared_out",
    "write_report",
]
