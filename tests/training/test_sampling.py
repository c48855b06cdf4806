"""The sampler: a function of the index, each picture once a round, each data set its fraction."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tmaseg.training.batches import Sampler

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
