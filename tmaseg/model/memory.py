"""MemoryRing: the keys and values of the last T frames. It holds no weights.

Notation: B batch, T memory frames, S memory encoders (1, or T with one for each slot), P = h w positions of a frame,
Ck key and Cv value channels.
"""

import torch
from torch import Tensor

from tmaseg.errors import MemoryStateError


class MemoryRing:
    """The last T frames of one video, in buffers allocated once.

    Until T frames have been pushed, missing slots repeat the oldest frame (design of the authors: frame 0 repeated).
    """

    def __init__(self, keys: Tensor, values: Tensor, *, frames: int) -> None:
        """A ring of `frames` T for frames encoded like this one: keys (B, S, P, Ck), values (B, S, P, Cv).

        It is empty: shapes, dtype and device are taken from the two, not their contents. Raises MemoryStateError when
        T is no number of frames, or when there is an encoder for each slot (S > 1) but not T of them.
        """
        slots = keys.shape[1]
        if frames < 1 or slots not in (1, frames):
            raise MemoryStateError(
                f"a ring of {frames} frames for {slots} slots: it needs 1 frame or more, and 1 slot or one a frame"
            )
        self._keys = _repeated(keys, frames)  # (B, T, S, P, Ck)
        self._values = _repeated(values, frames)  # (B, T, S, P, Cv)
        self._pushed = 0

    @property
    def capacity(self) -> int:
        """T."""
        return self._keys.shape[1]

    def __len__(self) -> int:
        """How many different frames are held, at most T."""
        return min(self._pushed, self.capacity)

    def push(self, keys: Tensor, values: Tensor) -> None:
        """Stores one frame, encoded for every slot, over the oldest: keys (B, S, P, Ck), values (B, S, P, Cv).

        Raises MemoryStateError when a shape is not the ring's.
        """
        for name, came, buffer in (("keys", keys, self._keys), ("values", values, self._values)):
            wanted = (buffer.shape[0], *buffer.shape[2:])
            if tuple(came.shape) != wanted:
                raise MemoryStateError(
                    f"{name} of shape {tuple(came.shape)} do not fit this ring of {wanted}: "
                    "make a new ring when the frame size changes"
                )
            if self._pushed == 0:
                buffer.copy_(came[:, None].expand_as(buffer))
            else:
                buffer[:, self._pushed % self.capacity] = came
        self._pushed += 1

    def read(self) -> tuple[Tensor, Tensor]:
        """Keys (B, T P, Ck) and values (B, T P, Cv), as `read_memory` takes them.

        With one encoder for all slots these are views: attention does not care for the order of positions. With an
        encoder for each slot, each frame contributes the encoding of the slot it has grown into, oldest first.
        Raises MemoryStateError while the ring is empty.
        """
        if self._pushed == 0:
            raise MemoryStateError("the memory is empty: push a frame before reading")
        return self._by_age(self._keys).flatten(1, 2), self._by_age(self._values).flatten(1, 2)

    def undo_push(self) -> None:
        """Takes back the last `push`; the same frame must be pushed again before another one is, or `read`."""
        self._pushed -= 1

    def reset(self) -> None:
        """Empties the ring; the buffers stay."""
        self._pushed = 0

    def _by_age(self, buffer: Tensor) -> Tensor:
        if buffer.shape[2] == 1:
            return buffer[:, :, 0]  # (B, T, P, C)
        ages = torch.arange(self.capacity, device=buffer.device)
        return buffer[:, (ages + self._pushed) % self.capacity, ages]  # (B, T, P, C), oldest first


def _repeated(encoded: Tensor, frames: int) -> Tensor:
    return encoded.new_zeros((encoded.shape[0], frames, *encoded.shape[1:]))
