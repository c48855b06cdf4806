"""Crops cut on the device are those that OpenCV cuts, and a run learns from either."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn import draw_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from tmaseg.data import ClipFrame
from tmaseg.data.transforms import Light, Motion, moved, place
from tmaseg.training.crops import HostCrops
from tmaseg.training.devicecrops import DeviceCrops
from tmaseg.training.scene import VOID, View

CROP = (48, 64)
KNOWN = np.array([0, 1, VOID, 3, *[VOID] * 252], np.uint8)


class CountingCache:
    """Pictures as stored, and how often they were asked for."""

    def __init__(self):
        self.asked = 0

    def picture(self, frame):
        self.asked += 1
        return draw_scene(frame.number)[0]

    def labels(self, _dataset, frame):
        return draw_scene(frame.number)[1]


def view(number, matrix, light=None, *, cache=None, labelled=True):
    data = SimpleNamespace(
        cache=cache or CountingCache(),
        known=KNOWN,
        dataset=SimpleNamespace(labels=SimpleNamespace(ignore_index=255)),
    )
    frame = ClipFrame(f"f{number}", f"f{number}.png", number, f"m{number}.png" if labelled else None, True)
    return View(data, frame, matrix, light or Light())


def both(views):
    return [
        (crops.pictures(views), crops.labels(views))
        for crops in (HostCrops(CROP), DeviceCrops(CROP, torch.device("cpu"), most_bytes=10**6))
    ]


def placed(seed, scale):
    rng = np.random.default_rng(seed)
    stored = draw_scene(seed)[1].shape
    matrix = place(stored, stored, CROP, scale=scale, flip=bool(seed % 2), rng=rng)
    motion = Motion(zoom=0.05, shift_px=(1.3, -0.7), rotation_degrees=2.0, centre_px=(30.0, 20.0))
    return matrix, moved(matrix, motion, 1.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 30), st.floats(0.4, 2.0))
def test_the_geometry_is_that_of_opencv(seed, scale):
    still, turned = placed(seed, scale)
    (host, host_labels), (device, device_labels) = both([view(seed, still), view(seed, turned)])
    assert device.shape == host.shape
    assert device.dtype == torch.uint8
    # A 32nd of a pixel, in which OpenCV places samples, is at most 8 of 255 levels.
    assert (device.int() - host.int()).abs().max() <= 9
    assert (device.float() - host.float()).abs().mean() < 0.5
    assert (device_labels == host_labels).float().mean() > 0.97


def test_at_its_own_size_a_picture_is_copied():
    matrix = np.array([[1.0, 0, -3], [0, 1, 2]])
    (host, host_labels), (device, device_labels) = both([view(4, matrix)])
    assert torch.equal(device, host)
    assert torch.equal(device_labels, host_labels)


@pytest.mark.parametrize(
    ("light", "mean"),
    [
        (Light(brightness=20, contrast=1.3), 1),
        (Light(brightness=-30, contrast=0.7), 1),
        (Light(saturation=0.6), 2),
        (Light(saturation=1.5, hue=8.0), 4),
        (Light(hue=-17.0), 4),
        (Light(blur_px=0.5), 1),
        (Light(blur_px=1.4), 1),
    ],
)
def test_the_light_is_that_of_opencv(light, mean):
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    (host, _), (device, _) = both([view(7, matrix, light)])
    (plain, _), _ = both([view(7, matrix)])
    assert (device.float() - host.float()).abs().mean() <= mean
    assert (plain.float() - host.float()).abs().mean() > 2 * mean or light.blur_px


def test_noise_has_its_size_and_its_seed():
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    crops = DeviceCrops(CROP, torch.device("cpu"), most_bytes=10**6)
    first, again, other, plain = (
        crops.pictures([view(3, matrix, light)]).float()
        for light in (Light(noise=6.0, noise_seed=1), Light(noise=6.0, noise_seed=1), Light(noise=6.0), Light())
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    inside = (plain > 30) & (plain < 225)
    assert (first - plain)[inside].std().item() == pytest.approx(6, rel=0.1)


def test_pictures_are_kept_while_they_fit_and_unlabelled_frames_are_void():
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    roomy, cramped = CountingCache(), CountingCache()
    for store, room in ((roomy, 10**6), (cramped, 100)):
        crops = DeviceCrops(CROP, torch.device("cpu"), most_bytes=room)
        for _ in range(3):
            crops.pictures([view(1, matrix, cache=store)])
    assert (roomy.asked, cramped.asked) == (1, 3)
    assert (crops.labels([view(1, matrix, labelled=False)]) == VOID).all()
