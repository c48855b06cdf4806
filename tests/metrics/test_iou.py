"""The accuracies against scikit-learn's confusion matrix and against loops that spell the definitions out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

from tmaseg.errors import DataError
from tmaseg.metrics import BoundaryIoU, ConfusionMatrix
from tmaseg.metrics.iou import rim

VOID = 255


@st.composite
def labelled(draw, classes=5, void=True):
    """A prediction and a truth of one shape; some truth is void, some prediction is no class at all."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    ids = [*range(classes), VOID] if void else list(range(classes))
    truth = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from(ids)))
    prediction = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(classes), classes + 2, VOID])))
    return prediction, truth


@given(st.lists(labelled(), min_size=1, max_size=4))
def test_confusion_is_scikit_learns(frames):
    matrix = ConfusionMatrix(5)
    for prediction, truth in frames:
        matrix.update(prediction, truth)
    truth = np.concatenate([truth.ravel() for _, truth in frames])
    prediction = np.concatenate([prediction.ravel() for prediction, _ in frames])
    scored = truth != VOID
    truth, prediction = truth[scored], np.minimum(prediction[scored], 5)
    result = matrix.compute()
    if not scored.any():
        assert not result.confusion.any()
        assert math.isnan(result.miou)
        assert math.isnan(result.pixel_accuracy)
        return
    expected = confusion_matrix(truth, prediction, labels=range(6))
    np.testing.assert_array_equal(result.confusion, expected[:5])
    assert result.pixel_accuracy == pytest.approx(accuracy_score(truth, prediction))
    seen = sorted({*truth.tolist(), *prediction.tolist()} - {5})
    per_class = np.full(5, np.nan)  # scikit-learn has no NaN for a class that nobody saw
    per_class[seen] = jaccard_score(truth, prediction, labels=range(5), average=None, zero_division=0)[seen]
    np.testing.assert_allclose(result.iou, per_class)
    assert result.miou == pytest.approx(np.mean([per_class[index] for index in seen]))
    present = sorted(set(truth.tolist()))
    assert result.miou_present == pytest.approx(np.mean([per_class[index] for index in present]))
    recall = recall_score(truth, prediction, labels=range(5), average=None, zero_division=np.nan)
    np.testing.assert_allclose(result.class_accuracy, recall)
    assert result.mean_accuracy == pytest.approx(np.nanmean(recall))
    weighted = sum((truth == index).mean() * per_class[index] for index in present)
    assert result.frequency_weighted_iou == pytest.approx(weighted)


@given(labelled(), labelled(), st.integers(0, 4))
def test_void_pixels_and_void_classes_change_nothing(first, second, void):
    """Whatever is predicted where the truth is void, by ignore index or by a void class, nothing is counted."""
    prediction, truth = first
    noisy = np.where((truth == VOID) | (truth == void), (prediction.astype(int) + 1) % 256, prediction).astype(np.uint8)
    plain, noised = ConfusionMatrix(5, void=[void]), ConfusionMatrix(5, void=[void])
    plain.update(prediction, truth)
    noised.update(noisy, truth)
    np.testing.assert_array_equal(plain.counts, noised.counts)
    assert not plain.counts[void].any()
    assert not plain.counts[:, void].any()  # a predicted void class is "none of the classes", never a false alarm
    assert math.isnan(plain.compute().iou[void])


@given(st.lists(labelled(), min_size=2, max_size=5), st.integers(1, 4))
def test_merged_parts_are_the_whole(frames, cut):
    whole, left, right = ConfusionMatrix(5), ConfusionMatrix(5), ConfusionMatrix(5)
    for index, (prediction, truth) in enumerate(frames):
        own = whole.update(prediction, truth)
        (left if index < cut else right).update(prediction, truth)
        np.testing.assert_array_equal(own, confusion(prediction, truth))
    left.merge(right)
    np.testing.assert_array_equal(left.counts, whole.counts)


def confusion(prediction, truth):
    """The counts by the plainest loop there is."""
    counts = np.zeros((5, 6), int)
    for predicted, true in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if true < 5:
            counts[true, min(predicted, 5)] += 1
    return counts


def test_truth_of_unknown_ids_is_refused():
    truth = np.array([[0, 1], [7, 9]], np.uint8)
    with pytest.raises(DataError, match=r"ids 7, 9; expected 0 to 4, or 255"):
        ConfusionMatrix(5).update(truth, truth)
    with pytest.raises(DataError, match="prediction is 3x2 and its ground truth 2x2"):
        ConfusionMatrix(5).update(np.zeros((2, 3), np.uint8), truth)


def plain_rim(mask, pixels):
    """Pixels of the mask with anything else, or the outside, within `pixels` steps of a king."""
    height, width = mask.shape
    out = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            square = [
                0 <= v < height and 0 <= u < width and mask[v, u]
                for v in range(y - pixels, y + pixels + 1)
                for u in range(x - pixels, x + pixels + 1)
            ]
            out[y, x] = mask[y, x] and not all(square)
    return out


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.integers(1, 3))
def test_rim_is_the_plain_one(mask, pixels):
    np.testing.assert_array_equal(rim(mask, pixels), plain_rim(mask, pixels))


@given(st.lists(labelled(), min_size=1, max_size=3))
def test_boundary_iou_by_a_loop(frames):
    metric = BoundaryIoU(5, width=0.2, void=[3])
    intersection, union = np.zeros(5), np.zeros(5)
    for prediction, truth in frames:
        metric.update(prediction, truth)
        pixels = max(1, round(0.2 * math.hypot(*truth.shape)))
        valid = (truth != VOID) & (truth != 3)
        for index in (0, 1, 2, 4):
            true, predicted = (plain_rim((labels == index) & valid, pixels) for labels in (truth, prediction))
            intersection[index] += (true & predicted).sum()
            union[index] += (true | predicted).sum()
    expected = [i / u if u else math.nan for i, u in zip(intersection, union, strict=True)]
    np.testing.assert_allclose(metric.compute(), expected)


def test_boundary_iou_sees_what_miou_hides():
    """A square one pixel too large: nearly perfect by area, poor by its rim; a perfect one scores 1."""
    truth = np.zeros((100, 100), np.uint8)
    truth[20:80, 20:80] = 1
    grown = np.zeros_like(truth)
    grown[18:82, 18:82] = 1
    areas, rims = ConfusionMatrix(2), BoundaryIoU(2)
    areas.update(grown, truth)
    rims.update(grown, truth)
    assert areas.compute().iou[1] > 0.85
    assert rims.compute()[1] < 0.3
    perfect = BoundaryIoU(2)
    perfect.update(truth, truth)
    assert perfect.mean() == 1
