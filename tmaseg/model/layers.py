"""Layers around the memory: encoders of keys and values before it, the head that gives logits after it.

Notation: B batch, S memory encoders (1 shared, or T with one for each slot), C backbone channels, Ck key and Cv value
channels, D head channels, K classes, h w feature size. Paper, sections 2.3 and 2.4, equation 2, table 3.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmaseg.model.config import Aggregation, EncoderKind

DROPOUT = 0.1
_STAGE1_CHANNELS = 48  # as in DeepLabv3+, which the paper cites for this aggregation


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


class ChannelSlice(nn.Module):
    """Some of the channels of its input: (B, C, h, w) -> (B, stop - start, h, w)."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        """As the class says: a view."""
        return x[:, self.start : self.stop]


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

    def __init__(self, inputs: int, keys: int, values: int, kind: EncoderKind, *, separable: bool = False) -> None:
        super().__init__()
        self.key = Encoder(inputs, keys, kind, separable=separable)
        self.value = Encoder(inputs, values, kind, separable=separable)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features (B, C, h, w) -> key (B, Ck, h, w), value (B, Cv, h, w)."""
        return self.key(features), self.value(features)


class MemoryEncoder(nn.Module):
    """S key/value encoders for memory frames: one that all slots share, or one for each slot, oldest slot first."""

    def __init__(self, encoders: Iterable[KeyValueEncoder]) -> None:
        super().__init__()
        self.slots = nn.ModuleList(encoders)

    def forward(self, features: Tensor, slot: int | None = None) -> tuple[Tensor, Tensor]:
        """features (B, C, h, w) of one frame -> keys (B, S, Ck, h, w), values (B, S, Cv, h, w), for every slot.

        A frame's slot changes as it grows older: all S are needed. With `slot`, that one's alone, S being 1.
        """
        slots = self.slots if slot is None or len(self.slots) == 1 else [self.slots[slot]]
        encoded = [encoder(features) for encoder in slots]
        keys = torch.stack([key for key, _ in encoded], dim=1)  # (B, S, Ck, h, w)
        values = torch.stack([value for _, value in encoded], dim=1)  # (B, S, Cv, h, w)
        return keys, values


def join_first_convolutions(encoders: Iterable[KeyValueEncoder]) -> nn.Conv2d | None:
    """Takes the first convolutions, which read the same features, out of the encoders and returns them as one.

    From then on the encoders read its output in place of the features. None for depthwise convolutions, which have
    nothing in common.
    """
    # One wide product, exactly the same numbers. Measured at 480x360 in fp32 on two AVX-512 cores, CPU time of all
    # encoders: ResNet-50 with four slots 470 -> 403 ms, ResNet-18 with one 201 -> 161.
    start, convolutions = 0, []
    for layer in (branch[0] for encoder in encoders for branch in (encoder.key, encoder.value)):
        assert isinstance(layer, ConvBNReLU)
        conv = layer[0]
        assert isinstance(conv, nn.Conv2d)
        if conv.groups > 1:
            return None
        layer[0] = ChannelSlice(start, start + conv.out_channels)
        layer[2] = nn.ReLU()  # not in place: others read the same output
        convolutions.append(conv)
        start += conv.out_channels
    weight = torch.cat([conv.weight.detach() for conv in convolutions])
    biases = [conv.bias.detach() for conv in convolutions if conv.bias is not None]  # none before norms are folded
    joined = nn.Conv2d(weight.shape[1], start, weight.shape[2:], padding=convolutions[0].padding, bias=bool(biases))  # type: ignore[arg-type]
    joined.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    if biases:
        joined.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
    return joined.eval()


class SegmentationHead(nn.Module):
    """Aggregation, bottleneck, classifier."""

    def __init__(
        self,
        inputs: int,
        *,
        aggregation: Aggregation,
        head_channels: int,
        decoder_channels: int,
        separable: bool,
        classes: int,
        stage1_channels: int,
        align_corners: bool,
    ) -> None:
        """`inputs`: channels of what is aggregated: Cv for the sum of value and read, 2 Cv for both."""
        super().__init__()
        self.aggregation = aggregation
        self.bottleneck = ConvBNReLU(inputs, head_channels, 3, separable=separable)
        if aggregation == "decoder":
            self.decoder = Decoder(
                head_channels, stage1_channels, decoder_channels, separable=separable, align_corners=align_corners
            )
            head_channels = decoder_channels
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classifier = _classifier(head_channels, classes)

    def forward(self, value: Tensor, read: Tensor | None, stage1: Tensor) -> Tensor:
        """value and read (B, Cv, h, w), read None without memory; stage1 (B, C1, H/4, W/4) -> logits (B, K, h, w).

        With the `decoder` aggregation the logits have stage 1's size.
        """
        x = self.bottleneck(self._aggregate(value, read))
        if self.aggregation == "decoder":
            x = self.decoder(x, stage1)
        logits: Tensor = self.classifier(self.dropout(x))
        return logits

    def _aggregate(self, value: Tensor, read: Tensor | None) -> Tensor:
        if read is None:
            return value
        if self.aggregation == "sum":
            return value + read
        return torch.cat([value, read], dim=1)  # (B, 2 Cv, h, w), the order of the authors' code


class Decoder(nn.Module):
    """Brings the bottleneck's output to stride 4 and sharpens it with stage 1.

    The bottleneck is narrowed before it grows sixteenfold in area: a 1x1 convolution costs less there.
    """

    def __init__(
        self, inputs: int, stage1_channels: int, channels: int, *, separable: bool, align_corners: bool
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.narrow = ConvBNReLU(inputs, channels, 1)
        self.project = ConvBNReLU(stage1_channels, _STAGE1_CHANNELS, 1)
        self.fuse = ConvBNReLU(channels + _STAGE1_CHANNELS, channels, 3, separable=separable)

    def forward(self, x: Tensor, stage1: Tensor) -> Tensor:
        """x (B, D, h, w), stage1 (B, C1, H/4, W/4) -> (B, channels, H/4, W/4)."""
        size = stage1.shape[-2:]
        x = functional.interpolate(self.narrow(x), size, mode="bilinear", align_corners=self.align_corners)
        fused: Tensor = self.fuse(torch.cat([x, self.project(stage1)], dim=1))
        return fused


class AuxiliaryHead(nn.Module):
    """The FCN head on stage 3 that only training uses (loss weight 0.4)."""

    def __init__(self, inputs: int, *, classes: int) -> None:
        super().__init__()
        self.bottleneck = ConvBNReLU(inputs, 256, 3)
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classifier = _classifier(256, classes)

    def forward(self, stage3: Tensor) -> Tensor:
        """stage3 (B, C/2, h, w) -> logits (B, K, h, w)."""
        logits: Tensor = self.classifier(self.dropout(self.bottleneck(stage3)))
        return logits


def _classifier(inputs: int, classes: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
