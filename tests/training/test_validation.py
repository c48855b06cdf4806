"""Validation scores what the network can tell apart."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_net

from tmaseg.data import open_dataset
from tmaseg.evaluation import EvalOptions, Shard, evaluate
from tmaseg.inference.segmenter import load_network
from tmaseg.labels import LabelSet
from tmaseg.model.checkpoint import Checkpoint
from tmaseg.training.validation import validate

COARSE = LabelSet("coarse", ("road", "sky", "car"), ((1, 1, 1),) * 3)


@pytest.mark.parametrize(("predicted", "right"), [((0, 1, 2, 2), True), ((0, 0, 2, 2), False)])
def test_classes_that_the_network_cannot_tell_apart_are_scored_as_one(drawn, monkeypatch, predicted, right):
    data = open_dataset("folder", drawn(names=("road", "sky", "car", "truck"), val=3))
    pixels = np.zeros(4)
    known = {}
    for sample in data.samples("val"):
        truth = data.truth(sample.frame)
        pixels += np.bincount(truth.ravel(), minlength=4)[:4]
        known[data.image(sample.frame).tobytes()] = truth

    class Oracle:
        """Predicts a class of the network for each true one."""

        def __init__(self, _weights, mapping, _options, **_stretch):
            self.table = mapping.table[list(predicted)]

        def start(self):
            pass

        def step(self, rgb):
            return self.table[known[rgb.tobytes()]]

    monkeypatch.setattr("tmaseg.training.validation.Predictor", Oracle)
    weights = SimpleNamespace(config=SimpleNamespace(memory_frames=0), labels=COARSE)
    found = validate(weights, {"drawn": data}, "val", Shard())
    road, sky = pixels[:2]
    assert found.miou["drawn"] == pytest.approx(1.0 if right else (road / (road + sky) + 0 + 1) / 3)
    assert (pixels > 0).all()
    assert found.frames == 3


def test_validation_and_evaluation_have_the_same_scores(drawn):
    """Of a network with coarser classes than the data set's, and of the reverse."""
    for names, labels in (
        (("road", "sky", "car", "truck"), COARSE),
        (
            ("road", "sky", "person", "car"),
            LabelSet("fine", ("road", "sky", "car", "truck", "person"), ((1, 1, 1),) * 5),
        ),
    ):
        data = open_dataset("folder", drawn(labels.name, names=names, val=3))
        net = tiny_net(3, classes=len(labels))
        checkpoint = Checkpoint(net.config, labels, net.state_dict())
        network = load_network(checkpoint, device="cpu", precision="fp32")
        validated = validate(network, {"drawn": data}, "val", Shard())
        evaluated = evaluate(data, network, EvalOptions(split="val"))
        assert validated.miou["drawn"] == pytest.approx(evaluated.to_dict()["miou"])
        assert validated.miou["drawn"] > 0.01
