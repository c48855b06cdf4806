"""The one building block that encoders and heads share."""

from torch import nn


class ConvBNReLU(nn.Sequential):
    """Convolution of odd kernel size that keeps the resolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )
