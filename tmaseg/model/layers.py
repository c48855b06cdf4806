"""The building blocks that backbones, encoders and heads share."""

from typing import NamedTuple

from torch import Tensor, nn


class Features(NamedTuple):
    """What a backbone gives of one batch of frames. C1, C3 and C channels are its `channels`."""

    stage1: Tensor  # (B, C1, H/4, W/4)
    stage3: Tensor  # (B, C3, h', w') at stride 8 or 16
    stage4: Tensor  # (B, C, h, w) at the output stride


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
