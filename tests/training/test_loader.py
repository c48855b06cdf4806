"""The loader gives steps in order, brings errors to the taker, notices starving, and leaves no thread behind."""

import threading
import time

import pytest

from tmaseg.errors import DataError
from tmaseg.training.loader import Loader


def test_steps_come_in_order_from_the_first_one_asked_for():
    def make(step):
        time.sleep(0.002 * (step % 3))  # threads finish out of order
        return [step]

    with Loader(make, first=7, threads=3) as batches:
        assert [batches.take() for _ in range(20)] == [[step] for step in range(7, 27)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batch")]


def test_an_error_reaches_the_taker_at_its_step():
    def make(step):
        if step == 3:
            raise DataError("3.png: the picture is missing")
        return [step]

    with Loader(make, first=0, threads=2) as batches:
        assert [batches.take() for _ in range(3)] == [[0], [1], [2]]
        with pytest.raises(DataError, match=r"3\.png"):
            batches.take()


def test_waiting_is_noticed():
    with Loader(lambda step: time.sleep(0.02) or [step], first=0, threads=1) as batches:
        for _ in range(15):
            batches.take()
        hungry = batches.starved
    with Loader(lambda step: [step], first=0, threads=1) as batches:
        for _ in range(10):
            batches.take()
            time.sleep(0.01)
        assert batches.starved < hungry
