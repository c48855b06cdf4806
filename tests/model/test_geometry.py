import pytest

from tmaseg.errors import ConfigError
from tmaseg.model.config import InputGeometry


@pytest.mark.parametrize(
    ("size", "frame_hw", "input_hw"),
    [
        (None, (37, 901), (37, 901)),
        (360, (360, 640), (360, 640)),
        (360, (1080, 1920), (360, 640)),
        (360, (1920, 1080), (640, 360)),
        (360, (100, 800), (360, 2880)),
        (360, (100, 10000), (102, 10182)),
        (360, (10000, 100), (10182, 102)),
        (100, (100, 3200), (50, 1600)),
        (16, (1, 100000), (1, 14311)),
    ],
)
def test_proportions_stay_and_pixels_are_bounded(size, frame_hw, input_hw):
    geometry = InputGeometry(size=size)
    assert geometry.input_hw(frame_hw) == input_hw
    assert geometry.window_hw(frame_hw) == input_hw
    if size is not None and min(input_hw) > 1:
        assert input_hw[0] * input_hw[1] <= 1.01 * 8 * size**2
        assert geometry.is_bounded(frame_hw) == (min(input_hw) < size)


def test_options_go_before_what_the_weights_say_where_they_say_anything():
    weights = InputGeometry(size=360, window=64)
    assert weights.overridden_by(InputGeometry()) == weights
    assert weights.overridden_by(InputGeometry(stride=32)) == InputGeometry(size=360, window=64, stride=32)
    assert weights.overridden_by(InputGeometry(size=0)).size == 0
    with pytest.raises(ConfigError, match="--size is 0"):
        weights.overridden_by(InputGeometry(size=0)).check()


def test_windows_cover_the_input():
    assert InputGeometry(size=64, window=48).window_hw((128, 512)) == (48, 48)
    assert InputGeometry(size=32, window=48).window_hw((128, 512)) == (32, 48)
