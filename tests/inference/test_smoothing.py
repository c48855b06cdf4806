"""Temporal smoothing: what is averaged with what, where nothing is, and on what a frame then depends."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny import noise_frames, pan, panorama, tiny_net

from tmaseg.inference.device import Transfer
from tmaseg.inference.segmenter import Segmenter
from tmaseg.inference.smoothing import _DECAY, TemporalSmoothing
from tmaseg.labels import generic_labels
from tmaseg.model.config import InputGeometry

CPU = Transfer(torch.device("cpu"))


def segmenter_of(net, **options):
    return Segmenter(net, generic_labels(net.config.classes), detect_cuts=False, **options)


def random_logits(count, size_hw=(12, 16), classes=4):
    generator = torch.Generator().manual_seed(3)
    return [0.5 * torch.randn(1, classes, *size_hw, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("frames", [1, 3])
def test_a_still_picture_gives_the_weighted_mean_of_the_last_frames(frames):
    picture = panorama(1)[:96, :128]
    logits = random_logits(6)
    smoothing = TemporalSmoothing(frames, CPU)
    assert smoothing.step(picture, logits[0]) is None
    for index in range(1, 6):
        got = smoothing.step(picture, logits[index])
        ages = range(min(index, frames) + 1)
        want = sum(_DECAY**age * logits[index - age].softmax(1) for age in ages)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_where_past_and_present_are_sure_of_different_classes_the_present_counts():
    picture = panorama(1)[:96, :128]
    before, now = (torch.full((1, 4, 12, 16), -8.0) for _ in range(2))
    before[:, 1], now[:, 1, :, :8], now[:, 2, :, 8:] = 8, 8, 8  # the same to the left, another to the right
    smoothing = TemporalSmoothing(3, CPU)
    smoothing.step(picture, before)
    mean = smoothing.step(picture, now)
    left, right = mean.sum(1)[0].split(8, -1)
    assert left.mean() > 1 + 0.9 * _DECAY
    assert right.mean() < 1.01


def test_the_past_moves_with_the_picture():
    """A turning camera over classes that are painted on what it sees: moved, they are those of the frame at hand."""
    frames, places = pan(4, 4, step_px=8, size_hw=(192, 256))
    shades = torch.from_numpy(panorama(5).astype(np.float32)[None] / 40).permute(0, 3, 1, 2)  # (1, 3, H, W)
    logits = [torch.nn.functional.avg_pool2d(shades[:, :, y : y + 192, x : x + 256], 4) for y, x in places]
    smoothing = TemporalSmoothing(3, CPU)
    smoothing.step(frames[0], logits[0])
    inner = (..., slice(6, -6), slice(6, -6))
    for frame, (before, now) in zip(frames[1:], pairwise(logits), strict=True):
        mean = smoothing.step(frame, now)
        own, shares = now.softmax(1), mean / mean.sum(1, keepdim=True)
        assert mean.sum(1).mean() > 1.6  # the past counts
        moved, unmoved = ((each - own)[inner].abs().mean() for each in (shares, before.softmax(1)))
        assert moved < unmoved / 8


def test_where_the_picture_looks_otherwise_the_past_counts_for_less():
    picture = panorama(1)[:96, :128] // 2
    lit = picture.copy()
    lit[:, 64:] += 60  # as textured as before, so that the motion is found
    smoothing = TemporalSmoothing(3, CPU)
    same, other = random_logits(2, (24, 32))
    smoothing.step(picture, same)
    left, right = smoothing.step(lit, other).sum(1)[0, 4:-4].split(16, -1)
    assert left[:, 2:-4].mean() > 1 + 0.8 * _DECAY
    assert right[:, 4:-2].mean() < 1.1


def other_size(frames):
    return [frames[0], np.ascontiguousarray(frames[1][:80])]


@pytest.mark.parametrize(
    "frames", [noise_frames(2, (96, 128)), other_size(pan(1, 2)[0]), [frame[:8, :8] for frame in pan(1, 2)[0]]], ids=len
)
def test_frames_that_do_not_follow_each_other_are_not_averaged(frames):
    smoothing = TemporalSmoothing(4, CPU)
    logits = random_logits(2)
    assert [smoothing.step(frame, each) for frame, each in zip(frames, logits, strict=True)] == [None, None]


@pytest.mark.parametrize(("seconds", "used"), [((3.0, 3.2), True), ((3.0, 3.3), False), ((None, 3.3), True)], ids=str)
def test_frames_far_apart_in_time_are_not_averaged(seconds, used):
    picture = panorama(1)[:96, :128]
    smoothing = TemporalSmoothing(2, CPU)
    found = [smoothing.step(picture, each, at) for each, at in zip(random_logits(2), seconds, strict=True)]
    assert (found[1] is not None) == used


def test_after_a_reset_nothing_is_left():
    picture = panorama(1)[:96, :128]
    smoothing = TemporalSmoothing(2, CPU)
    logits = random_logits(3)
    smoothing.step(picture, logits[0])
    assert smoothing.step(picture, logits[1]) is not None
    smoothing.reset()
    assert smoothing.step(picture, logits[2]) is None


@pytest.mark.parametrize("changes", [{}, {"memory_encoder": "per-slot"}, {"self_in_memory": True}], ids=str)
def test_a_frame_depends_on_as_many_as_it_says(changes):
    """What a stopped run goes by: fewer frames before it give other logits, more do not."""
    frames, _ = pan(6, 10, step_px=3, size_hw=(96, 128))
    net = tiny_net(memory_frames=2, aggregation="decoder", **changes)

    def last(first):
        segmenter = segmenter_of(net, smooth=True)
        *_, result = [segmenter.step(frame, logits=True) for frame in frames[first:]]
        assert (result.logits.argmax(0).numpy() == result.labels).mean() > 0.999
        return result.logits

    past = segmenter_of(net, smooth=True).past_frames
    assert past == 4
    assert segmenter_of(net).past_frames == 2
    whole, first = last(0), len(frames) - 1 - past
    assert torch.equal(last(first - first % 2), whole)  # places in the ring repeat every second frame
    assert not torch.allclose(last(first + 2), whole, atol=1e-3)


def test_it_holds_labels_still():
    frames, _ = pan(6, 8, step_px=0, size_hw=(96, 128))
    rng = np.random.default_rng(2)
    noisy = [np.clip(each + rng.normal(0, 3, each.shape), 0, 255).astype(np.uint8) for each in frames]

    def changes(**options):
        segmenter = segmenter_of(tiny_net(aggregation="decoder"), **options)
        labels = [segmenter.step(frame).labels for frame in noisy]
        return np.mean([one != other for one, other in pairwise(labels[3:])])

    plain, smooth = changes(), changes(smooth=True)
    assert smooth < 0.6 * plain


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"memory_frames": 0}, {}),
        ({}, {"memory_frames": 0}),
        ({"geometry": InputGeometry(window=64, stride=48)}, {}),
    ],
    ids=["memory off", "no memory", "windows"],
)
def test_where_it_has_no_effect(options, changes):
    frames, _ = pan(7, 4, step_px=2, size_hw=(96, 128))
    net = tiny_net(**changes)
    plain, smooth = segmenter_of(net, **options), segmenter_of(net, smooth=True, **options)
    assert not smooth.smooth
    for frame in frames:
        want, got = plain.step(frame, logits=True), smooth.step(frame, logits=True)
        assert torch.equal(got.logits, want.logits)


def test_a_cut_ends_it():
    frames, _ = pan(1, 6, step_px=1)
    net = tiny_net()
    smooth, alone = segmenter_of(net, smooth=True), segmenter_of(net, smooth=True)
    for index, frame in enumerate(frames):
        got = smooth.step(frame, discontinuity=index == 3, logits=True).logits
        if index >= 3:
            assert torch.equal(got, alone.step(frame, logits=True).logits)
