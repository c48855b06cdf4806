"""StreamingStep: one frame through a network, from its pixels to its labels, as one function of tensors for export.

Notation: T frames in the ring, S memory encoders, P = h w positions of a frame, Ck key and Cv value channels,
K classes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from tmaseg.model.config import InputGeometry, OnnxSpec
from tmaseg.model.preprocess import Preprocess
from tmaseg.model.resnet import Features
from tmaseg.model.tmanet import TMANet

_BLOCK_ROWS = 256  # of the attention matrix at a time; for frames of any size it is complete in memory
_LEAST_SCORE = -60.0  # as `tmaseg.model.memory.chunked` has it
_FAR = -1e9


class StreamingStep(nn.Module):
    """What `Segmenter.step` does with a frame, as a function of the state; where the state begins is the caller's.

    The ring is shifted by one frame a step, oldest first, so that a frame's slot is its age.
    """

    def __init__(self, net: TMANet, spec: OnnxSpec) -> None:
        """`net` in evaluation mode, batch norm folded."""
        super().__init__()
        self.net = net.for_inference()
        config = net.config
        self.ring_frames = spec.memory_frames + config.self_in_memory if spec.memory_frames else 0
        """Frames in the ring; 0: a step has no state."""
        self._size = spec.size
        self._input_hw = InputGeometry(spec.size).input_hw(spec.frame_hw) if spec.frame_hw else None
        self._with_logits = spec.logits
        self._normalisation = Preprocess(config)
        self._dtype = self.net.head.classifier.weight.dtype

    def positions(self, frame: Tensor) -> int:
        """P for frames like this one, (1, H, W, 3)."""
        stage4 = self.net.encode_frame(self._preprocess(frame)).stage4
        return stage4.shape[-2] * stage4.shape[-1]

    def state(self, positions: int) -> tuple[Tensor, ...]:
        """An empty ring for frames of so many positions, as `forward` takes it; () without a ring."""
        if not self.ring_frames:
            return ()
        config = self.net.config
        channels = (config.key_channels, config.value_channels)
        ring = [torch.zeros(self.ring_frames, config.slots, positions, each, dtype=self._dtype) for each in channels]
        return (*ring, torch.tensor(0))

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """frame (1, H, W, 3) uint8 -> labels (1, H, W) uint8, and on request logits (1, K, H, W) float32.

        `state`, in and out, where there is a ring: keys (T, S, P, Ck), values (T, S, P, Cv) and count (), int64, the
        frames so far; with a count of 0 keys and values are not read, and P may be 1.
        """
        encoded = self.net.encode_frame(self._preprocess(frame))
        if self.net.config.memory_frames:
            new = [each[0] for each in self.net.encode_memory(encoded.stage4)]  # (S, P, Ck), (S, P, Cv)
            read, state = self._push(new, state)
            out = self._decode(encoded, *read)
        else:
            out = self.net.decode(encoded, None, None)
        logits = self.net.resize(out.float(), (frame.shape[1], frame.shape[2]))
        labels = logits.argmax(1).to(torch.uint8)
        return (labels, *([logits] if self._with_logits else []), *state)

    def _preprocess(self, frame: Tensor) -> Tensor:
        """The same levels as `Preprocess` has on a CPU, by matrix products: few runtimes resize with a filter."""
        height, width = frame.shape[1], frame.shape[2]
        x = frame.permute(0, 3, 1, 2).float()
        to_height, to_width = self._input_hw or (height, width)
        if self._size and not self._input_hw:
            short = cast("int", torch.sym_min(height, width))  # sides are symbols
            to_height, to_width = ((2 * side * self._size + short) // (2 * short) for side in (height, width))
        if self._size and self._input_hw != (height, width):
            x = torch.floor(x @ _resize_weights(width, to_width).T + 0.5)
            x = torch.floor(_resize_weights(height, to_height) @ x + 0.5)
        return ((x - self._normalisation.mean) / self._normalisation.std).to(self._dtype)

    def _push(self, new: list[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """A frame's keys and values into the ring -> what the frame reads, and the state after it."""
        if not state:
            return [each.flatten(0, 1)[None] for each in new], ()  # it reads itself, by every slot
        *ring, count = state
        first = count == 0
        new = [each[None].expand(self.ring_frames, -1, -1, -1) for each in new]  # as the ring, whatever P that has
        order = [*range(1, self.ring_frames), 0]
        last = torch.tensor([0] * (self.ring_frames - 1) + [1], dtype=torch.bool)[:, None, None, None]
        after = [torch.where(last | first, each, old[order]) for each, old in zip(new, ring, strict=True)]
        if self.net.config.self_in_memory:
            read = after
        else:
            read = [torch.where(first, each, old) for each, old in zip(new, ring, strict=True)]
        return [_by_slot(each) for each in read], (*after, count + 1)

    def _decode(self, encoded: Features, keys: Tensor, values: Tensor) -> Tensor:
        """As `TMANet.decode` with `chunked` attention, but for frames of any size: no number depends on it."""
        key, value = self.net.query_encoder(encoded.stage4)
        height, width = key.shape[-2:]
        positions = height * width
        rows = key.flatten(2).transpose(1, 2).float()  # (1, P, Ck)
        columns = keys.float().transpose(1, 2)  # (1, Ck, N)
        blocks = -(-positions // _BLOCK_ROWS) if self._input_hw else 1
        bounds = [positions * block // blocks for block in range(blocks + 1)]
        near = _Near(height, width, self.net.config.reach) if self.net.config.reach else None
        read = []
        for first, end in pairwise(bounds):
            scores = rows[:, first:end] @ columns  # (1, rows, N)
            if near:
                scores = near(scores, first, end)
            scores = (scores - scores.amax(-1, keepdim=True)).clamp_min(_LEAST_SCORE).softmax(-1)
            read.append(scores.to(values.dtype) @ values)
        memory = torch.cat(read, dim=1).transpose(1, 2).reshape(1, -1, height, width)
        logits: Tensor = self.net.head(value, memory, encoded.stage1)
        return logits


class _Near:
    """Leaves out positions of memory that are out of reach, as `tmaseg.model.memory.read_memory` does."""

    def __init__(self, height: int, width: int, reach: float) -> None:
        y, x = torch.arange(height), torch.arange(width)
        radius = ((y[-1:] + 1) * reach).round().clamp_min(1)
        self._size_hw = height, width
        # Of each position to each row, and to each column: together a matrix would have P P values.
        rows = torch.where((y[:, None] - y).abs() <= radius, 0.0, _FAR)[:, None]  # (h, 1, h)
        columns = torch.where((x[:, None] - x).abs() <= radius, 0.0, _FAR)[None]  # (1, w, w)
        self._rows = rows.expand(height, width, height).reshape(-1, height)  # (P, h)
        self._columns = columns.expand(height, width, width).reshape(-1, width)  # (P, w)

    def __call__(self, scores: Tensor, first: int, end: int) -> Tensor:
        """scores (1, rows, N) of positions `first` to `end` -> the same, but very low where out of reach."""
        by_place = scores.reshape(end - first, -1, *self._size_hw)  # (rows, T, h, w)
        by_place = by_place + self._rows[first:end, None, :, None] + self._columns[first:end, None, None, :]
        return by_place.reshape(scores.shape)


def _by_slot(ring: Tensor) -> Tensor:
    """(T, S, P, C) -> (1, T P, C): each frame by the encoder of the slot that it has grown into."""
    if ring.shape[1] == 1:
        return ring.flatten(0, 2)[None]
    return torch.cat([ring[age, age] for age in range(ring.shape[0])])[None]


def _resize_weights(inputs: int, outputs: int) -> Tensor:
    """(outputs, inputs): bilinear interpolation, filtered when shrinking, as torch's with antialias."""
    scale = inputs / outputs
    centres = (torch.arange(outputs) + 0.5) * scale
    distance = (torch.arange(inputs) + 0.5 - centres[:, None]).abs()
    weights = (1 - distance / cast("float", torch.sym_max(scale, 1.0))).clamp_min(0)
    weights = weights / weights.sum(1, keepdim=True)
    steps = torch.exp2(torch.floor(torch.log2((2**15 - 0.5) / weights.max())))  # as torch rounds them to 16 bits
    return torch.round(weights * steps) / steps
