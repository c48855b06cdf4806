"""The memory: MemoryRing, the keys and values of the last T frames, and read_memory, the attention that reads them.

Notation: B batch, T memory frames, S memory encoders (1, or T with one for each slot), P = h w positions of a frame,
M = P query positions, N = T P memory positions, Ck key and Cv value channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from tmaseg.errors import MemoryStateError

_QUERY_ROWS = 256
_MASKED_ROWS = 1024
_FUSED_WIDTH = 256  # the widest head that the fused GPU kernels take
_LEAST_SCORE = -60.0  # below the row's highest: e^-60 is 1e-26


class MemoryRing:
    """The last T frames of one video, in buffers allocated once.

    Until T frames have been pushed, missing slots repeat the first frame, as in the authors' code.
    """

    def __init__(self, keys: Tensor, values: Tensor, *, frames: int) -> None:
        """Begins with one frame, encoded for every slot: keys (B, S, P, Ck), values (B, S, P, Cv). `frames` is T.

        Raises MemoryStateError unless T is 1 or more, and S 1 or T.
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
        """Keys (B, T P, Ck) and values (B, T P, Cv), as `read_memory` takes them."""
        return self._by_age(self._keys).flatten(1, 2), self._by_age(self._values).flatten(1, 2)

    def _by_age(self, buffer: Tensor) -> Tensor:
        if buffer.shape[2] == 1:
            return buffer[:, :, 0]  # (B, T, P, C), a view: attention does not care for the order of frames
        # Each frame contributes the encoding of the slot that it has grown into.
        ages = torch.arange(self._frames, device=buffer.device)
        return buffer[:, (ages + self._pushed) % self._frames, ages]  # (B, T, P, C), oldest first


class Neighbourhood:
    """Which positions of a memory frame lie at most `radius` away, up, down and sideways."""

    def __init__(self, height: int, width: int, radius: int, device: torch.device) -> None:
        self._y = torch.arange(height, device=device).repeat_interleave(width)  # (P,)
        self._x = torch.arange(width, device=device).repeat(height)  # (P,)
        self._radius = radius

    def __call__(self, first: int, count: int, positions: int) -> Tensor:
        """bool (count, N): for query positions from `first` on, of N = T P memory `positions`."""
        y, x = self._y[first : first + count, None], self._x[first : first + count, None]
        near = ((self._y - y).abs() <= self._radius) & ((self._x - x).abs() <= self._radius)  # (count, P)
        return near.repeat(1, positions // near.shape[1])


Attend = Callable[[Tensor, Tensor, Tensor, Neighbourhood | None], Tensor]
"""Query positions (B, M, Ck), keys (B, N, Ck), values (B, N, Cv), which positions count -> what is read, (B, M, Cv)."""


def fused(rows: Tensor, keys: Tensor, values: Tensor, near: Neighbourhood | None) -> Tensor:
    """Through scaled_dot_product_attention, whose fused kernels want keys and values of one width of at most 256.

    For training, since it keeps no matrix for backward, and for processors with kernels for it. An `Attend`.
    """
    parts = torch.split(values, max(_FUSED_WIDTH, keys.shape[-1]), dim=-1)
    if near is None:
        return torch.cat([_fused_part(rows, keys, part, None) for part in parts], dim=-1)
    read = []
    for first in range(0, rows.shape[1], _MASKED_ROWS):
        some = rows[:, first : first + _MASKED_ROWS]
        mask = near(first, some.shape[1], keys.shape[1])
        read.append(torch.cat([_fused_part(some, keys, part, mask) for part in parts], dim=-1))
    return torch.cat(read, dim=1)  # (B, M, Cv)


def chunked(rows: Tensor, keys: Tensor, values: Tensor, near: Neighbourhood | None) -> Tensor:
    """The explicit softmax, a few hundred query positions at a time: for CPUs, without gradients. An `Attend`."""
    columns = keys.float().transpose(1, 2)  # (B, Ck, N)
    read = []
    for first in range(0, rows.shape[1], _QUERY_ROWS):
        some = rows[:, first : first + _QUERY_ROWS]
        scores = torch.matmul(some.float(), columns)  # (B, some, N)
        if near is not None:
            scores = scores.masked_fill_(~near(first, some.shape[1], keys.shape[1]), float("-inf"))
        read.append(torch.matmul(_softmax(scores).to(values.dtype), values))
    return torch.cat(read, dim=1)  # (B, M, Cv)


def read_memory(query: Tensor, keys: Tensor, values: Tensor, *, reach: float = 0.0, attend: Attend = fused) -> Tensor:
    """For each query position, memory's values averaged by how well their keys match; no 1/sqrt(Ck) (equation 1).

    query (B, Ck, h, w); keys (B, N, Ck) and values (B, N, Cv) of all memory positions, in any order; but frame by frame
    and row by row where `reach` above 0 leaves out those further away than this fraction of h.
    Returns (B, Cv, h, w) in the values' dtype. The (M, N) attention matrix is never in memory at once.
    """
    # Scores and softmax are float32 whatever the dtype: unscaled scores reach the tens, where bfloat16 steps by 1/4.
    batch, _, height, width = query.shape
    rows = query.flatten(2).transpose(1, 2)  # (B, M, Ck)
    near = Neighbourhood(height, width, max(1, round(reach * height)), rows.device) if reach else None
    read = attend(rows, keys, values, near)  # (B, M, Cv)
    return read.transpose(1, 2).reshape(batch, -1, height, width)


def _fused_part(rows: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    wider = values.shape[-1] - keys.shape[-1]
    if wider > 0:  # zeros added to both sides leave the products as they are
        rows, keys = functional.pad(rows, (0, wider)), functional.pad(keys, (0, wider))
    elif wider < 0:
        values = functional.pad(values, (0, -wider))
    read = functional.scaled_dot_product_attention(
        rows[:, None], keys[:, None], values[:, None], attn_mask=mask, scale=1.0
    )[:, 0]
    return read[..., : read.shape[-1] + min(wider, 0)]


def _softmax(scores: Tensor) -> Tensor:
    """Softmax of scores (..., N) float32 over N, in place; but no weight is under 1e-26 of the highest."""
    # Unscaled scores spread over hundreds, and e^-90 is a denormal number, with which processors multiply slowly. One
    # weight in twenty was one with the shipped weights: at 480x360 and T = 4 in fp32 attention took 96 ms, so 16 ms.
    return scores.sub_(scores.amax(-1, keepdim=True)).clamp_min_(_LEAST_SCORE).softmax(-1)
