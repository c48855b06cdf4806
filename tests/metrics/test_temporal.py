"""VC against loops over windows, TC and flicker against pictures whose motion is known."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tmaseg.metrics import ConfusionMatrix, FlowConsistency, VideoConsistency
from tmaseg.video.optical_flow import BackwardFlow, FlowEstimator

VOID = 255


def published_vc(truths, predictions, frames):
    """VSPW's script, as it reads: maps compared in pairs, one window too few, NaN left out of the mean."""
    values = []
    for start in range(len(truths) - frames):
        truth_still = np.ones(truths[0].shape, bool)
        prediction_still = np.ones(truths[0].shape, bool)
        for later in range(start + 1, start + frames):
            truth_still &= truths[start] == truths[later]
            prediction_still &= predictions[start] == predictions[later]
        if truth_still.any():
            values.append((truth_still & prediction_still).sum() / truth_still.sum())
    return values


def corrected_vc(truths, predictions, frames):
    """The definition pixel by pixel."""
    values = []
    for start in range(len(truths) - frames + 1):
        still = agreed = 0
        for place in np.ndindex(truths[0].shape):
            true = [truths[index][place] for index in range(start, start + frames)]
            predicted = [predictions[index][place] for index in range(start, start + frames)]
            if true[0] != VOID and len(set(true)) == 1:
                still += 1
                agreed += true == predicted
        if still:
            values.append(agreed / still)
    return values


@st.composite
def videos(draw):
    """Runs of (prediction, truth) that mostly stand still, so that windows hold constant pixels."""
    runs = []
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.integers(1, 9))
        ids = st.sampled_from([0, 0, 0, 0, 1, 1, VOID])
        maps = hnp.arrays(np.uint8, (length, *shape), elements=ids, fill=st.just(0))
        runs.append((draw(maps), draw(maps)))
    return runs


@pytest.mark.parametrize(("definition", "plain"), [("published", published_vc), ("corrected", corrected_vc)])
@given(runs=videos(), frames=st.integers(2, 5))
def test_vc_is_the_plain_loop(definition, plain, runs, frames):
    metric = VideoConsistency(frames, definition=definition)
    values = []
    for predictions, truths in runs:
        for prediction, truth in zip(predictions, truths, strict=True):
            metric.update(prediction, truth)
        metric.end_run()
        values += plain(list(truths), list(predictions), frames)
    assert metric.windows == len(values)
    if values:
        assert metric.compute() == pytest.approx(np.mean(values))
    else:
        assert math.isnan(metric.compute())


def test_where_published_and_corrected_part():
    """A prediction that is constantly wrong is perfect as published and worthless as corrected."""
    truth = np.zeros((4, 4), np.uint8)
    published, corrected = VideoConsistency(3, definition="published"), VideoConsistency(3)
    for _ in range(5):
        published.update(truth + 1, truth)
        corrected.update(truth + 1, truth)
    assert (published.compute(), published.windows) == (1, 2)
    assert (corrected.compute(), corrected.windows) == (0, 3)


@pytest.mark.parametrize(("right", "expected"), [(True, 1.0), (False, 0.0)])
def test_corrected_vc_leaves_void_pixels_out(right, expected):
    """Neither void pixels that differ from the prediction nor void-class pixels that equal it count; published: all."""
    truth = np.array([[0, VOID, 3]], np.uint8)  # a class, the ignore index, a void class
    prediction = np.array([[0, 1, 0]] if right else [[1, VOID, 3]], np.uint8)
    corrected = VideoConsistency(3, void=[3])
    published = VideoConsistency(3, definition="published", void=[3])
    for step in range(4):
        corrected.update(prediction, truth)
        published.update(prediction + np.array([[0, step, 0]], np.uint8), truth)  # restless where void
    assert (corrected.compute(), corrected.windows) == (expected, 2)
    assert published.compute() == pytest.approx(2 / 3)
    nothing = VideoConsistency(3, void=[3])
    for _ in range(4):
        nothing.update(truth[:, 1:], truth[:, 1:])
    assert nothing.windows == 0


@given(runs=videos(), frames=st.integers(2, 4))
def test_merged_parts_are_the_whole(runs, frames):
    whole, sum_of_parts = VideoConsistency(frames), VideoConsistency(frames)
    for predictions, truths in runs:
        part = VideoConsistency(frames)
        for prediction, truth in zip(predictions, truths, strict=True):
            whole.update(prediction, truth)
            part.update(prediction, truth)
        whole.end_run()
        sum_of_parts.merge(part)
    assert sum_of_parts.windows == whole.windows
    assert sum_of_parts.total == pytest.approx(whole.total)


def texture(height=96, width=128, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def moved(picture, dx, dy, *, nearest=False):
    """The picture moved right by dx and down by dy pixels, its edges repeated."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    size = (picture.shape[1], picture.shape[0])
    return cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (5, 0), (-4, 3)])
def test_motion_follows_a_moving_picture(dx, dy):
    """Labels glued to the picture do not flicker, however it moves; comparing in place would say otherwise."""
    picture = texture()
    labels = (
        cv2.resize(np.random.default_rng(1).random((6, 8)), (128, 96), interpolation=cv2.INTER_NEAREST) * 4
    ).astype(np.uint8)
    estimator, metric = FlowEstimator(), FlowConsistency(4)
    for step in range(4):
        flow = estimator.update(moved(picture, dx * step, dy * step))
        metric.update(moved(labels, dx * step, dy * step, nearest=True), flow)
        if flow is not None:
            error = flow.flow + np.array([dx, dy])
            assert np.median(np.linalg.norm(error, axis=-1)) < 0.3

    assert metric.pairs == 3
    assert metric.flicker < 0.02
    assert metric.tc > 0.93
    if dx:
        assert metric.changed > 4 * metric.flicker


def test_flicker_is_the_share_that_was_made_to_flicker():
    """A still picture, a tenth of the labels drawn anew in each frame: the flicker is what was put in."""
    rng = np.random.default_rng(2)
    estimator, metric = FlowEstimator(), FlowConsistency(5)
    picture, previous, shares = texture(), None, []
    labels = rng.integers(0, 5, (96, 128)).astype(np.uint8)
    for _ in range(4):
        labels = np.where(rng.random(labels.shape) < 0.1, (labels + 1) % 5, labels).astype(np.uint8)
        metric.update(labels, estimator.update(picture))
        if previous is not None:
            shares.append((previous != labels).mean())
        previous = labels
    assert metric.flicker == pytest.approx(np.mean(shares))
    assert metric.changed == pytest.approx(np.mean(shares))


@given(hnp.arrays(np.uint8, (2, 6, 7), elements=st.integers(0, 3)), st.integers(-3, 3), st.integers(-3, 3))
def test_tc_is_miou_with_the_moved_previous(maps, dx, dy):
    """For a motion of whole pixels, against slices."""
    y, x = np.mgrid[:6, :7]
    inside = (x >= dx) & (x < 7 + dx) & (y >= dy) & (y < 6 + dy)
    flow = BackwardFlow(np.full((6, 7, 2), [-dx, -dy], np.float32), inside, inside)
    metric = FlowConsistency(4)
    assert math.isnan(metric.update(maps[0], None))
    flicker = metric.update(maps[1], flow)
    pairs = [
        (maps[1][row, column], maps[0][row - dy, column - dx])
        for row in range(6)
        for column in range(7)
        if 0 <= row - dy < 6 and 0 <= column - dx < 7
    ]
    now, before = (np.array(column, np.uint8)[None] for column in zip(*pairs, strict=True))
    matrix = ConfusionMatrix(4)
    matrix.update(now, before)
    assert metric.tc == pytest.approx(matrix.compute().miou)
    assert flicker == metric.flicker == pytest.approx((now != before).mean())


def test_runs_do_not_touch():
    """After `end_run` the next frame is compared with nothing."""
    labels = np.zeros((16, 16), np.uint8)
    flow = FlowEstimator()
    picture = texture(16, 16)
    flow.update(picture)
    step = flow.update(picture)
    assert step is not None
    metric = FlowConsistency(3)
    metric.update(labels, None)
    metric.end_run()
    assert math.isnan(metric.update(labels + 1, step))
    assert metric.pairs == 0
    assert math.isnan(metric.tc)
    assert math.isnan(metric.flicker)
    flow.reset()
    assert flow.update(picture) is None
    assert flow.update(texture(24, 24)) is None  # another size starts again
    assert flow.update(texture(8, 24)) is None
    assert flow.update(texture(8, 24)) is None  # too small to follow
