"""The data sets of a run: each gets its part of the crops, and a name that means none is not passed over."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from drawn import tiny_recipe

from tmaseg.errors import CheckpointError, ConfigError, LabelError
from tmaseg.evaluation import Shard
from tmaseg.training import Job, Listener, Source, check_shares
from tmaseg.training.build import open_sets
from tmaseg.training.classes import Unions
from tmaseg.training.presets import from_values
from tmaseg.training.sets import share_out


class Heard(Listener):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_what_is_wrong_with_a_set_is_said(drawn, tmp_path):
    data = drawn()
    (data / "masks" / "train" / "train_003.png").unlink()
    heard = Heard()
    open_sets(Job(tiny_recipe(), (Source("folder", data),), tmp_path / "run"), Shard(), heard)
    assert any("train_003" in note and "folder" in note for note in heard.notes)


def test_weights_that_are_not_there_are_told_before_any_label_is_read(drawn, tmp_path):
    class Deaf(Listener):
        def checked(self, name, done, total):
            raise AssertionError(f"label {done} of {total} of {name} was read")

    sources = (Source("folder", drawn()),)
    for init, network, wrong, said in (
        ("nowhere.safetensors", {}, CheckpointError, "nowhere"),
        ("street", {"backbone": "resnet50"}, LabelError, "do not fit"),
    ):
        recipe = replace(tiny_recipe(), init=init, network=network)
        with pytest.raises(wrong, match=said):
            open_sets(Job(recipe, sources, tmp_path / "run"), Shard(), Deaf())


@pytest.mark.parametrize(
    ("shares", "parts"),
    [
        ({}, (0.1, 0.3, 0.6)),  # by their pictures
        ({"a": 0.2, "b": 0.2, "c": 0.4}, (0.25, 0.25, 0.5)),
        ({"a": 0.2}, (0.2, 0.8 / 3, 1.6 / 3)),  # what is left of 1, by their pictures
        ({"a": 0.7, "elsewhere": 0.3}, (0.7, 0.1, 0.2)),
        ({"a": 0.7, "b": 0.2 + 0.1}, (0.28, 0.12, 0.6)),  # nothing is left: c has its part of the pictures
        ({"a": 3.0}, (0.1, 0.3, 0.6)),
    ],
)
def test_sets_get_their_shares_and_those_without_one_a_part_by_their_pictures(shares, parts):
    sets = [SimpleNamespace(name=name, samples=range(count)) for name, count in (("a", 10), ("b", 30), ("c", 60))]
    assert share_out(sets, shares) == pytest.approx(parts)


def test_names_are_in_lower_case_and_a_share_of_no_set_is_told(drawn, tmp_path):
    recipe = from_values({"shares": {"Folder": 0.7, "camvid": 0.3}}, tiny_recipe())
    sources = (Source("Folder", drawn()), Source("folder", drawn("other", train=4, val=2)))
    heard = Heard()
    sets = open_sets(Job(recipe, sources, tmp_path / "run"), Shard(), heard)
    assert [data.name for data in sets.train] == ["folder", "folder-2"]
    assert share_out(sets.train, recipe.shares) == pytest.approx([0.7, 0.3])
    assert [note for note in heard.notes if "left out" in note] == [
        "the recipe's share of camvid is left out: there is no such data set in this run"
    ]
    check_shares(("lr=1", "shares.Folder=0.3", "shares.folder-2=1"), sources)
    with pytest.raises(ConfigError, match=r"shares\.camvd is .* folder, folder-2"):
        check_shares(("shares.camvd=0.3",), sources)


def test_classes_that_are_one_to_the_network_are_rare_as_one(drawn, tmp_path):
    opened = open_sets(Job(tiny_recipe(), (Source("folder", drawn()),), tmp_path / "run"), Shard(), Listener()).train[0]
    for sample, counts in zip(opened.samples, opened.counts, strict=True):
        labels = opened.dataset.truth(sample.frame)
        assert counts.tolist() == [(labels == index).sum() for index in range(4)]
    united = Unions(((0,), (1,), (1,), ()))  # sky and box are one; nobody learns the ball
    counts = np.array([[500, 0, 0, 9], [500, 30, 0, 0], [500, 0, 10, 0]])
    data = replace(opened, samples=opened.samples[:3], unions=united, counts=counts)
    found = Counter(data.draw_rare(np.random.default_rng(seed)) for seed in range(600))
    assert set(found) == {(0, (0,)), (1, (0,)), (2, (0,)), (1, (1, 2)), (2, (1, 2))}
    assert found[1, (1, 2)] / found[2, (1, 2)] == pytest.approx(3, rel=0.25)
    nothing = replace(data, counts=np.zeros_like(counts))
    assert {nothing.draw_rare(np.random.default_rng(seed)) for seed in range(40)} == {(0, ()), (1, ()), (2, ())}
