"""Batches: a function of the step alone; memory is what the recipe says; one geometry for a frame and its memory."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import CLASSES, draw_scene, tiny_recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_config

from tmaseg.data import Clip, ClipFrame, Sample
from tmaseg.errors import ConfigError
from tmaseg.evaluation import Shard
from tmaseg.labels import LabelSet, unite_by_name
from tmaseg.training.augment import draw_clip
from tmaseg.training.batches import BatchMaker, Sampler, check_batches
from tmaseg.training.datasets import TrainSet

LABELS = LabelSet("drawn", CLASSES, ((1, 1, 1),) * 4)


class FakeData:
    """A data set whose frames are drawn by number, as one clip of labelled frames."""

    labels = LABELS
    stretch = 1.0


class FakeCache:
    def picture(self, frame):
        return draw_scene(frame.number)[0]

    def labels(self, _dataset, frame):
        return draw_scene(frame.number)[1]


def train_set(count=6, *, alone=False):
    frames = tuple(ClipFrame(f"f{number}", f"f{number}.png", number, f"m{number}.png", True) for number in range(count))
    clips = [Clip(frame.name, (frame,)) for frame in frames] if alone else [Clip("film", frames)] * count
    samples = tuple(Sample(frame, clip) for frame, clip in zip(frames, clips, strict=True))
    counts = np.array([np.bincount(draw_scene(number)[1].ravel(), minlength=4) for number in range(count)])
    return TrainSet("drawn", FakeData(), samples, unite_by_name(LABELS, LABELS), FakeCache(), counts)


def maker(recipe=None, data=None, **network):
    config = tiny_config(**{"classes": 4, "memory_frames": 3, **network})
    recipe = recipe or tiny_recipe()
    return BatchMaker([data or train_set()], recipe, config)


def memory_pictures_of(made):
    """(B, T, H, W, 3): the pictures that each row reads."""
    return made.pictures[made.memory_pictures[made.memory]]


RANDOM = {"flip": 0.5, "scale_min": 0.7, "scale_max": 1.5, "light_probability": 1.0, "noise_probability": 0.5}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.sampled_from(["clip", "mutual"]), st.integers(0, 3), st.integers(2, 3))
def test_a_step_is_the_same_whenever_it_is_made_and_however_it_is_parted(step, form, seed, count):
    memory = {
        "form": form,
        "self_probability": 0.2,
        "moved_probability": 0.4,
        "past_probability": 0.4,
        "frames_min": 1,
        "frames_max": 2,
    }
    groups = {"memory": memory, "optimizer": {"batch": 10}, "loss": {"stride": 2}, "run": {"seed": seed}}
    recipe = tiny_recipe(augmentation=RANDOM, **groups)
    make = maker(recipe)
    whole, again = make.make(step), maker(recipe).make(step)
    parts = [make.make(step, part, count) for part in range(count)]
    assert torch.equal(whole.pictures, again.pictures)
    assert torch.equal(whole.labels, again.labels)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    assert sum((part.files for part in parts), ()) == whole.files
    assert torch.equal(torch.cat([part.pictures[: len(part.labels)] for part in parts]), whole.pictures[:10])
    assert torch.equal(torch.cat([part.hidden for part in parts]), whole.hidden)
    assert torch.equal(torch.cat([memory_pictures_of(part) for part in parts]), memory_pictures_of(whole))
    assert all(len(part.labels) for part in parts)
    assert parts[0].set_rows == whole.set_rows == (10,)


def test_rows_that_are_memory_of_each_other_need_a_whole_clip_in_each_part():
    others = {"form": "mutual", "self_probability": 0.5, "moved_probability": 0.5, "frames_min": 1, "frames_max": 2}

    def check(memory, batch, *, accumulate=1, processes=1, **network):
        recipe = tiny_recipe(memory=memory, optimizer={"batch": batch, "accumulate": accumulate})
        check_batches(recipe, tiny_config(**{"classes": 4, "memory_frames": 3, **network}), processes)

    check(others, 6, accumulate=2)
    for processes, accumulate in ((1, 3), (3, 1)):
        with pytest.raises(ConfigError, match=r"batch is 6, in 3 parts .*raise batch to 9, or lower accumulate"):
            check(others, 6, accumulate=accumulate, processes=processes)
    with pytest.raises(ConfigError, match=r"batch is 3, in 1 parts .*raise batch to 4"):
        check({"form": "mutual"}, 3)
    check({**others, "self_probability": 1.0, "moved_probability": 0.0}, 4, processes=4)
    check({**others, "form": "clip"}, 4, processes=4)
    with pytest.raises(ConfigError, match="batch is 8; it must be a multiple of 3 processes times 2 parts"):
        check({}, 8, processes=3, accumulate=2)
    with pytest.raises(ConfigError, match="form=clip"):
        check({"form": "mutual"}, 8, memory_encoder="per-slot")


def test_processes_and_their_parts_divide_a_step():
    recipe, config = tiny_recipe(optimizer={"batch": 8, "accumulate": 2}), tiny_config(classes=4, memory_frames=3)
    makers = [BatchMaker([train_set()], recipe, config, Shard(rank, 2)) for rank in range(2)]
    parts = [part for each in makers for part in each.parts(5)]
    assert sum((part.files for part in parts), ()) == makers[0].make(5).files
    assert [len(part.labels) for part in parts] == [2, 2, 2, 2]


def test_an_epoch_shows_each_picture_once_however_many_moments_its_clips_have():
    memory = {"form": "mutual", "self_probability": 0.4, "moved_probability": 0.6, "frames_min": 1, "frames_max": 1}
    make = maker(tiny_recipe(memory=memory))
    shown, sizes = [], set()
    for step in range(9):
        made = make.make(step)
        alone = made.memory_pictures[made.memory[0]].tolist() == [0]
        shown += made.files[:: 1 if alone else 2]
        sizes.add(alone)
    assert sizes == {True, False}
    assert len(shown) >= 18
    assert len(set(shown[:6])) == len(set(shown[6:12])) == len(set(shown[12:18])) == 6


def test_a_crop_of_one_class_is_cut_elsewhere_at_the_same_scale(monkeypatch):
    data = train_set()
    shapes = []
    recipe = tiny_recipe(augmentation=RANDOM)
    monkeypatch.setattr("tmaseg.training.augment._MAX_CLASS_FRACTION", 0.01)  # no crop will do
    for tries in (1, 10):
        monkeypatch.setattr("tmaseg.training.augment._TRIES", tries)
        draws = [
            draw_clip(recipe, data, data.samples[0], 0, kind="self", rng=np.random.default_rng(seed))
            for seed in range(9)
        ]
        shapes.append(np.stack([drawn[0].matrix for drawn in draws]))
    free, redrawn = shapes
    assert np.array_equal(free[..., :2], redrawn[..., :2])
    assert len(np.unique(free[:, 0, 0])) == 9  # scales, some of them mirrored
    assert (free[..., 2] != redrawn[..., 2]).any(axis=1).sum() > 5


def set_with_rare_classes():
    """Class 2 is in picture 3 alone, class 3 in picture 5."""
    data = train_set()
    counts = data.counts.copy()
    for index, picture in {2: 3, 3: 5}.items():
        counts[np.arange(6) != picture, index] = 0
    return replace(data, counts=counts)


def test_clips_that_are_not_for_a_rare_class_come_in_their_order():
    data = set_with_rare_classes()
    cut = {"crop": "32x32", "flip": 0.5}
    plain = maker(tiny_recipe(augmentation=cut), data)
    some = maker(tiny_recipe(augmentation={**cut, "rare_class_probability": 0.5}), data)
    same = total = 0
    for step in range(40):
        files, rare = plain.make(step).files, some.make(step).files
        total += len(files)
        same += sum(one == other for one, other in zip(files, rare, strict=True))
    assert 0.45 * total < same < 0.75 * total  # half keep their turn; a sixth of the others draw the same picture


def test_rare_classes_are_drawn_by_the_root_of_their_rarity_and_from_pictures_that_have_them():
    data = set_with_rare_classes()
    drawn = [data.draw_rare(np.random.default_rng(seed)) for seed in range(400)]
    assert {picture for picture, shows in drawn if shows == (3,)} == {5}
    share = np.mean([shows in {(2,), (3,)} for _, shows in drawn])
    rarity = 1 / np.sqrt(data.counts.sum(0))
    assert share == pytest.approx(rarity[2:].sum() / rarity.sum(), abs=0.08)


def test_a_crop_for_a_rare_class_shows_it():
    data = train_set()
    large = tiny_recipe(augmentation={"crop": "32x32", "scale_min": 2.0, "scale_max": 2.0})
    for shows, least, most in (((), 0, 20), ((3,), 35, 40)):
        views = [
            draw_clip(large, data, data.samples[5], 0, kind="self", rng=np.random.default_rng(seed), shows=shows)
            for seed in range(40)
        ]
        assert least <= sum(bool((view.labels(large.augmentation.crop_hw) == 3).any()) for (view,) in views) <= most


def test_own_values_are_hidden_in_their_share_of_the_rows_and_never_without_memory():
    recipe = tiny_recipe(memory={"hide_probability": 0.3})
    rows = torch.cat([maker(recipe).make(step).hidden for step in range(100)])
    assert rows.float().mean().item() == pytest.approx(0.3, abs=0.1)
    assert not maker(recipe, memory_frames=0).make(0).hidden.any()
    assert not maker(tiny_recipe()).make(0).hidden.any()


def test_own_memory_is_the_frame_itself():
    for form in ("clip", "mutual"):
        made = maker(tiny_recipe(memory={"form": form, "self_probability": 1.0, "moved_probability": 0.0})).make(0)
        assert len(made.pictures) == 4
        assert made.memory_pictures[made.memory].tolist() == [[row] * made.memory.shape[1] for row in range(4)]


def test_past_frames_come_oldest_first_in_the_query_s_geometry():
    recipe = tiny_recipe(
        augmentation={"flip": 1.0}, memory={"self_probability": 0.0, "moved_probability": 0.0, "past_probability": 1.0}
    )
    make = maker(recipe)
    for step in range(4):
        made = make.make(step)
        for row, file in enumerate(made.files):
            number = int(file[1:-4])
            assert np.array_equal(made.pictures[row].numpy(), draw_scene(number)[0][:, ::-1])
            memory = made.pictures[made.memory_pictures[made.memory[row]]].numpy()
            for place, back in enumerate((3, 2, 1)):
                if number - back >= 0:  # earlier ones do not exist: a moved copy of the oldest
                    assert np.array_equal(memory[place], draw_scene(number - back)[0][:, ::-1])
            assert number >= 3 or not np.array_equal(memory[0], made.pictures[row].numpy())


def test_random_sampling_takes_different_frames_within_reach():
    memory = {
        "self_probability": 0.0,
        "moved_probability": 0.0,
        "past_probability": 1.0,
        "sampling": "random",
        "past_reach": 5,
    }
    make = maker(tiny_recipe(memory=memory), train_set(30))
    backs = set()
    for step in range(8):
        made = make.make(step)
        for row, file in enumerate(made.files):
            number = int(file[1:-4])
            if number < 5:
                continue
            memory = made.pictures[made.memory_pictures[made.memory[row]]].numpy()
            found = [
                next(back for back in range(1, 6) if np.array_equal(each, draw_scene(number - back)[0]))
                for each in memory
            ]
            assert found == sorted(set(found), reverse=True)
            backs.add(tuple(found))
    assert len(backs) > 3


def test_moved_copies_grow_away_from_the_frame_and_single_pictures_are_moved_too(monkeypatch):
    monkeypatch.setattr("tmaseg.training.augment._SHIFT", 0.05)
    monkeypatch.setattr("tmaseg.training.augment._BRIGHTNESS", 0.0)
    for moved in (1.0, 0.0):
        memory = {"self_probability": 0.0, "moved_probability": moved, "past_probability": 1 - moved}
        recipe = tiny_recipe(memory=memory)
        made = maker(recipe, train_set(alone=True)).make(1)
        memory = made.pictures[made.memory_pictures[made.memory]].float()
        difference = (memory - made.pictures[:4, None].float()).abs().mean((2, 3, 4))  # (B, T), oldest first
        assert (difference[:, -1] > 0.1).all()
        assert difference[:, 0].mean() > difference[:, -1].mean()


def test_moments_of_one_clip_are_memory_of_each_other_and_are_all_labelled():
    memory = {"form": "mutual", "self_probability": 0.0, "moved_probability": 0.5, "past_probability": 0.5}
    recipe = tiny_recipe(memory={**memory, "frames_min": 1, "frames_max": 1})
    made = maker(recipe).make(0)
    assert len(made.pictures) == len(made.labels) == 4
    assert made.memory_pictures[made.memory].tolist() == [[1], [0], [3], [2]]
    assert (made.labels != 255).float().mean() > 0.8
    odd = maker(tiny_recipe(memory={**memory, "frames_min": 2, "frames_max": 2})).make(0)
    assert odd.memory_pictures[odd.memory].tolist() == [
        [1, 2],
        [2, 3],
        [3, 0],
        [0, 1],
    ]  # the last row is not left alone


def test_the_loss_s_stride_takes_every_other_label_at_a_random_phase():
    fine, coarse = (maker(tiny_recipe(loss={"stride": stride})) for stride in (1, 2))
    phases = set()
    for step in range(12):
        whole, halved = fine.make(step).labels, coarse.make(step).labels
        phase = [(y, x) for y in range(2) for x in range(2) if torch.equal(whole[:, y::2, x::2], halved)]
        assert len(phase) == 1
        phases |= set(phase)
    assert len(phases) > 2


def test_void_and_classes_without_counterpart_become_255():
    data = train_set()
    unions = replace(data.unions, members=((0,), (1,), (), (3,)))
    made = maker(data=replace(data, unions=unions)).make(0)
    assert 2 not in made.labels
    assert (made.labels == 255).any()


def test_a_network_without_memory_gets_none():
    made = maker(memory_frames=0).make(0)
    assert made.memory.shape == (4, 0)
    assert len(made.pictures) == 4


# Sampler --------------------------------------------------------------------------------------------------------------

counts = st.lists(st.integers(1, 20), min_size=1, max_size=3)


@given(counts, st.integers(0, 99))
def test_an_epoch_shows_every_picture_once(counts, seed):
    sampler = Sampler(counts, counts, seed=seed)
    pictures = [(data, index) for data, count in enumerate(counts) for index in range(count)]
    for epoch in range(3):
        seen = [sampler[epoch * sampler.epoch + place] for place in range(sampler.epoch)]
        assert sorted(seen) == pictures


@given(st.integers(0, 99))
def test_with_fractions_a_set_goes_through_all_its_pictures_before_one_comes_again(seed):
    sampler = Sampler([5, 30], [0.6, 0.4], seed=seed)
    seen = [sampler[place] for place in range(5 * sampler.epoch)]
    first = [index for data, index in seen if data == 0]
    assert len(first) == 5 * 21
    in_rounds = Counter(first)
    assert max(in_rounds.values()) - min(in_rounds.values()) <= 1
    assert sum(data for data, _ in seen) == 5 * 14


@given(counts, st.integers(0, 99), st.integers(0, 500))
def test_a_place_is_the_same_however_it_is_reached(counts, seed, place):
    sampler = Sampler(counts, counts, seed=seed)
    for before in range(place % 7):
        _ = sampler[before]
    assert sampler[place] == Sampler(counts, counts, seed=seed)[place]


def test_epochs_and_seeds_differ():
    one = Sampler([50], [1], seed=0)
    first, second = [one[place] for place in range(50)], [one[50 + place] for place in range(50)]
    assert first != second
    assert first != [Sampler([50], [1], seed=1)[place] for place in range(50)]
