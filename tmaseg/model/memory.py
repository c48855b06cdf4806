"""MemoryRing: the keys and values of the last T frames. It holds no weights.

Notation: B batch, T memory frames, S memory encoders (1, or T with one for each slot), P = h w positions of a frame,
Ck key and Cv value channels.
"""

import torch
from torch import Tensor

from tmaseg.errors import MemoryStateError


class MemoryRing:
    """The last T frames of one video, in buffers allocated once.

    Until T frames have been pushed, missing slots repeat the first frame, as in the authors' code.
    """

    def __init__(self, keys: Tensor, values: Tensor, *, frames: int) -> None:
        """Begins with one frame, encoded for every slot: keys (B, S, P, Ck), values (B, S, P, Cv). `frames` is T.

        Raises MemoryStateError when T is no number of frames, or when there is an encoder for each slot (S > 1) but not
        T of them.
        """
        slots = keys.shape[1]
        if frames < 1 or slots not in (1, frames):
            raise MemoryStateError(
                f"a ring of {frames} frames for {slots} slots: it needs 1 frame or more, and 1 slot or one a frame"
            )
        self._frames = frames
        self._keys = keys[:, None].repeat(1, frames, 1, 1, 1)  # (B, T, S, P, Ck)
        self._values = values[:, None].repeat(1, frames, 1, 1, 1)  # (B, T, S, P, Cv)
        self._pushed = 1

    def push(self, keys: Tensor, values: Tensor) -> None:
        """Stores the next frame over the oldest; shapes as of the first one. Raises MemoryStateError for others."""
        for name, came, buffer in (("keys", keys, self._keys), ("values", values, self._values)):
            wanted = (buffer.shape[0], *buffer.shape[2:])
            if tuple(came.shape) != wanted:
                raise MemoryStateError(
                    f"{name} of shape {tuple(came.shape)} do not fit this ring of {wanted}: "
                    "make a new ring when the frame size changes"
                )
            buffer[:, self._pushed % self._frames] = came
        self._pushed += 1

    def read(self) -> tuple[Tensor, Tensor]:
        """Keys (B, T P, Ck) and values (B, T P, Cv), as `read_memory` takes them.

        With one encoder for all slots these are views: attention does not care for the order of frames. With an encoder
        for each slot, each frame contributes the encoding of the slot it has grown into, oldest first.
        """
        return self._by_age(self._keys).flatten(1, 2), self._by_age(self._values).flatten(1, 2)

    def _by_age(self, buffer: Tensor) -> Tensor:
        if buffer.shape[2] == 1:
            return buffer[:, :, 0]  # (B, T, P, C)
        ages = torch.arange(self._frames, device=buffer.device)
        return buffer[:, (ages + self._pushed) % self._frames, ages]  # (B, T, P, C), oldest first
