"""Accuracy and temporal consistency of label maps. Each metric has `update` and `merge`."""

from tmaseg.metrics.iou import Accuracy, BoundaryIoU, ConfusionMatrix
from tmaseg.metrics.temporal import FlowConsistency, VideoConsistency

__all__ = ["Accuracy", "BoundaryIoU", "ConfusionMatrix", "FlowConsistency", "VideoConsistency"]
