"""Encoders: backbone features -> keys and values of the query frame and of memory frames (paper, section 2.3).

Notation: B batch, S memory encoders (1 shared, or T with one for each slot), C backbone channels, Ck key and Cv value
channels, h w feature size.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tmaseg.model.config import EncoderKind
from tmaseg.model.layers import ConvBNReLU


class EncoderShape(NamedTuple):
    """How encoders are built."""

    key_channels: int
    value_channels: int
    kind: EncoderKind
    separable: bool = False


class Encoder(nn.Sequential):
    """The convolutions of paper table 3: "1x1", "3x3", or "1x1" then "3x3". (B, C, h, w) -> (B, out, h, w)."""

    def __init__(self, inputs: int, outputs: int, kind: EncoderKind, *, separable: bool = False) -> None:
        layers = []
        for name in kind.split("+"):
            layers.append(ConvBNReLU(inputs, outputs, int(name[0]), separable=separable))
            inputs = outputs
        super().__init__(*layers)


class KeyValueEncoder(nn.Module):
    """The key encoder and the value encoder of one role."""

    def __init__(self, inputs: int, shape: EncoderShape) -> None:
        super().__init__()
        self.key = Encoder(inputs, shape.key_channels, shape.kind, separable=shape.separable)
        self.value = Encoder(inputs, shape.value_channels, shape.kind, separable=shape.separable)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, C, h, w) -> key (B, Ck, h, w), value (B, Cv, h, w)."""
        return self.key(features), self.value(features)


class MemoryEncoder(nn.Module):
    """S key/value encoders for memory frames: one that all slots share, or one for each slot, oldest slot first."""

    def __init__(self, inputs: int, shape: EncoderShape, *, slots: int) -> None:
        super().__init__()
        self.slots = nn.ModuleList(KeyValueEncoder(inputs, shape) for _ in range(slots))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """One frame, encoded for every slot. features (B, C, h, w) -> keys (B, S, Ck, h, w), values (B, S, Cv, h, w).

        A frame's slot changes as it grows older, so with an encoder for each slot all S answers are needed.
        """
        encoded = [slot(features) for slot in self.slots]
        keys = torch.stack([key for key, _ in encoded], dim=1)  # (B, S, Ck, h, w)
        values = torch.stack([value for _, value in encoded], dim=1)  # (B, S, Cv, h, w)
        return keys, values

    def encode_slot(self, features: Tensor, slot: int) -> tuple[Tensor, Tensor]:
        """One frame, encoded for one slot only. features (B, C, h, w) -> key (B, Ck, h, w), value (B, Cv, h, w)."""
        key, value = self.slots[slot if len(self.slots) > 1 else 0](features)
        return key, value
