"""The loss: unions are sums of probabilities, weights average to one, parts add up to the whole."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_net
from torch.nn import functional

from tmaseg.errors import LabelError
from tmaseg.labels import CAMVID, CAMVID12, CITYSCAPES, ClassUnions, LabelSet, unite_by_name
from tmaseg.model.checkpoint import Checkpoint
from tmaseg.training.batches import Batch
from tmaseg.training.losses import SegmentationLoss, class_weights, lovasz_softmax, union_log_probabilities
from tmaseg.training.module import load_by_class
from tmaseg.training.recipe import Loss


def data_set(unions, pixels):
    return SimpleNamespace(unions=unions, pixels=np.array(pixels))


def batch(labels, sets, set_rows=None):
    rows = len(labels)
    none = torch.zeros(0, dtype=torch.int64)
    set_rows = set_rows or tuple(sets.count(number) for number in range(max(sets) + 1))
    hidden = torch.zeros(rows, dtype=torch.bool)
    pixels = torch.zeros(len(set_rows), 256, dtype=torch.int64)
    for number, row in zip(sets, labels, strict=True):
        pixels[number] += torch.bincount(row.flatten().long(), minlength=256)
    pictures = torch.zeros(rows, 8, 8, 3)
    return Batch(pictures, labels, pixels, none, none.reshape(rows, 0), hidden, sets, set_rows, ("",) * rows)


def test_camvids_classes_are_unions_of_cityscapes_and_back():
    there = unite_by_name(CAMVID, CITYSCAPES)
    named = {
        CAMVID.names[index]: [CITYSCAPES.names[other] for other in union] for index, union in enumerate(there.members)
    }
    assert named == {
        "sky": ["sky"],
        "building": ["building", "wall"],
        "pole": ["pole"],
        "road": ["road"],
        "pavement": ["sidewalk"],
        "tree": ["vegetation", "terrain"],
        "sign/symbol": ["traffic light", "traffic sign"],
        "fence": ["fence"],
        "car": ["car", "truck", "bus", "train"],
        "pedestrian": ["person"],
        "bicyclist": ["rider", "motorcycle", "bicycle"],
    }
    back = unite_by_name(CITYSCAPES, CAMVID)
    assert all(len(union) == 1 for union in back.members)
    assert CAMVID.names[back.members[CITYSCAPES.index("truck")][0]] == "car"
    assert unite_by_name(CITYSCAPES, CITYSCAPES).is_identity
    assert unite_by_name(CAMVID12, CAMVID).members[0] == ()  # void is learnt as nothing
    colours = ((1, 1, 1),)
    with pytest.raises(LabelError, match="no class of 'fish'"):
        unite_by_name(LabelSet("fish", ("carp",), colours), CAMVID)
    partly = unite_by_name(LabelSet("fish", ("carp", "car"), colours * 2), CAMVID)
    assert partly.missing == ("carp",)


def test_a_unions_probability_is_the_sum_of_its_members():
    unions = unite_by_name(CAMVID, CITYSCAPES)
    logits = torch.randn(2, 19, 3, 4) * 5
    probabilities = union_log_probabilities(logits, unions).exp()
    single = logits.softmax(1)
    for index, union in enumerate(unions.members):
        assert torch.allclose(probabilities[:, index], single[:, list(union)].sum(1), atol=1e-6)
    assert torch.allclose(probabilities.sum(1), torch.ones(2, 3, 4), atol=1e-5)


def test_one_set_without_weights_is_plain_cross_entropy():
    unions = ClassUnions(tuple((index,) for index in range(5)))
    labels = torch.randint(0, 5, (4, 6, 6), dtype=torch.uint8)
    labels[0, :3] = 255
    logits = torch.randn(4, 5, 6, 6)
    loss_of = SegmentationLoss([data_set(unions, [1] * 5)], Loss())
    mine = batch(labels, (0, 0, 0, 0))
    expected = functional.cross_entropy(logits, labels.long(), ignore_index=255)
    assert torch.allclose(loss_of(logits, mine, loss_of.totals(mine)), expected, atol=1e-6)


def test_parts_of_two_sets_with_weights_add_up_to_the_whole_step_with_its_gradient():
    sets = [
        data_set(ClassUnions(tuple((index,) for index in range(4))), [100, 10, 1, 5]),
        data_set(ClassUnions(((0, 1), (2,), ())), [50, 20, 9]),
    ]
    loss_of = SegmentationLoss(sets, Loss(class_weights="log"))
    labels = torch.randint(0, 2, (4, 6, 6), dtype=torch.uint8)
    labels[1, :5] = 255
    logits = torch.randn(4, 4, 6, 6, requires_grad=True)
    whole = batch(labels, (0, 1, 1, 0))
    loss = loss_of(logits, whole, loss_of.totals(whole))
    gradient = torch.autograd.grad(loss, logits)[0]
    parts = [batch(labels[:2], (0, 1), (2, 2)), batch(labels[2:], (1, 0), (2, 2))]
    totals = loss_of.totals(parts[0]) + loss_of.totals(parts[1])
    pieces = [loss_of(logits[:2], parts[0], totals), loss_of(logits[2:], parts[1], totals)]
    assert torch.allclose(sum(pieces), loss)
    assert torch.allclose(torch.autograd.grad(sum(pieces), logits)[0], gradient, atol=1e-7)


def test_data_sets_count_by_their_rows_not_by_their_labelled_pixels():
    sets = [data_set(ClassUnions(((0,), (1,))), [1, 1])] * 2
    loss_of = SegmentationLoss(sets, Loss())
    labels = torch.zeros(4, 4, 4, dtype=torch.uint8)
    labels[1, 0, 1:] = labels[1, 1:] = 255  # of the second set, of one row, a single pixel has a label
    logits = torch.zeros(4, 2, 4, 4)
    logits[1, 1] = 3.0  # and is wrong
    mine = batch(labels, (0, 1, 0, 0))
    right, wrong = np.log(2), np.log1p(np.exp(3.0))
    assert float(loss_of(logits, mine, loss_of.totals(mine))) == pytest.approx(0.75 * right + 0.25 * wrong, rel=1e-5)


def test_a_batch_without_labels_costs_nothing():
    for loss in (Loss(), Loss(lovasz=1)):
        loss_of = SegmentationLoss([data_set(ClassUnions(((0,), (1,), ())), [1, 1, 1])], loss)
        logits = torch.randn(1, 2, 4, 4, requires_grad=True)
        nothing = batch(torch.full((1, 4, 4), 255, dtype=torch.uint8), (0,))
        value = loss_of(logits, nothing, loss_of.totals(nothing))
        value.backward()
        assert float(value.detach()) == 0
        assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("kind", ["none", "log"])
def test_class_weights_average_to_one_over_pixels_and_favour_the_rare(kind):
    pixels = np.array([1_000_000, 10_000, 500, 0, 300])
    unions = ClassUnions(((0,), (1,), (2,), (3,), ()))
    weights = class_weights(pixels, unions, kind)
    assert weights[4] == 0
    share = pixels[:4] / pixels[:4].sum()
    assert abs((weights[:4] * share).sum() - 1) < 1e-9
    if kind != "none":
        assert weights[0] < weights[1] <= weights[2]


@pytest.mark.parametrize("kind", ["none", "log"])
def test_classes_that_are_one_to_the_network_weigh_what_one_class_would(kind):
    unions = unite_by_name(CITYSCAPES, CAMVID)
    pixels = np.array([10 ** (2 + index % 5) + index for index in range(len(CITYSCAPES))])
    weights = class_weights(pixels, unions, kind)
    assert abs((weights * pixels).sum() / pixels.sum() - 1) < 1e-9
    summed = np.zeros(len(CAMVID), np.int64)
    for index, (member,) in enumerate(unions.members):
        summed[member] += pixels[index]
    expected = class_weights(summed, unite_by_name(CAMVID, CAMVID), kind)
    assert len({round(weight, 9) for weight in expected if weight}) == (1 if kind == "none" else 11)
    assert np.allclose(weights, [expected[member] for (member,) in unions.members])


def test_classes_merge_through_every_class_of_the_network_that_they_share():
    unions = ClassUnions(((0,), (1, 2), (), (3,), (2,), (3, 1), ()))
    assert unions.merged[:8].tolist() == [0, 1, 2, 1, 1, 1, 6, 7]
    assert unions.merged[255] == 255
    assert np.array_equal(unite_by_name(CAMVID, CITYSCAPES).merged, np.arange(256))


def test_lovasz_ranks_the_classes_that_the_network_can_tell_apart():
    unions = ClassUnions(((0,), (1,), (1,), ()))
    loss_of = SegmentationLoss([data_set(unions, [1, 1, 1, 1])], Loss(lovasz=0.5))
    plain = SegmentationLoss([data_set(unions, [1, 1, 1, 1])], Loss())
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[0, ::2, ::2] = torch.tensor([[0, 1], [2, 255]])  # the pixels that it ranks
    logits = torch.full((1, 2, 4, 4), -9.0)
    logits[0, 0, :2] = logits[0, 1, 2:] = 9.0  # 0 0 | 1 1 of 0 1 | 1 void: an IoU of 1/2 each
    mine = batch(labels, (0,))
    added = loss_of(logits, mine, loss_of.totals(mine)) - plain(logits, mine, plain.totals(mine))
    assert abs(float(added) - 0.5 * 0.5) < 1e-4


def test_other_classes_take_the_rows_of_their_counterparts():
    old = LabelSet("old", ("road", "sky", "person", "car", "dog"), ((1, 1, 1),) * 5)
    new = LabelSet("new", ("vehicle", "pedestrian", "road"), ((1, 1, 1),) * 3)
    source, net = tiny_net(1, classes=5), tiny_net(2, classes=3)
    before = net.head.classifier.weight.clone()
    fresh = load_by_class(net, new, Checkpoint(source.config, old, source.state_dict()))
    assert fresh == ("vehicle",)
    weight = net.head.classifier.weight
    assert torch.equal(weight[0], before[0])
    assert torch.equal(weight[1], source.head.classifier.weight[2])
    assert torch.equal(weight[2], source.head.classifier.weight[0])
    assert torch.equal(net.auxiliary.classifier.bias[2], source.auxiliary.classifier.bias[0])
    assert torch.equal(net.backbone.layer1[0].conv1.weight, source.backbone.layer1[0].conv1.weight)
    with pytest.raises(LabelError, match="do not fit"):
        load_by_class(tiny_net(2, classes=3, width=8), new, Checkpoint(source.config, old, source.state_dict()))


def lost(missed, inside):
    """1 - IoU of a class when these pixels of it, and these of others, are got wrong."""
    right = (inside & ~missed).sum()
    return 1 - float(right) / float((inside | missed).sum())


def extension(errors, inside):
    """The Lovász extension by its definition: 1 - IoU, averaged over what is wrong at each threshold of the errors."""
    levels = sorted({0.0, *errors.tolist()})
    return sum((high - low) * lost(errors >= high, inside) for low, high in pairwise(levels))


@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 9), st.integers(0, 999))
def test_it_is_the_lovasz_extension_of_lost_iou_over_the_classes_present(pixels, classes, void, seed):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(classes, pixels + void, generator=generator).mul(2).softmax(0)
    labels = torch.randint(0, classes, (pixels,), generator=generator)
    known = probabilities[:, :pixels]
    wanted = [
        extension(torch.where(labels == index, 1 - known[index], known[index]), labels == index)
        for index in labels.unique().tolist()
    ]
    labels = torch.cat([labels, torch.full((void,), 255)])
    order = torch.randperm(len(labels), generator=generator)
    loss = lovasz_softmax(probabilities[:, order], labels[order])
    assert abs(float(loss) - sum(wanted) / len(wanted)) < 1e-5


@given(st.integers(1, 60), st.integers(0, 999))
def test_of_a_certain_prediction_it_is_the_mean_of_lost_iou(pixels, seed):
    generator = torch.Generator().manual_seed(seed)
    prediction, labels = torch.randint(0, 3, (2, pixels), generator=generator)
    loss = lovasz_softmax(torch.nn.functional.one_hot(prediction, 3).T.float(), labels)
    wanted = [lost((prediction == index) != (labels == index), labels == index) for index in labels.unique()]
    assert abs(float(loss) - sum(wanted) / len(wanted)) < 1e-6


def test_following_its_gradient_a_class_painted_too_large_shrinks():
    """Cross-entropy weighted for a rare class paints it too large; here 10 pixels of it are message to be 40."""
    labels = torch.zeros(200, dtype=torch.int64)
    labels[:10] = 1
    logits = torch.zeros(200, 2)
    logits[:, 0] = 0.5
    logits[:40] = torch.tensor([0.0, 0.5])
    logits.requires_grad_()
    gradient = torch.autograd.grad(lovasz_softmax(logits.softmax(1).T, labels), logits)[0]
    assert (gradient[:10, 1] < 0).all()
    assert (gradient[10:40, 1] > 0).all()
