"""Photometric changes do what they say, each by its probability; a crop plan's labels are the network's or void."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from drawn import draw_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from tmaseg.data import ClipFrame
from tmaseg.training.augment import VOID, CropPlan, Photometric, draw_photometric
from tmaseg.training.recipe import Augmentation

GREY = np.full((40, 50, 3), 128, np.uint8)
PARTS = {
    "brightness": 0.0,
    "contrast": 1.0,
    "gamma": 1.0,
    "saturation": 1.0,
    "hue_degrees": 0.0,
    "temperature": 0.0,
    "blur_px": 0.0,
    "noise": 0.0,
    "jpeg_quality": 0,
}


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        Photometric,
        brightness=st.floats(-32, 32),
        contrast=st.floats(0.5, 1.5),
        gamma=st.floats(0.5, 2),
        saturation=st.floats(0, 2),
        hue_degrees=st.floats(-36, 36),
        temperature=st.floats(-0.3, 0.3),
    )
)
def test_light_and_colour_treat_equal_pixels_alike_and_the_default_changes_nothing(change):
    labels = draw_scene(3)[1]
    shades = np.random.default_rng(0).integers(0, 256, (4, 3), dtype=np.uint8)
    changed = change.apply(shades[labels])
    for index in np.unique(labels):
        assert (
            np.ptp(changed[labels == index].astype(int), axis=0).max() <= 1
        )  # OpenCV rounds the ends of rows otherwise
    assert np.array_equal(Photometric().apply(shades[labels]), shades[labels])


def test_levels_go_where_their_formulas_say():
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (2, 1, 3))
    for change, expected in (
        (Photometric(brightness=20), np.arange(256) + 20),
        (Photometric(contrast=1.4), (np.arange(256) - 128) * 1.4 + 128),
        (Photometric(gamma=2.0), 255 * (np.arange(256) / 255) ** 2),
    ):
        assert np.abs(change.apply(ramp)[0, :, 0] - np.clip(expected, 0, 255)).max() <= 0.5


def test_colours_turn_fade_and_warm():
    red = np.full((4, 4, 3), (200, 40, 40), np.uint8)
    assert np.ptp(Photometric(saturation=0).apply(red)[0, 0].astype(int)) <= 1
    assert np.array_equal(Photometric(hue_degrees=120).apply(red)[0, 0], (40, 200, 40))
    assert np.array_equal(Photometric(hue_degrees=35, saturation=1.8).apply(GREY), GREY)
    warm = Photometric(temperature=0.2).apply(GREY)[0, 0].astype(int)
    assert warm.tolist() == [round(128 * np.exp(0.2)), 128, round(128 * np.exp(-0.2))]


def test_noise_blur_and_jpeg_do_what_they_say():
    noisy = Photometric(noise=8, noise_seed=1).apply(GREY)
    assert 7 < noisy.std() < 9
    assert abs(noisy.mean() - 128) < 1
    assert np.array_equal(noisy, Photometric(noise=8, noise_seed=1).apply(GREY))
    assert not np.array_equal(noisy, Photometric(noise=8, noise_seed=2).apply(GREY))
    assert Photometric(blur_px=1).apply(noisy).std() < noisy.std() / 2
    scene = draw_scene(1)[0]
    errors = [np.abs(Photometric(jpeg_quality=q).apply(scene).astype(int) - scene).mean() for q in (95, 40, 10)]
    assert 0 < errors[0] < errors[1] < errors[2] < 20  # red and blue are not swapped on the way


def test_each_part_comes_by_its_probability_and_within_its_bounds():
    rule = Augmentation(
        brightness=30,
        contrast=0.4,
        gamma=0.5,
        saturation=0.6,
        hue=20.0,
        temperature=0.2,
        light_probability=0.8,
        colour_probability=0.4,
        blur_probability=0.3,
        noise_probability=0.2,
        jpeg_probability=0.1,
    )
    rng = np.random.default_rng(0)
    drawn = [draw_photometric(rule, rng) for _ in range(2000)]
    changed = {name: np.mean([getattr(each, name) != plain for each in drawn]) for name, plain in PARTS.items()}
    expected = dict(zip(PARTS, (0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.3, 0.2, 0.1), strict=True))
    assert changed == pytest.approx(expected, abs=0.05)
    bounds = {
        "brightness": (-30, 30),
        "contrast": (0.6, 1.4),
        "gamma": (np.exp(-0.5), np.exp(0.5)),
        "saturation": (0.4, 1.6),
        "hue_degrees": (-20, 20),
        "temperature": (-0.2, 0.2),
        "blur_px": (0, 2),
        "noise": (0, 12),
        "jpeg_quality": (0, 75),
    }
    for name, (low, high) in bounds.items():
        values = [getattr(each, name) for each in drawn]
        assert low <= min(values) <= low + 0.1 * (high - low), name
        assert high - 0.1 * (high - low) <= max(values) <= high, name
    together = [(each.brightness != 0, each.contrast != 1) for each in drawn]
    assert all(together.count(both) > 40 for both in itertools.product((True, False), repeat=2))  # each for itself


def test_labels_outside_of_unlabelled_frames_and_without_counterpart_are_void():
    rgb, truth = draw_scene(2)
    known = np.array([0, 1, VOID, 3, *[VOID] * 252], np.uint8)
    cache = SimpleNamespace(picture=lambda _frame: rgb, labels=lambda _data, _frame: truth)
    data = SimpleNamespace(cache=cache, known=known, dataset=SimpleNamespace(labels=SimpleNamespace(ignore_index=255)))
    shifted = np.array([[1.0, 0, 10], [0, 1, 0]])
    plan = CropPlan(data, ClipFrame("f", "f.png", 0, "m.png", True), shifted, Photometric())
    assert np.array_equal(plan.labels((48, 64))[:, 10:], known[truth][:, :-10])
    assert (plan.labels((48, 64))[:, :10] == VOID).all()
    assert np.array_equal(plan.picture((48, 64))[:, 10:], rgb[:, :-10])
    unlabelled = CropPlan(data, ClipFrame("f", "f.png", 0, None, True), shifted, Photometric())
    assert (unlabelled.labels((48, 64)) == VOID).all()
