import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tmaseg.inference.postprocess import classify


@settings(max_examples=120, deadline=None)
@given(
    classes=st.integers(1, 6),
    coarse=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    align_corners=st.booleans(),
    smooth=st.booleans(),
    seed=st.integers(0, 999),
)
def test_it_is_the_argmax_of_the_resized_logits(classes, coarse, size, align_corners, smooth, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(classes, *coarse, generator=generator)
    if smooth:  # regions of one class, as real logits have them
        logits = functional.avg_pool2d(logits, 3, 1, 1)
    labels = classify(logits, size, align_corners=align_corners)
    resized = functional.interpolate(logits[None].double(), size, mode="bilinear", align_corners=align_corners)[0]
    assert labels.shape == size
    assert labels.dtype == torch.uint8
    # Where rounding decides between equal logits either answer is right.
    chosen = resized.gather(0, labels.long()[None])[0]
    assert (resized.max(0).values - chosen).max() < 1e-5


def test_any_number_of_cells_lies_along_outlines():
    logits = torch.randn(3, 40, 50)
    want = functional.interpolate(logits[None], (130, 157), mode="bilinear")[0].argmax(0)
    assert (classify(logits, (130, 157), align_corners=False) == want).float().mean() > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_logits_are_taken_as_they_are(dtype):
    logits = torch.randn(4, 6, 8).to(dtype)
    want = functional.interpolate(logits[None].float(), (50, 70), mode="bilinear")[0].argmax(0)
    assert (classify(logits, (50, 70), align_corners=False) == want).float().mean() > 0.999
