"""Evaluation: a data set or a plain video streamed through the network, measured, and written up."""

from tmaseg.evaluation.report import write_report
from tmaseg.evaluation.result import DatasetPass, Evaluation, Pass, VideoEvaluation, VideoPass
from tmaseg.evaluation.run import evaluate
from tmaseg.evaluation.shard import Shard, open_shard
from tmaseg.evaluation.video import evaluate_video
from tmaseg.options import EvalOptions

__all__ = [
    "DatasetPass",
    "EvalOptions",
    "Evaluation",
    "Pass",
    "Shard",
    "VideoEvaluation",
    "VideoPass",
    "evaluate",
    "evaluate_video",
    "open_shard",
    "write_report",
]
