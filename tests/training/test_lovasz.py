"""Lovász-Softmax against its definition: 1 - IoU on sets, and between them the sum over falling thresholds."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from tmaseg.training.lovasz import lovasz_softmax


def lost(missed, inside):
    """1 - IoU of a class when these pixels of it, and these of others, are got wrong."""
    right = (inside & ~missed).sum()
    return 1 - float(right) / float((inside | missed).sum())


def extension(errors, inside):
    """The Lovász extension by its definition: 1 - IoU, averaged over what is wrong at each threshold of the errors."""
    levels = sorted({0.0, *errors.tolist()})
    return sum((high - low) * lost(errors >= high, inside) for low, high in pairwise(levels))


@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 999))
def test_it_is_the_lovasz_extension_of_lost_iou_over_the_classes_present(pixels, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    chances = torch.randn(pixels, classes, generator=generator).mul(2).softmax(1)
    labels = torch.randint(0, classes, (pixels,), generator=generator)
    wanted = [
        extension(torch.where(labels == index, 1 - chances[:, index], chances[:, index]), labels == index)
        for index in labels.unique().tolist()
    ]
    assert abs(float(lovasz_softmax(chances, labels)) - sum(wanted) / len(wanted)) < 1e-5


@given(st.integers(1, 60), st.integers(0, 999))
def test_of_a_decided_answer_it_is_the_mean_of_lost_iou(pixels, seed):
    generator = torch.Generator().manual_seed(seed)
    answer, labels = torch.randint(0, 3, (2, pixels), generator=generator)
    loss = lovasz_softmax(torch.nn.functional.one_hot(answer, 3).float(), labels)
    wanted = [lost((answer == index) != (labels == index), labels == index) for index in labels.unique()]
    assert abs(float(loss) - sum(wanted) / len(wanted)) < 1e-6


def test_following_its_gradient_a_class_painted_too_large_shrinks():
    """Cross-entropy weighted for a rare class paints it too large; here 10 pixels of it are said to be 40."""
    labels = torch.zeros(200, dtype=torch.int64)
    labels[:10] = 1
    logits = torch.zeros(200, 2)
    logits[:, 0] = 0.5
    logits[:40] = torch.tensor([0.0, 0.5])
    logits.requires_grad_()
    gradient = torch.autograd.grad(lovasz_softmax(logits.softmax(1), labels), logits)[0]
    assert (gradient[:10, 1] < 0).all()
    assert (gradient[10:40, 1] > 0).all()
