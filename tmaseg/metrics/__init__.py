"""Accuracy and temporal consistency of label maps. Each metric has `update`, `merge` and `compute`."""

from tmaseg.metrics.iou import Accuracy, BoundaryIoU, ConfusionMatrix
from tmaseg.metrics.temporal import Flicker, TemporalConsistency, VideoConsistency

__all__ = [
    "Accuracy",
    "BoundaryIoU",
    "ConfusionMatrix",
    "Flicker",
    "TemporalConsistency",
    "VideoConsistency",
]
