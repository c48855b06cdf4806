"""Loader: batches made ahead of time, by threads for a CPU and by processes for a GPU."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from tmaseg.errors import TmasegError, TrainingError
from tmaseg.training.batches import Batch

Make = Callable[[int], list[Batch]]  # a step -> its parts
Batches = Generator[list[Batch], None, None]

_STEPS_AHEAD = 2  # beyond those being made
_STEPS = 2**40  # more than a run has


def load_batches(make: Make, *, first: int, workers: int, to_gpu: bool = False) -> Batches:
    """The parts of each step from `first` on, made ahead; raises what `make` raises, at its step.

    `to_gpu`: they are made by processes, where the system can fork any, and pinned. Raises TrainingError when one ends.
    """
    # Threads in Python keep the thread that launches a GPU's kernels waiting for the interpreter's lock.
    forks = to_gpu and "fork" in multiprocessing.get_all_start_methods()
    load = _by_processes if forks else _by_threads
    cv2_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # OpenCV's own would compete with the workers; a forked process cannot stop them
    try:
        for parts in load(make, first, workers):
            yield [part.pin_memory() for part in parts] if to_gpu and not forks else parts
    finally:
        cv2.setNumThreads(cv2_threads)


def _by_threads(make: Make, first: int, threads: int) -> Batches:
    # OpenCV's and NumPy's work releases the interpreter's lock.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batch")
    try:
        pending = deque(pool.submit(make, step) for step in range(first, first + threads + _STEPS_AHEAD))
        for step in count(first + len(pending)):
            parts = pending.popleft().result()
            pending.append(pool.submit(make, step))
            yield parts
    finally:
        pool.shutdown(cancel_futures=True)


def _by_processes(make: Make, first: int, processes: int) -> Batches:
    loader = DataLoader(
        _Steps(make),
        batch_size=None,
        sampler=range(first, _STEPS),
        num_workers=processes,
        collate_fn=_as_it_is,
        worker_init_fn=_begin_worker,
        multiprocessing_context="fork",  # they share the pictures that are in memory
        pin_memory=torch.accelerator.is_available(),
    )
    made = iter(loader)
    try:
        while True:
            parts = next(made)
            if isinstance(parts, TmasegError):
                raise parts
            yield parts
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):  # then it is a fault of ours
            raise
        raise TrainingError(
            f"a process that makes batches has ended ({str(error).splitlines()[0]}): where memory or shared memory ran "
            "out, lower threads or batch, or give a container more (docker run --shm-size 8g)"
        ) from error
    finally:
        del made  # its processes end with it


class _Steps(Dataset[list[Batch] | TmasegError]):
    """The parts of each step, or why they cannot be made: the loader would put a trace into the message."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def __getitem__(self, step: int) -> list[Batch] | TmasegError:
        try:
            return self._make(step)
        except TmasegError as error:
            return error


def _as_it_is(parts: list[Batch]) -> list[Batch]:
    return parts


def _begin_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run decides when it ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
