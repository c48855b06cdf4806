"""Validation scores what the network can tell apart."""

from types import SimpleNamespace

import numpy as np
import pytest

from tmaseg.data import open_dataset
from tmaseg.evaluation import Shard
from tmaseg.labels import LabelSet
from tmaseg.training.datasets import ValSet
from tmaseg.training.validation import validate

COARSE = LabelSet("coarse", ("road", "sky", "car"), ((1, 1, 1),) * 3)


@pytest.mark.parametrize(("answered", "right"), [((0, 1, 2, 2), True), ((0, 0, 2, 2), False)])
def test_classes_that_the_network_cannot_tell_apart_are_scored_as_one(drawn, monkeypatch, answered, right):
    data = open_dataset("folder", drawn(names=("road", "sky", "car", "truck"), val=3))
    pixels = np.zeros(4)
    known = {}
    for sample in data.samples("val"):
        truth = data.truth(sample.frame)
        pixels += np.bincount(truth.ravel(), minlength=4)[:4]
        known[data.image(sample.frame).tobytes()] = truth

    class Oracle:
        """Answers with the network's class of each true one."""

        def __init__(self, _weights, answers, _options, **_stretch):
            self.table = answers.table[list(answered)]

        def start(self):
            pass

        def step(self, rgb):
            return self.table[known[rgb.tobytes()]]

    monkeypatch.setattr("tmaseg.training.validation.Predictor", Oracle)
    weights = SimpleNamespace(net=SimpleNamespace(config=SimpleNamespace(memory_frames=0)), labels=COARSE)
    found = validate(weights, [ValSet("drawn", data, "val")], Shard())
    road, sky = pixels[:2]
    assert found.miou["drawn"] == pytest.approx(1.0 if right else (road / (road + sky) + 0 + 1) / 3)
    assert (pixels > 0).all()
    assert found.frames == 3
