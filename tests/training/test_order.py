"""The order of pictures: a function of the place, each picture once a round, each data set its share."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tmaseg.training.order import Order
from tmaseg.training.recipe import Descent
from tmaseg.training.schedule import Clock

counts = st.lists(st.integers(1, 20), min_size=1, max_size=3)


@given(counts, st.integers(0, 99))
def test_an_epoch_shows_every_picture_once(counts, seed):
    order = Order(counts, counts, seed=seed)
    pictures = [(data, index) for data, count in enumerate(counts) for index in range(count)]
    for epoch in range(3):
        seen = [order[epoch * order.epoch + place] for place in range(order.epoch)]
        assert sorted(seen) == pictures


@given(st.integers(0, 99))
def test_with_shares_a_set_goes_through_all_its_pictures_before_one_comes_again(seed):
    order = Order([5, 30], [0.6, 0.4], seed=seed)
    seen = [order[place] for place in range(5 * order.epoch)]
    first = [index for data, index in seen if data == 0]
    assert len(first) == 5 * 21
    in_rounds = Counter(first)
    assert max(in_rounds.values()) - min(in_rounds.values()) <= 1
    assert sum(data for data, _ in seen) == 5 * 14


@given(counts, st.integers(0, 99), st.integers(0, 500))
def test_a_place_is_the_same_however_it_is_reached(counts, seed, place):
    order = Order(counts, counts, seed=seed)
    for before in range(place % 7):
        _ = order[before]
    assert order[place] == Order(counts, counts, seed=seed)[place]


def test_epochs_and_seeds_differ():
    one = Order([50], [1], seed=0)
    first, second = [one[place] for place in range(50)], [one[50 + place] for place in range(50)]
    assert first != second
    assert first != [Order([50], [1], seed=1)[place] for place in range(50)]


@given(
    st.sampled_from(["poly", "cosine"]), st.integers(2, 200), st.integers(0, 50), st.floats(0, 1e-3), st.floats(0.3, 2)
)
def test_the_rate_rises_in_the_warm_up_then_falls_to_its_end(decline, steps, warmup, lr_end, power):
    descent = Descent(decline=decline, steps=steps, warmup=warmup, lr=0.01, lr_end=lr_end, power=power)
    clock = Clock(descent)
    rates = [clock.rate(step, clock.progress(step, 0)) for step in range(steps)]
    peak = 0.01 * (1 / warmup if warmup else 1)
    assert abs(rates[0] - peak) < 1e-9
    warm = min(warmup, math.ceil(steps / 10))
    assert rates[:warm] == sorted(rates[:warm])
    after = rates[warm:]
    assert after == sorted(after, reverse=True)
    assert all(0 <= rate <= 0.01 + 1e-12 for rate in rates)
    assert clock.progress(steps, 0) == 1
    assert abs(clock.rate(10**9, 1.0) - lr_end) < 1e-12


def test_poly_is_the_papers_formula_and_time_stands_in_for_steps():
    clock = Clock(Descent(steps=80_000, lr=0.01))
    assert clock.rate(20_000, clock.progress(20_000, 5)) == 0.01 * 0.75**0.9
    timed = Clock(Descent(minutes=10, lr=0.01))
    assert timed.progress(5, 150) == 0.25
    assert timed.rate(5, timed.progress(5, 150)) == 0.01 * 0.75**0.9
    assert timed.progress(5, 700) == 1
    assert timed.seconds_left(5, 150, (0, 0)) == 450
    assert clock.seconds_left(100, 60, (40, 30)) == (80_000 - 100) / 2
