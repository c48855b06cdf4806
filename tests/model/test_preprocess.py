"""What the network is given: filtered, and normalised to the bit as the plain formula does."""

import pytest
import torch
from torch.nn import functional

from tmaseg.model.config import TMANetConfig
from tmaseg.model.preprocess import Preprocess


@pytest.mark.parametrize("size_hw", [(20, 30), (41, 37)])
def test_a_table_normalises_as_the_formula_does(size_hw):
    rgb = torch.randint(0, 256, (2, 41, 37, 3), dtype=torch.uint8)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    resized = functional.interpolate(rgb.permute(0, 3, 1, 2), size_hw, mode="bilinear", antialias=True)
    expected = (resized.float() - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    x = Preprocess(TMANetConfig(classes=2))(rgb, size_hw)
    assert torch.equal(x, expected)
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size_hw", [(41, 37), (20, 30), (9, 7), (60, 80)])
def test_the_form_for_cuda_differs_by_the_rounding_of_levels_alone(size_hw):
    """Noise of full contrast, the worst for rounding. The CPU resizes rows, rounds, resizes columns and rounds again.

    Each rounding moves a value by half a level at most, and averaging what the first one left cannot enlarge it: one
    level in all, and a twentieth for weights that are integers there.
    """
    rgb = torch.randint(0, 2, (2, 41, 37, 3), dtype=torch.uint8) * 255
    preprocess = Preprocess(TMANetConfig(classes=2))
    x = rgb.permute(0, 3, 1, 2)
    one, other = (preprocess._prepare(x, size_hw, in_levels=each) for each in (False, True))
    assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
    levels = (one - other) * preprocess.std
    if size_hw == (41, 37):
        assert torch.equal(one, other)  # without a resize there is nothing to round
        return
    assert 0.1 < levels.abs().max() < 1.05
    assert levels.mean().abs() < 0.1  # and no lean to one side
