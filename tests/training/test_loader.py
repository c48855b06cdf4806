import os
import signal
import threading
import time
from contextlib import closing
from itertools import islice
from multiprocessing import active_children

import cv2
import numpy as np
import pytest

from tmaseg.errors import DataError, TrainingError
from tmaseg.training.loader import load_batches

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # from Python 3.12


@pytest.mark.parametrize("to_gpu", [False, True])
def test_loaded_steps_come_in_order_and_no_worker_is_left(to_gpu):
    def make(step):
        time.sleep(0.002 * (step % 3))  # workers finish out of order
        return [step]

    with closing(load_batches(make, first=7, workers=2, to_gpu=to_gpu)) as batches:
        assert list(islice(batches, 20)) == [[step] for step in range(7, 27)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batch")]
    assert not active_children()


@pytest.mark.parametrize("to_gpu", [False, True])
def test_an_error_is_raised_at_its_step_in_its_own_words(to_gpu):
    def make(step):
        if step == 3:
            raise DataError("3.png: the picture is missing")
        return [step]

    with closing(load_batches(make, first=0, workers=2, to_gpu=to_gpu)) as batches:
        assert list(islice(batches, 3)) == [[0], [1], [2]]
        with pytest.raises(DataError, match=r"^3\.png: the picture is missing$"):
            next(batches)
    assert not active_children()


def test_a_process_that_is_killed_is_an_error_in_a_line():
    def make(step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return [step]

    with (
        closing(load_batches(make, first=0, workers=1, to_gpu=True)) as batches,
        pytest.raises(TrainingError, match=r"^a process that makes batches has ended .*shm-size"),
    ):
        list(batches)
    assert not active_children()


@pytest.mark.parametrize("to_gpu", [False, True])
def test_a_fault_in_a_worker_is_not_taken_for_a_worker_that_is_gone(to_gpu):
    def make(step):
        raise RuntimeError("a fault")

    with (
        closing(load_batches(make, first=0, workers=1, to_gpu=to_gpu)) as batches,
        pytest.raises(RuntimeError, match="a fault"),
    ):
        next(batches)


def test_for_a_gpu_processes_make_batches_without_threads_of_opencv():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    cv2.resize(np.zeros((1200, 1600, 3), np.uint8), (800, 600))  # starts them

    def make(step):
        return [(os.getpid(), cv2.getNumThreads())]

    with closing(load_batches(make, first=0, workers=2, to_gpu=True)) as batches:
        made = [part for parts in islice(batches, 4) for part in parts]
    assert {threads for _, threads in made} == {1}
    assert len({process for process, _ in made} | {os.getpid()}) == 3
    assert cv2.getNumThreads() == 2
    cv2.setNumThreads(before)
