"""The data sets of a run: each gets its part of the crops, and a name that means none is not passed over."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drawn import tiny_recipe

from tmaseg.data import read_frame
from tmaseg.errors import CheckpointError, ConfigError, DataError, LabelError
from tmaseg.labels import ClassUnions
from tmaseg.training import Callback, Source, TrainJob, check_mixture, train
from tmaseg.training import datasets as module
from tmaseg.training.batches import mixture_fractions
from tmaseg.training.datasets import ImageCache, open_sources, read_labels
from tmaseg.training.recipe import from_values


class Recorder(Callback):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def read(sources, recipe=None, callback=None):
    recipe = recipe or tiny_recipe()
    datasets, labels = open_sources(sources, recipe.labels)
    return read_labels(datasets, labels, recipe, callback or Callback(), cache_bytes=10**6)


def test_problems_of_a_data_set_are_notes(drawn):
    data = drawn()
    (data / "masks" / "train" / "train_003.png").unlink()
    events = Recorder()
    read((Source("folder", data),), callback=events)
    assert any("train_003" in note and "folder" in note for note in events.notes)


def test_missing_weights_are_an_error_before_any_label_is_read(drawn, tmp_path):
    class ReadsNothing(Callback):
        def labels_checked(self, name, done, total):
            raise AssertionError(f"label {done} of {total} of {name} was read")

    sources = (Source("folder", drawn()),)
    for init, network, wrong, message in (
        ("nowhere.safetensors", {}, CheckpointError, "nowhere"),
        ("street", {"backbone": "resnet50"}, LabelError, "do not fit"),
    ):
        recipe = tiny_recipe().model_copy(update={"init": init, "network": network})
        with pytest.raises(wrong, match=message):
            train(TrainJob(recipe, sources, tmp_path / "run", device="cpu"), ReadsNothing())


@pytest.mark.parametrize(
    ("mixture", "parts"),
    [
        ({}, (0.1, 0.3, 0.6)),  # by their pictures
        ({"a": 0.2, "b": 0.2, "c": 0.4}, (0.25, 0.25, 0.5)),
        ({"a": 0.2}, (0.2, 0.8 / 3, 1.6 / 3)),  # what is left of 1, by their pictures
        ({"a": 0.7, "elsewhere": 0.3}, (0.7, 0.1, 0.2)),
        ({"a": 0.7, "b": 0.2 + 0.1}, (0.28, 0.12, 0.6)),  # nothing is left: c has its part of the pictures
        ({"a": 3.0}, (0.1, 0.3, 0.6)),
    ],
)
def test_sets_get_their_fractions_and_those_without_one_a_part_by_their_pictures(mixture, parts):
    sets = [SimpleNamespace(name=name, samples=range(count)) for name, count in (("a", 10), ("b", 30), ("c", 60))]
    assert mixture_fractions(sets, mixture) == pytest.approx(parts)


def test_names_are_in_lower_case_and_a_fraction_of_no_set_is_reported(drawn):
    recipe = from_values({"mixture": {"Folder": 0.7, "camvid": 0.3}}, tiny_recipe())
    sources = (Source("Folder", drawn()), Source("folder", drawn("other", train=4, val=2)))
    events = Recorder()
    sets = read(sources, recipe, events)
    assert [data.name for data in sets.train] == ["folder", "folder-2"]
    assert mixture_fractions(sets.train, recipe.mixture) == pytest.approx([0.7, 0.3])
    assert [note for note in events.notes if "left out" in note] == [
        "the recipe's fraction of camvid is left out: there is no such data set in this run"
    ]
    check_mixture(("lr=1", "mixture.Folder=0.3", "mixture.folder-2=1"), sources)
    with pytest.raises(ConfigError, match=r"mixture\.camvd is .* folder, folder-2"):
        check_mixture(("mixture.camvd=0.3",), sources)


def test_classes_that_are_one_to_the_network_are_rare_as_one(drawn):
    opened = read((Source("folder", drawn()),)).train[0]
    for sample, counts in zip(opened.samples, opened.counts, strict=True):
        labels = opened.dataset.truth(sample.frame)
        assert counts.tolist() == [(labels == index).sum() for index in range(4)]
    united = ClassUnions(((0,), (1,), (1,), ()))  # sky and box are one; nobody learns the ball
    counts = np.array([[500, 0, 0, 9], [500, 30, 0, 0], [500, 0, 10, 0]])
    data = replace(opened, samples=opened.samples[:3], unions=united, counts=counts)
    found = Counter(data.draw_rare(np.random.default_rng(seed)) for seed in range(600))
    assert set(found) == {(0, (0,)), (1, (0,)), (2, (0,)), (1, (1, 2)), (2, (1, 2))}
    assert found[1, (1, 2)] / found[2, (1, 2)] == pytest.approx(3, rel=0.25)
    nothing = replace(data, counts=np.zeros_like(counts))
    assert {nothing.draw_rare(np.random.default_rng(seed)) for seed in range(40)} == {(0, ()), (1, ()), (2, ())}


@pytest.mark.parametrize("split", ["train", "val"])
def test_masks_of_nothing_but_void_are_one_error_before_the_first_step(drawn, tmp_path, split):
    data = drawn()
    for path in (data / "masks" / split).iterdir():
        cv2.imwrite(str(path), np.full_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 255))
    job = TrainJob(tiny_recipe(), (Source("folder", data),), tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match=rf"every pixel of the \d label files of '{split}' is void"):
        train(job)


def test_pictures_are_cached_while_they_fit_and_no_larger_than_crops_show_them(drawn):
    data = open_sources((Source("folder", drawn()),), "")[0]["folder"]
    frame, other = (sample.frame for sample in data.samples("train")[:2])
    roomy, cramped, small = ImageCache(10**6), ImageCache(100), ImageCache(10**6, short_side=24)
    assert roomy.picture(frame) is roomy.picture(frame)
    assert cramped.picture(frame) is not cramped.picture(frame)
    assert (small.picture(frame).shape, small.labels(data, frame).shape) == ((24, 32, 3), (24, 32))
    assert set(np.unique(small.labels(data, other))) <= set(np.unique(data.truth(other)))


@pytest.mark.parametrize(("cache_bytes", "some"), [(10**7, False), (50_000, True)])
def test_pictures_are_read_ahead_until_there_is_no_room_for_another(drawn, monkeypatch, cache_bytes, some):
    datasets, labels = open_sources((Source("folder", drawn()),), "")
    data = read_labels(datasets, labels, tiny_recipe(), Callback(), cache_bytes=cache_bytes)
    read = []
    monkeypatch.setattr(module, "read_frame", lambda frame: read.append(frame.name) or read_frame(frame))
    data.read_pictures(1, threads=1)
    frames = {sample.frame.name for sample in data.train[0].samples}
    assert set(read) < frames if some else set(read) >= frames
    assert len(read) == len(set(read))
