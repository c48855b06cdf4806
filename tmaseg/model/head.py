"""Heads: the query's value and what was read from memory -> logits (paper, section 2.4 and equation 2).

Notation: B batch, Cv value channels, D head channels, K classes, h w feature size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tmaseg.model.config import Aggregation
from tmaseg.model.encoders import ConvBNReLU

DROPOUT = 0.1
_STAGE1_CHANNELS = 48  # as in DeepLabv3+, which the paper cites for this aggregation


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
