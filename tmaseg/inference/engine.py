"""Engine: a network made ready to stream: what one frame needs, in two passes that can be compiled.

Notation: B batch, S memory encoders, N memory positions, P = h w positions of a frame, C1 stage-1 channels, Ck key and
Cv value channels, K classes.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmaseg.inference.compiler import cause, compiled, free_compiled, is_compilers
from tmaseg.inference.device import Precision, dtype_of
from tmaseg.inference.fold import fold_batch_norm
from tmaseg.model.attention import read_memory
from tmaseg.model.encoders import Encoder, KeyValueEncoder
from tmaseg.model.memory import MemoryRing
from tmaseg.model.tmanet import TMANet

R = TypeVar("R")


class Look(NamedTuple):
    """Everything that depends on a frame alone."""

    stage1: Tensor  # (B, C1, H/4, W/4)
    key: Tensor | None  # (B, Ck, h, w) to ask memory with; None for a network without memory
    value: Tensor  # (B, Cv, h, w); stage 4 for a network without memory
    keys: Tensor | None  # (B, S, P, Ck) to be remembered by, for every slot
    values: Tensor | None  # (B, S, P, Cv)


def prepare(net: TMANet, device: torch.device, precision: Precision) -> TMANet:
    """The network made ready to stream, in place: batch norm folded, on its device, channels last, in its precision."""
    fold_batch_norm(net.eval())
    return net.to(device=device, dtype=dtype_of(precision), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Engine:
    """The two passes over a frame: `look` at it, and `answer` with what memory holds. It keeps no video state."""

    def __init__(self, net: TMANet) -> None:
        """`net` as `prepare` leaves it."""
        self.net = net
        self.compiled = False
        """Whether the passes are compiled."""
        self.failure = ""
        """Why compiling failed, in a line."""
        weight = next(net.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self._joined = _JoinedEncoders(net) if net.config.memory_frames else None
        self._look, self._answer = self._plain_look, self._plain_answer

    def look(self, x: Tensor) -> Look:
        """x (B, 3, H, W), normalised, in the network's precision."""
        if self.compiled and self.device.type == "cuda":
            # What the last frame's graphs gave may be overwritten.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return self._carefully(self._look, self._plain_look, x)

    def answer(self, look: Look, keys: Tensor | None, values: Tensor | None) -> Tensor:
        """What was seen, with keys (B, N, Ck) and values (B, N, Cv) of memory -> logits (B, K, h', w') of the head."""
        return self._carefully(self._answer, self._plain_answer, look, keys, values)

    def compile(self) -> None:
        """Compiles both passes with the weights frozen into them; the first frame of each size pays for it.

        It holds for frames in inference mode or without gradients; what is loaded into the network later is not seen.
        Raises ConfigError when this machine has no compiler. Should it fail on the way, the passes stay as they are and
        `failure` says why.
        """
        if not self.compiled and not self.failure:  # what failed once would fail again, at the same cost
            self._look = compiled(self._plain_look, self.device)
            self._answer = compiled(self._plain_answer, self.device)
            self.compiled = True

    def interpret(self, *, free: bool = False) -> None:
        """Goes back to the passes as they are. `free`: also frees what has been compiled, of all engines."""
        self._look, self._answer = self._plain_look, self._plain_answer
        self.compiled = False
        if free:
            free_compiled()

    def _carefully(self, fast: Callable[..., R], plain: Callable[..., R], *arguments: object) -> R:
        try:
            return fast(*arguments)
        except Exception as error:
            if not self.compiled or not is_compilers(error):
                raise
            self.failure = f"torch.compile failed ({cause(error)})"
            self.interpret()
            return plain(*arguments)

    def _plain_look(self, x: Tensor) -> Look:
        features = self.net.features(x)
        if self._joined is None:
            return Look(features.stage1, None, features.stage4, None, None)
        return Look(features.stage1, *self._joined(features.stage4))

    def _plain_answer(self, look: Look, keys: Tensor | None, values: Tensor | None) -> Tensor:
        read = None
        if look.key is not None:
            assert keys is not None
            assert values is not None
            read = read_memory(look.key, keys, values, reach=self.net.config.reach)
        logits: Tensor = self.net.head(look.value, read, look.stage1)
        return logits


def full_step(engine: Engine, x: Tensor, frames: int) -> Tensor:
    """A frame (B, 3, H, W) that reads a whole ring of `frames` T (0: only itself) -> logits: what every step costs."""
    look = engine.look(x)
    if look.keys is None or look.values is None:
        return engine.answer(look, None, None)
    ring = MemoryRing(look.keys, look.values, frames=frames or engine.net.config.slots)
    ring.push(look.keys, look.values)
    return engine.answer(look, *ring.read())


class _JoinedEncoders:
    """The query encoder and the memory encoders of all slots, whose first convolutions read the same features, as one.

    One wide product over stage 4 instead of 2 + 2 S narrow ones, exactly the same numbers. Measured at 480x360 in fp32
    on two AVX-512 cores, CPU time of all encoders: ResNet-50 with four slots 470 -> 403 ms, ResNet-18 with one 201 to
    161.
    """

    def __init__(self, net: TMANet) -> None:
        slots = [slot for slot in net.memory_encoder.slots if isinstance(slot, KeyValueEncoder)]
        branches = [branch for encoder in (net.query_encoder, *slots) for branch in (encoder.key, encoder.value)]
        firsts = [_first_convolution(branch) for branch in branches]
        self._branches = branches
        self._joins = all(first.groups == 1 for first in firsts)  # depthwise ones have nothing in common
        self._padding = firsts[0].padding
        self._widths = [first.out_channels for first in firsts]
        weight = torch.cat([first.weight.detach() for first in firsts])
        # Parameters, because these are frozen when compiled; other tensors would be inputs.
        self._weight = _constant(weight.contiguous(memory_format=torch.channels_last))
        biases = [first.bias.detach() for first in firsts if first.bias is not None]  # none before norms are folded
        self._bias = _constant(torch.cat(biases)) if biases else None
        self._rests = [_after_first_convolution(branch).eval() for branch in branches]

    def __call__(self, stage4: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """stage4 (B, C, h, w) -> key, value, keys, values as in `Look`."""
        if self._joins:
            wide = functional.conv2d(stage4, self._weight, self._bias, padding=self._padding)
            parts = [rest(part) for rest, part in zip(self._rests, torch.split(wide, self._widths, dim=1), strict=True)]
        else:
            parts = [branch(stage4) for branch in self._branches]
        keys = torch.stack([part.flatten(2).transpose(1, 2) for part in parts[2::2]], dim=1)  # (B, S, P, Ck)
        values = torch.stack([part.flatten(2).transpose(1, 2) for part in parts[3::2]], dim=1)  # (B, S, P, Cv)
        return parts[0], parts[1], keys, values


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def _first_convolution(branch: Encoder) -> nn.Conv2d:
    conv = next(branch[0].children())
    assert isinstance(conv, nn.Conv2d)
    return conv


def _after_first_convolution(branch: Encoder) -> nn.Sequential:
    first, *later = branch.children()
    return nn.Sequential(*list(first.children())[1:], *later)
