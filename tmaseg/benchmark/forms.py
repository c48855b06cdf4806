"""The network's forms. Each is a call on random frames that returns logits.

clip     the query and its T memory frames, everything recomputed: T + 1 backbones
stream   one step with T frames in memory
alone    memory off: a frame that reads itself
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from tmaseg.benchmark.rows import Case
from tmaseg.errors import ConfigError
from tmaseg.inference.device import Precision
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.model.config import InputGeometry
from tmaseg.model.macs import Macs, clip_macs, step_macs
from tmaseg.model.tmanet import TMANet

Form = Literal["clip", "stream", "alone"]


def network_cases(
    net: TMANet, size_hw: tuple[int, int], precisions: Sequence[Precision], *, compiled: bool = False
) -> list[Case]:
    """For each precision every form, and the streaming ones once more compiled; on random frames of `size_hw`.

    `net` is on its device and not folded yet; it is copied for each precision. Raises ConfigError where nothing can be
    compiled; a compiled case raises it when it runs and compiling fails.
    """
    works = form_works(net, size_hw)
    cases = []
    for precision in precisions:
        copy = TMANet(net.config)
        copy.load_state_dict(net.state_dict())
        engine = Engine(prepare(copy, next(net.parameters()).device, precision))
        cases += form_cases(engine, size_hw, works, precision)
        if compiled:
            faster = Engine(engine.net)
            faster.compile()
            cases += form_cases(faster, size_hw, works, f"{precision} compiled")
    return cases


def form_works(net: TMANet, size_hw: tuple[int, int]) -> dict[Form, Macs]:
    """The forms that this network has, and the multiply-adds of each; nothing is run."""
    if not net.config.memory_frames:
        return {"alone": step_macs(net.config, size_hw, 0)}
    return {
        "clip": clip_macs(net.config, size_hw),
        "stream": step_macs(net.config, size_hw),
        "alone": step_macs(net.config, size_hw, 0),
    }


def form_cases(engine: Engine, size_hw: tuple[int, int], works: dict[Form, Macs], suffix: str) -> list[Case]:
    """The forms in `works`, each named with the suffix; without the clip form for a compiled engine."""
    return [
        Case(f"{form} {suffix}".strip(), form_call(engine, size_hw, form), engine.device, work)
        for form, work in works.items()
        if not (engine.compiled and form == "clip")
    ]


def form_call(engine: Engine, size_hw: tuple[int, int], form: Form) -> Callable[[], Tensor]:
    """One call is one frame, (1, 3, H, W) -> logits at the head's resolution: a run does not resize them either."""
    net = engine.net
    frames = torch.randn(net.config.memory_frames + 1, 3, *size_hw, device=engine.device).to(engine.dtype)
    frames = frames.contiguous(memory_format=torch.channels_last)  # (T + 1, 3, H, W)
    windows = SlidingWindow(engine, InputGeometry(), net.config.memory_frames if form == "stream" else 0)

    @torch.inference_mode()
    def run() -> Tensor:
        logits = net.head_logits(frames[:1], frames[None, 1:]) if form == "clip" else windows.step(frames[:1])
        if engine.failure:  # it fell back to passes that are not compiled: that is another row
            raise ConfigError(f"--compile on cannot be measured here: {engine.failure}; leave it out")
        return logits

    return run
