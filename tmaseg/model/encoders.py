"""Encoders: backbone features -> keys and values of the query frame and of memory frames (paper, section 2.3).

Notation: B batch, S memory encoders (1 shared, or T with one for each slot), C backbone channels, Ck key and Cv value
channels, h w feature size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tmaseg.model.config import EncoderKind


class ConvBNReLU(nn.Sequential):
    """Convolution of odd kernel size that keeps the resolution, batch normalisation, ReLU.

    `separable` makes a convolution larger than 1x1 a depthwise one with its own batch normalisation and ReLU, and a 1x1
    convolution after it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, separable: bool = False) -> None:
        depthwise: list[nn.Module] = []
        if separable and kernel > 1:
            depthwise = [
                nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU(inplace=True),
            ]
            kernel = 1
        super().__init__(
            *depthwise,
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def replace_first_convolution(self, module: nn.Module) -> nn.Module:
        """Puts `module` in the place of the first convolution and returns that.

        Its output stays as it is, since others may read it: the ReLU is no longer in place.
        """
        first, self[0] = self[0], module
        self[2] = nn.ReLU()
        return first


class ChannelSlice(nn.Module):
    """Some of the channels of its input: (B, C, h, w) -> (B, stop - start, h, w)."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, stop - start, h, w), a view."""
        return x[:, self.start : self.stop]


class EncoderShape(NamedTuple):
    """Hyperparameters of the encoders."""

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

    @property
    def first(self) -> ConvBNReLU:
        """The layer that reads the backbone's features."""
        layer = self[0]
        assert isinstance(layer, ConvBNReLU)
        return layer


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

    def forward(self, features: Tensor, slot: int | None = None) -> tuple[Tensor, Tensor]:
        """features (B, C, h, w) of one frame -> keys (B, S, Ck, h, w), values (B, S, Cv, h, w), for every slot.

        A frame's slot changes as it grows older, so with an encoder for each slot all S are needed. With `slot`, only
        that one's, S being 1; it is any where all slots share one encoder.
        """
        slots = self.slots if slot is None or len(self.slots) == 1 else [self.slots[slot]]
        encoded = [encoder(features) for encoder in slots]
        keys = torch.stack([key for key, _ in encoded], dim=1)  # (B, S, Ck, h, w)
        values = torch.stack([value for _, value in encoded], dim=1)  # (B, S, Cv, h, w)
        return keys, values


def join_first_convolutions(encoders: Sequence[KeyValueEncoder]) -> nn.Conv2d | None:
    """Takes the first convolutions, which read the same features, out of the encoders and returns them as one.

    From then on the encoders read its output in place of the features. None where they cannot be joined: depthwise
    convolutions have nothing in common. One wide product in place of 2 for each encoder, exactly the same numbers:
    measured at 480x360 in fp32 on two AVX-512 cores, CPU time of all encoders, ResNet-50 with four slots 470 -> 403 ms,
    ResNet-18 with one 201 -> 161.
    """
    layers = [branch.first for encoder in encoders for branch in (encoder.key, encoder.value)]
    start, convolutions = 0, []
    for layer in layers:
        conv = layer[0]
        assert isinstance(conv, nn.Conv2d)
        if conv.groups > 1:
            return None
        layer.replace_first_convolution(ChannelSlice(start, start + conv.out_channels))
        convolutions.append(conv)
        start += conv.out_channels
    weight = torch.cat([conv.weight.detach() for conv in convolutions])
    biases = [conv.bias.detach() for conv in convolutions if conv.bias is not None]  # none before norms are folded
    joined = nn.Conv2d(weight.shape[1], start, weight.shape[2:], padding=convolutions[0].padding, bias=bool(biases))  # type: ignore[arg-type]
    joined.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    if biases:
        joined.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
    return joined.eval()
