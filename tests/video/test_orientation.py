"""Pictures come out upright: turned and flipped as the file asks."""

from fractions import Fraction

import av
import numpy as np
import pytest
from films import corners, film

from tmaseg.video.colour import orientation_of
from tmaseg.video.source import ReadOptions
from tmaseg.video.video_source import VideoSource

UPRIGHT = corners()
LOOKS = {
    # What the display matrix asks for -> the shown picture, by NumPy's own turns (counter-clockwise) and flips.
    (0.0, False, False): lambda rgb: rgb,
    (90.0, False, False): lambda rgb: np.rot90(rgb, 1),
    (-90.0, False, False): lambda rgb: np.rot90(rgb, -1),
    (180.0, False, False): lambda rgb: np.rot90(rgb, 2),
    (0.0, True, False): lambda rgb: rgb[:, ::-1],
    (0.0, False, True): lambda rgb: rgb[::-1],
    (90.0, True, False): lambda rgb: np.rot90(rgb, 1)[:, ::-1],
    (90.0, False, True): lambda rgb: np.rot90(rgb, 1)[::-1],
}


def close(one, other):
    return one.shape == other.shape and np.abs(one.astype(int) - other).mean() < 8


@pytest.mark.parametrize("rotation", LOOKS)
def test_every_turn_and_flip(tmp_path, rotation):
    # FFmpeg's own player shows a mirrored phone video by turning first and flipping after; so does our expectation.
    path = film(tmp_path / "a.mp4", [UPRIGHT] * 2, rotation=rotation)
    with VideoSource(path) as source:
        pictures = [frame.rgb for frame in source]
        info = source.info
    shown = LOOKS[rotation](UPRIGHT)
    assert all(close(rgb, shown) for rgb in pictures)
    assert (info.height, info.width) == shown.shape[:2]
    assert all(rgb.flags.c_contiguous for rgb in pictures)
    with VideoSource(path, ReadOptions(autorotate=False)) as source:
        assert close(next(iter(source)).rgb, UPRIGHT)


def test_a_quarter_turn_turns_the_pixel_shape(tmp_path):
    path = film(tmp_path / "a.mp4", [UPRIGHT], rotation=(90.0,), aspect=Fraction(16, 15))
    with VideoSource(path) as source:
        assert source.info.sample_aspect == Fraction(15, 16)
        assert source.info.rotation == 90


@pytest.mark.parametrize("degrees", [0, 90, -90, 180])
def test_side_data_that_pyav_does_not_know_hides_no_turn(tmp_path, degrees):
    class Strange:
        """A frame as PyAV has it when one of its kinds of side data is newer than PyAV."""

        def __init__(self, frame):
            self.rotation = frame.rotation

        @property
        def side_data(self):
            raise ValueError("31 is not a valid Type")

    path = film(tmp_path / "a.mp4", [UPRIGHT], rotation=(float(degrees),))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert orientation_of(Strange(frame)) == orientation_of(frame)


def test_other_angles_are_said(tmp_path):
    path = film(tmp_path / "a.mp4", [UPRIGHT], rotation=(30.0,))
    with VideoSource(path) as source:
        assert "30 degrees" in source.warnings[0]
        assert close(next(iter(source)).rgb, UPRIGHT)
