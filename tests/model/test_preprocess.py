"""What the network is given: filtered, and normalised to the bit as the plain formula does."""

import pytest
import torch
from torch.nn import functional

from tmaseg.model.preprocess import Preprocess


@pytest.mark.parametrize("size_hw", [(20, 30), (41, 37)])
def test_a_table_normalises_as_the_formula_does(size_hw):
    rgb = torch.randint(0, 256, (2, 41, 37, 3), dtype=torch.uint8)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    resized = functional.interpolate(rgb.permute(0, 3, 1, 2), size_hw, mode="bilinear", antialias=True)
    expected = (resized.float() - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    x = Preprocess()(rgb, size_hw)
    assert torch.equal(x, expected)
    assert x.is_contiguous(memory_format=torch.channels_last)
