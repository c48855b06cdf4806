"""Forms: the ways to do a frame. Each is a call on random frames that returns logits.

clip     the query and its T memory frames, everything recomputed: T + 1 backbones
stream   one step with T frames remembered
alone    memory off: a frame that reads itself
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tmaseg.benchmark.timing import Case
from tmaseg.errors import ConfigError
from tmaseg.inference.device import Precision
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.model.checkpoint import View
from tmaseg.model.tmanet import TMANet
from tmaseg.model.work import Work, clip_work, step_work

Form = Literal["clip", "stream", "alone"]
Run = Callable[[], Tensor]


def network_cases(
    net: TMANet, size_hw: tuple[int, int], precisions: Sequence[Precision], *, compiled: bool = False
) -> list[Case]:
    """For each precision: every form, and those that stream once more compiled; on random frames of `size_hw`.

    `net` is on its device and not folded yet; it is copied for each precision. Raises ConfigError where nothing can be
    compiled; when a compiled case runs, too, where compiling fails.
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


def form_works(net: TMANet, size_hw: tuple[int, int]) -> dict[Form, Work]:
    """The forms that this network has, and what each computes; nothing is run."""
    if not net.config.memory_frames:
        return {"alone": step_work(net.config, size_hw, 0)}
    return {
        "clip": clip_work(net.config, size_hw),
        "stream": step_work(net.config, size_hw),
        "alone": step_work(net.config, size_hw, 0),
    }


def form_cases(engine: Engine, size_hw: tuple[int, int], works: dict[Form, Work], suffix: str) -> list[Case]:
    """The forms in `works`, each named with the suffix; without the clip form for a compiled engine."""
    make: dict[Form, Callable[[Engine, tuple[int, int]], Run]] = {"clip": clip, "stream": stream, "alone": alone}
    return [
        Case(f"{form} {suffix}", _really(engine, make[form](engine, size_hw)), engine.device, work)
        for form, work in works.items()
        if not (engine.compiled and form == "clip")
    ]


def clip(engine: Engine, size_hw: tuple[int, int]) -> Run:
    """As `forward` does it, but for the last resize, which a run does not do."""
    net = engine.net
    frames = _frames(engine, size_hw, net.config.memory_frames + 1)

    @torch.inference_mode()
    def run() -> Tensor:
        return net.head_logits(frames[:1], frames[None, 1:])

    return run


def stream(engine: Engine, size_hw: tuple[int, int]) -> Run:
    """As a Segmenter does it."""
    return _windowed(engine, size_hw, engine.net.config.memory_frames)


def alone(engine: Engine, size_hw: tuple[int, int]) -> Run:
    """As a Segmenter with `memory_frames` 0 does it; a network without memory has no other form."""
    return _windowed(engine, size_hw, 0)


def _windowed(engine: Engine, size_hw: tuple[int, int], memory_frames: int) -> Run:
    frame, windows = _frames(engine, size_hw, 1), SlidingWindow(engine, View(), memory_frames)

    @torch.inference_mode()
    def run() -> Tensor:
        return windows.look(frame)

    return run


def _really(engine: Engine, run: Run) -> Run:
    """The run, but for an engine that falls back to passes that are not compiled: that would be another row."""

    def checked() -> Tensor:
        answer = run()
        if engine.failure:
            raise ConfigError(f"--compile on cannot be measured here: {engine.failure}; leave it out")
        return answer

    return checked


def attention_form(run: Callable[[], object]) -> Literal["fused", "explicit"]:
    """Whether attention goes through a fused kernel, or through products of its own; runs it once."""
    with _Seen() as seen:
        run()
    fused = any("scaled_dot_product" in name for name in seen.names)
    return "fused" if fused else "explicit"


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which operations run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def _frames(engine: Engine, size_hw: tuple[int, int], count: int) -> Tensor:
    frames = torch.randn(count, 3, *size_hw, device=engine.device).to(engine.dtype)
    return frames.contiguous(memory_format=torch.channels_last)  # (count, 3, H, W)
