"""The clock: stamps are the container's own, and always rise."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tmaseg.video.source import Clock

RATES = st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(240)])
UNITS = st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), Fraction(1, 25), Fraction(1001, 30000)])


@given(st.lists(st.integers(-(10**9), 10**12), unique=True), UNITS, RATES)
def test_rising_stamps_are_kept(pts, unit, rate):
    clock = Clock(unit, rate)
    assert [clock.stamp(stamp) for stamp in sorted(pts)] == [(stamp, False) for stamp in sorted(pts)]
    assert clock.irregular == 0


@given(st.lists(st.none() | st.integers(-(10**6), 10**6)), UNITS, RATES)
def test_any_stamps_give_rising_ones(pts, unit, rate):
    clock = Clock(unit, rate)
    given = [clock.stamp(stamp)[0] for stamp in pts]
    assert all(before < after for before, after in pairwise(given))


@given(st.integers(1, 5000), RATES)
def test_made_up_stamps_do_not_drift(count, rate):
    clock = Clock(Fraction(1, 90000), rate)
    last = [clock.stamp(None)[0] for _ in range(count)][-1]
    assert abs(Fraction(last, 90000) - (count - 1) / rate) <= Fraction(1, 90000)


def test_a_clock_set_back_goes_on_without_a_hole():
    clock = Clock(Fraction(1, 1000), Fraction(25))
    stamps = [clock.stamp(pts) for pts in (100_000, 100_040, 0, 40, 80)]
    assert stamps == [(100_000, False), (100_040, False), (100_080, True), (100_120, False), (100_160, False)]
