"""Geometry of crops: labels and memory go where their picture goes; the light changes no geometry."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tmaseg.training.augment import Motion, place, place_varied, warp_labels, warp_picture

CROP = (48, 64)
VOID = 255
SHADE = 60  # grey levels between the classes of a painted picture

placements = st.builds(
    lambda seed, scale, flip, stretch: place(
        (40, 50), (40, 50 * stretch), CROP, scale=scale, flip=flip, rng=np.random.default_rng(seed)
    ),
    st.integers(0, 2**16),
    st.floats(0.5, 2),
    st.booleans(),
    st.floats(0.5, 2),
)
motions = st.builds(
    Motion,
    zoom=st.floats(-0.1, 0.1),
    shift_px=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    rotation_degrees=st.floats(-5, 5),
    centre_px=st.tuples(st.floats(0, 64), st.floats(0, 48)),
)


def blocks(seed: int) -> np.ndarray:
    """(40, 50) labels in coarse blocks."""
    return np.random.default_rng(seed).integers(0, 4, (2, 2), dtype=np.uint8).repeat(20, 0).repeat(25, 1)


def painted(labels: np.ndarray) -> np.ndarray:
    return np.repeat((labels * SHADE)[..., None], 3, axis=2)


def inside(labels: np.ndarray) -> np.ndarray:
    """Where a pixel and all within three of it have one label: no blend of two shades there at any scale."""
    padded = np.pad(labels, 3, constant_values=VOID)
    height, width = labels.shape
    around = [padded[y : y + height, x : x + width] for y in range(7) for x in range(7)]
    return np.all([each == labels for each in around], axis=0) & (labels != VOID)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), placements, motions, st.integers(0, 4))
def test_labels_go_where_their_picture_goes_now_and_in_the_past(seed, matrix, motion, age):
    labels = blocks(seed)
    matrix = motion.apply(matrix, age)
    crop, ids = warp_picture(painted(labels), matrix, CROP), warp_labels(labels, matrix, CROP, void=VOID)
    where = inside(ids)
    assert np.array_equal(crop[where], painted(ids)[where])
    assert set(np.unique(ids)) <= {0, 1, 2, 3, VOID}


@settings(max_examples=40, deadline=None)
@given(placements, motions)
def test_motion_grows_with_age_and_age_0_is_now(matrix, motion):
    assert np.allclose(motion.apply(matrix, 0), matrix)
    corners = np.array([[x, y, 1] for x in (0, 50) for y in (0, 40)], np.float64).T
    here = matrix @ corners
    turned = [np.abs(motion.apply(matrix, age) - matrix)[:, :2].max() for age in (1, 2, 3)]
    assert turned[0] <= turned[1] + 1e-9
    assert turned[1] <= turned[2] + 1e-9
    shifts = Motion(shift_px=motion.shift_px)
    for age in (1, 2):
        assert np.allclose(shifts.apply(matrix, age) @ corners - here, age * np.array(motion.shift_px)[:, None])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), motions)
def test_going_back_and_returning_is_the_identity(seed, motion):
    matrix = place((40, 50), (40, 50), CROP, scale=1, flip=False, rng=np.random.default_rng(seed))
    back = Motion(-motion.zoom, (0, 0), -motion.rotation_degrees, motion.centre_px)
    there = Motion(motion.zoom, (0, 0), motion.rotation_degrees, motion.centre_px)
    assert np.allclose(back.apply(there.apply(matrix, 2), 2), matrix)


def test_scale_1_copies_pixels_and_a_flip_mirrors_them():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*CROP, 3), dtype=np.uint8)
    ids = rng.integers(0, 9, CROP, dtype=np.uint8)
    straight = place(CROP, CROP, CROP, scale=1, flip=False, rng=rng)
    assert np.array_equal(warp_picture(rgb, straight, CROP), rgb)
    assert np.array_equal(warp_labels(ids, straight, CROP, void=VOID), ids)
    flipped = place(CROP, CROP, CROP, scale=1, flip=True, rng=rng)
    assert np.array_equal(warp_picture(rgb, flipped, CROP), rgb[:, ::-1])
    assert np.array_equal(warp_labels(ids, flipped, CROP, void=VOID), ids[:, ::-1])


def test_doubling_repeats_labels_and_stretches_to_square_pixels():
    ids = np.random.default_rng(1).integers(0, 9, (24, 16), dtype=np.uint8)
    matrix = place((24, 16), (24, 32), (48, 64), scale=2, flip=False, rng=np.random.default_rng(0))
    assert np.array_equal(warp_labels(ids, matrix, (48, 64), void=VOID), ids.repeat(2, 0).repeat(4, 1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.5, 2))
def test_a_smaller_picture_lies_whole_inside_the_crop_and_a_larger_one_fills_it(seed, scale):
    ids = np.ones((48, 64), np.uint8)
    matrix = place((48, 64), (48, 64), CROP, scale=scale, flip=False, rng=np.random.default_rng(seed))
    seen = warp_labels(ids, matrix, CROP, void=VOID) == 1
    if scale >= 1:
        assert seen[1:-1, 1:-1].all()
    else:
        assert abs(seen.sum() - 48 * 64 * scale**2) <= (48 + 64) * scale + 1


def test_a_crop_of_nothing_but_one_class_is_drawn_again(monkeypatch):
    labels = np.zeros((480, 640), np.uint8)
    labels[:, 320:] = 1
    rng = np.random.default_rng(0)

    def draw():
        return place((480, 640), (480, 640), CROP, scale=1, flip=False, rng=rng)

    def worst(tries):
        monkeypatch.setattr("tmaseg.training.augment._TRIES", tries)
        crops = [warp_labels(labels, place_varied(draw, labels, CROP, void=VOID), CROP, void=VOID) for _ in range(60)]
        return sum(np.bincount(crop.ravel()).max() / crop.size > 0.75 for crop in crops)

    assert worst(1) > 45
    assert worst(10) < 35  # ten tries find the edge about two times in three
