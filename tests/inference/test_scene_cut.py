import cv2
import numpy as np
import pytest

from tmaseg.inference.scene_cut import DiscontinuityDetector


def scene(seed, size_hw=(240, 900)):
    """A made street-like panorama: sky above, textured ground below, blocks of many sizes."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2] = rng.integers(120, 230, 3)
    picture[height // 2 :] = rng.integers(40, 130, 3)
    for _ in range(250):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(8, 70), rng.integers(8, 60)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
    return cv2.GaussianBlur(picture, (0, 0), 2)


def noisy(picture, seed):
    noise = np.random.default_rng(seed).normal(0, 5, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def passing_car(panorama, step):
    frame = panorama[:, :320].copy()
    left = -160 + 48 * step
    cv2.rectangle(frame, (left, 70), (left + 160, 220), (150, 30, 30), -1)
    cv2.rectangle(frame, (left + 30, 80), (left + 130, 130), (30, 30, 30), -1)
    return noisy(frame, step)


def cuts_in(frames):
    detector = DiscontinuityDetector()
    return [index for index, frame in enumerate(frames) if detector.found(frame)]


@pytest.mark.parametrize("seed", range(12))
def test_a_hard_cut_is_found_where_it_is(seed):
    first, second = scene(seed), scene(seed + 100)
    shots = [noisy(first[:, x : x + 320], x) for x in range(0, 60, 6)]
    shots += [noisy(second[:, x : x + 320], x) for x in range(0, 60, 6)]
    assert cuts_in(shots) == [10]


@pytest.mark.parametrize("seed", range(12))
def test_a_fast_pan_is_no_cut(seed):
    """A quarter of the picture's width each frame."""
    panorama = scene(seed)
    assert cuts_in([noisy(panorama[:, x : x + 320], x) for x in range(0, 560, 80)]) == []


@pytest.mark.parametrize("seed", range(12))
def test_a_passing_car_is_no_cut(seed):
    """It fills half of the picture and crosses it in eight frames."""
    panorama = scene(seed)
    assert cuts_in([passing_car(panorama, step) for step in range(12)]) == []


@pytest.mark.parametrize(
    ("interval", "step_px", "far", "found"),
    [
        (1.0, 40, True, True),
        (1.0, 40, False, False),
        (1.0, 0, True, False),
        (0.2, 40, True, False),
        (None, 40, True, False),
    ],
)
@pytest.mark.parametrize("continues", [False, True])
@pytest.mark.parametrize("cuts", [False, True])
def test_late_frames_are_far_unless_the_camera_stands_still(interval, step_px, far, found, continues, cuts):
    """Past which a car drives."""
    panorama, detector = scene(2), DiscontinuityDetector(cuts=cuts, far=far)
    for index in range(5):
        left = index * step_px
        frame = noisy(panorama[:, left : left + 320], index) if step_px else passing_car(panorama, index)
        seconds = None if interval is None else index * interval
        assert detector.found(frame, seconds, continues=continues) == (found and index > 0)


def test_where_the_video_is_known_to_go_on_no_cut_and_no_gap_is_found():
    first, second = scene(1)[:, :320], scene(101)[:, :320]
    frames, seconds = [first, first, second, second], [0.0, 0.1, 0.2, 9.0]
    for continues, found in ((False, [False, False, True, True]), (True, [False] * 4)):
        detector = DiscontinuityDetector()
        got = [detector.found(each, at, continues=continues) for each, at in zip(frames, seconds, strict=True)]
        assert got == found


def test_light_that_changes_is_no_cut():
    picture = scene(3)[:, :320]
    frames = [np.clip(picture * gain, 0, 255).astype(np.uint8) for gain in (1.0, 1.0, 0.3, 0.3, 1.1, 0.8)]
    assert cuts_in(frames) == []


def test_black_and_back_is_one_cut():
    black = np.zeros((240, 320, 3), np.uint8)
    assert cuts_in([black, black, scene(1)[:, :320], scene(1)[:, :320]]) == [2]
    assert cuts_in([black] * 4) == []


def test_frames_far_apart_in_time_are_not_all_cuts(shared):
    """CamVid's 1 Hz frames hardly resemble each other; only the first pairs, before that is known, may count."""
    folder = shared("data/camvid/train")
    paths = sorted(folder.glob("0001TP*"))[:40]
    frames = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    assert len(cuts_in(frames)) <= 4


def test_real_driving_has_no_cut_and_a_splice_of_two_drives_has_one(shared):
    folder = shared("data/camvid/val")
    drive = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in sorted(folder.iterdir())]
    other = cv2.imread(str(sorted(shared("data/camvid/train").glob("0006R0*"))[50]))
    assert cuts_in(drive) == []
    assert cuts_in([*drive[:20], *[cv2.cvtColor(other, cv2.COLOR_BGR2RGB)] * 5]) == [20]
