"""The memory: MemoryRing, the keys and values of the last T frames, and read_memory, the attention that reads them.

Notation: B batch, T memory frames, S memory encoders (1, or T with one for each slot), P = h w positions of a frame,
M = P query positions, N = T P memory positions, Ck key and Cv value channels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tmaseg.errors import MemoryStateError

_QUERY_ROWS = 256
_LEAST_TILE = 8  # positions along a side
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


Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Query positions (B, M, Ck), keys (B, N, Ck), values (B, N, Cv), which are near, bool (M, N) or None for all, to what
is read, (B, M, Cv)."""


def fused(rows: Tensor, keys: Tensor, values: Tensor, near: Tensor | None) -> Tensor:
    """Through scaled_dot_product_attention, whose fused kernels want keys and values of one width of at most 256.

    For training, since it keeps no matrix for backward, and for processors with kernels for it. An `Attend`.
    """
    parts = torch.split(values, max(_FUSED_WIDTH, keys.shape[-1]), dim=-1)
    return torch.cat([_fused_part(rows, keys, part, near) for part in parts], dim=-1)  # (B, M, Cv)


def chunked(rows: Tensor, keys: Tensor, values: Tensor, near: Tensor | None) -> Tensor:
    """The explicit softmax, a few hundred query positions at a time: for CPUs, without gradients. An `Attend`."""
    columns = keys.float().transpose(1, 2)  # (B, Ck, N)
    read = []
    for first in range(0, rows.shape[1], _QUERY_ROWS):
        some = slice(first, first + _QUERY_ROWS)
        scores = torch.matmul(rows[:, some].float(), columns)  # (B, some, N)
        if near is not None:
            scores = scores.masked_fill_(~near[some], float("-inf"))
        read.append(torch.matmul(_softmax(scores).to(values.dtype), values))
    return torch.cat(read, dim=1)  # (B, M, Cv)


def read_memory(query: Tensor, keys: Tensor, values: Tensor, *, reach: float = 0.0, attend: Attend = fused) -> Tensor:
    """For each query position, memory's values averaged by how well their keys match; no 1/sqrt(Ck) (equation 1).

    query (B, Ck, h, w); keys (B, N, Ck) and values (B, N, Cv) of all memory positions, in any order; but frame by frame
    and row by row where `reach` above 0 leaves out those further away than this fraction of h, up, down and sideways.
    Returns (B, Cv, h, w) in the values' dtype. The (M, N) attention matrix is never in memory at once.
    """
    # Scores and softmax are float32 whatever the dtype: unscaled scores reach the tens, where bfloat16 steps by 1/4.
    batch, _, height, width = query.shape
    if not reach:
        read = attend(query.flatten(2).transpose(1, 2), keys, values, None)  # (B, M, Cv)
        return read.transpose(1, 2).reshape(batch, -1, height, width)
    keys, values = (each.reshape(batch, -1, height, width, each.shape[-1]) for each in (keys, values))
    return _Surroundings(max(1, round(reach * height)), query, keys, values).read(attend)


@dataclass(frozen=True, eq=False)
class _Surroundings:
    """Memory as it is read within a radius: by tiles of the query, each from the part of every frame around it."""

    radius: int  # positions
    query: Tensor  # (B, Ck, h, w)
    keys: Tensor  # (B, T, h, w, Ck)
    values: Tensor  # (B, T, h, w, Cv)

    def read(self, attend: Attend) -> Tensor:
        """(B, Cv, h, w)."""
        # Measured at 640x360, T = 4 and a reach of 0.35 on a Zen 4 core in bf16: 16 ms, where masking all of the matrix
        # takes 38; at 1280x720 230 and 790. Tiles of half or twice the radius, either way, are no faster on the whole.
        down, across = (self._spans(side) for side in self.query.shape[2:])
        return torch.cat([torch.cat([self._tile(y, x, attend) for x in across], 3) for y in down], 2)

    def _spans(self, side: int) -> list[tuple[range, range]]:
        """Positions of the query along a side, in parts, and for each part the positions of memory around it."""
        radius, length = self.radius, max(self.radius, _LEAST_TILE)
        own = [range(start, min(start + length, side)) for start in range(0, side, length)]
        return [(part, range(max(0, part.start - radius), min(part.stop + radius, side))) for part in own]

    def _tile(self, y: tuple[range, range], x: tuple[range, range], attend: Attend) -> Tensor:
        """(B, Cv, tile)."""
        rows, key_rows = (slice(part.start, part.stop) for part in y)
        columns, key_columns = (slice(part.start, part.stop) for part in x)
        near = self._near(*y)[:, None, :, None] & self._near(*x)[None, :, None, :]  # of a frame
        near = near.reshape(len(y[0]) * len(x[0]), -1).repeat(1, self.keys.shape[1])  # (m, T n)
        read = attend(
            self.query[:, :, rows, columns].flatten(2).transpose(1, 2),  # (B, m, Ck)
            self.keys[:, :, key_rows, key_columns].flatten(1, 3),  # (B, T n, Ck)
            self.values[:, :, key_rows, key_columns].flatten(1, 3),
            near,
        )
        return read.transpose(1, 2).reshape(len(read), -1, len(y[0]), len(x[0]))

    def _near(self, own: range, around: range) -> Tensor:
        """bool (own, around): which positions along a side lie within the radius."""
        ours, theirs = (torch.arange(each.start, each.stop, device=self.query.device) for each in (own, around))
        return (ours[:, None] - theirs).abs() <= self.radius


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
