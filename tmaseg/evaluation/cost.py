"""What a frame costs: multiply-adds counted by torch, and the memory that was used."""

from tmaseg.evaluation.options import EvalOptions
from tmaseg.evaluation.predict import Weights
from tmaseg.inference.sliding_window import window_grid
from tmaseg.model.preprocess import network_size
from tmaseg.model.work import step_work


def frame_gmacs(weights: Weights, options: EvalOptions, size_hw: tuple[int, int], memory_frames: int) -> float:
    """Multiply-adds of one streamed frame of `size_hw`, attention included, in thousands of millions.

    Counted with torch's own counter on tensors without contents; scales, mirroring and windows are counted as often as
    they are seen, and a key frame is spread over the frames to the next.
    """
    view = weights.with_view(options.view).view
    base = view.size or min(size_hw)
    total = 0.0
    for scale in options.scales:
        input_hw = network_size(size_hw, round(base * scale))
        once = step_work(weights.net.config, view.window_hw(input_hw), memory_frames).total
        total += len(window_grid(input_hw, view)) * once
    return total * (2 if options.flip else 1) / options.key_frames
