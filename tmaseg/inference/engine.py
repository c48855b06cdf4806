"""Engine: a network as inference runs it: its three methods, its encoders joined, compiled on request.

Notation: B batch, S memory encoders, N memory positions, P = h w positions of a frame, Ck key and Cv value channels,
K classes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tmaseg.inference.compiler import cause, compiled, free_compiled, is_compilers
from tmaseg.inference.device import Precision, attention_for, begin_graphs, dtype_of
from tmaseg.inference.fold import fold_batch_norm
from tmaseg.model.tmanet import EncodedFrame, TMANet


def prepare(net: TMANet, device: torch.device, precision: Precision) -> TMANet:
    """The network made ready to stream, in place: batch norm folded, on its device, channels last, in its precision."""
    fold_batch_norm(net.eval())
    dtype = dtype_of(precision)
    net.attend = attention_for(device, dtype)
    return net.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Engine:
    """`TMANet.encode_frame`, `encode_memory` and `decode`, made fast. It keeps no video state."""

    def __init__(self, net: TMANet) -> None:
        """`net` as `prepare` leaves it."""
        self.net = net
        self.compiled = False
        """Whether the three methods are compiled."""
        self.failure = ""
        """Why compiling failed, in a line."""
        weight = next(net.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        fast = net.for_inference()
        self._plain: dict[str, Callable[..., Any]] = {
            "encode_frame": fast.encode_frame,
            "encode_memory": fast.encode_memory,
            "decode": fast.decode,
        }
        self._methods = self._plain

    def encode_frame(self, frames: Tensor) -> EncodedFrame:
        """frames (B, 3, H, W), normalised, in the network's precision."""
        if self.compiled:
            begin_graphs(self.device)
        encoded: EncodedFrame = self._call("encode_frame", frames)
        return encoded

    def encode_memory(self, stage4: Tensor) -> tuple[Tensor, Tensor]:
        """stage4 as `encode_frame` gave it -> keys (B, S, P, Ck), values (B, S, P, Cv) for every slot."""
        encoded: tuple[Tensor, Tensor] = self._call("encode_memory", stage4)
        return encoded

    def decode(self, frame: EncodedFrame, keys: Tensor | None, values: Tensor | None) -> Tensor:
        """A frame, and keys (B, N, Ck) and values (B, N, Cv) of memory -> logits (B, K, h', w') of the head."""
        logits: Tensor = self._call("decode", frame, keys, values)
        return logits

    def compile(self) -> None:
        """Compiles the methods with the weights frozen into them; the first frame of each size pays for it.

        It holds for frames in inference mode or without gradients; what is loaded into the network later has no
        effect. Raises ConfigError when this machine has no compiler. Should it fail on the way, the methods stay as
        they are and `failure` says why.
        """
        if not self.compiled and not self.failure:  # what failed once would fail again, at the same cost
            self._methods = {name: compiled(method, self.device) for name, method in self._plain.items()}
            self.compiled = True

    def interpret(self, *, free: bool = False) -> None:
        """Goes back to the plain methods. `free`: also frees what has been compiled, of all engines."""
        self._methods = self._plain
        self.compiled = False
        if free:
            free_compiled()

    def _call(self, name: str, *arguments: object) -> Any:
        try:
            return self._methods[name](*arguments)
        except Exception as error:
            if not self.compiled or not is_compilers(error):
                raise
            self.failure = f"torch.compile failed ({cause(error)})"
        self.interpret()
        return self._plain[name](*arguments)
