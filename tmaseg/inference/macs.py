"""Macs: multiply-adds of one frame, counted by torch on tensors without contents."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from tmaseg.inference.engine import Engine
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.model.config import InputGeometry, TMANetConfig
from tmaseg.model.memory import chunked
from tmaseg.model.tmanet import TMANet, empty_network

_ATTENTION = ("aten.bmm", "aten._scaled_dot_product")


@dataclass(frozen=True)
class Macs:
    """Multiply-adds of one frame, in thousands of millions."""

    convolutions: float  # what the paper counts: its 754 is the clip form at 769x769 with T = 2
    attention: float  # the two products of equation 1, which the paper leaves out

    @property
    def total(self) -> float:
        """Convolutions and attention."""
        return self.convolutions + self.attention


def clip_macs(config: TMANetConfig, size_hw: tuple[int, int]) -> Macs:
    """A frame in the clip form: the backbone runs for the query and for each of its T memory frames."""
    with torch.device("meta"), torch.inference_mode():
        net = _network(config)
        frames = torch.zeros(config.memory_frames + 1, 3, *size_hw)
        return _count(lambda: net.head_logits(frames[:1], frames[None, 1:] if config.memory_frames else None))


def step_macs(config: TMANetConfig, size_hw: tuple[int, int], memory_frames: int | None = None) -> Macs:
    """A frame of a stream that reads `memory_frames` (None: T as configured; 0: each frame reads itself)."""
    with torch.device("meta"), torch.inference_mode():
        frames = config.memory_frames if memory_frames is None else memory_frames
        window = SlidingWindow(Engine(_network(config)), InputGeometry(), frames)
        return _count(lambda: window.step(torch.zeros(1, 3, *size_hw)))


def _network(config: TMANetConfig) -> TMANet:
    net = empty_network(config).eval()
    net.attend = chunked  # the fused form pads keys, which is no work of the network's
    return net


def _count(run: Callable[[], object]) -> Macs:
    with FlopCounterMode(display=False) as counter:
        run()
    gmacs = {str(name): flops / 2e9 for name, flops in counter.get_flop_counts()["Global"].items()}
    attention = sum(value for name, value in gmacs.items() if name.startswith(_ATTENTION))
    return Macs(sum(gmacs.values()) - attention, attention)
