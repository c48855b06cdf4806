"""Evaluation: a data set or a plain video streamed through the network, measured, and written up."""

from tmaseg.evaluation.report import write_report
from tmaseg.evaluation.run import evaluate, evaluate_video
from tmaseg.evaluation.scores import Evaluation, Pass, VideoEvaluation
from tmaseg.evaluation.shard import Shard, open_shard
from tmaseg.options import EvalOptions

__all__ = [
    "EvalOptions",
    "Evaluation",
    "Pass",
    "Shard",
    "VideoEvaluation",
    "evaluate",
    "evaluate_video",
    "open_shard",
    "write_report",
]
