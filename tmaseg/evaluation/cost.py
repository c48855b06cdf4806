"""What a frame costs: multiply-adds counted by torch, and the memory that was used."""

from dataclasses import replace

from tmaseg.evaluation.options import EvalOptions
from tmaseg.inference.loading import LoadedNetwork
from tmaseg.inference.sliding_window import window_grid
from tmaseg.model.work import step_work


def frame_gmacs(weights: LoadedNetwork, options: EvalOptions, size_hw: tuple[int, int], memory_frames: int) -> float:
    """Multiply-adds of one streamed frame of `size_hw`, attention included, in thousands of millions.

    Counted with torch's own counter on tensors without contents; scales, mirroring and windows are counted as often as
    they are seen, and a key frame is spread over the frames to the next.
    """
    geometry = weights.with_geometry(options.geometry).geometry
    base = geometry.size or min(size_hw)
    total = 0.0
    for scale in options.scales:
        scaled = replace(geometry, size=round(base * scale))
        once = step_work(weights.net.config, scaled.window_hw(size_hw), memory_frames).total
        total += len(window_grid(scaled.input_hw(size_hw), scaled)) * once
    return total * (2 if options.flip else 1) / options.key_frames
