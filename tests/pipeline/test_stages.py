"""Order, overlap, failure and interruption, with stages that are simple enough to see through."""

import threading
import time
from fractions import Fraction

import numpy as np
import pytest
import torch

from tmaseg.model.transfer import Arrival
from tmaseg.pipeline import Output, segment
from tmaseg.stream import Segmentation
from tmaseg.video.frame import Frame


class BoomError(Exception):
    pass


def frames(count, *, fail_at=None):
    for index in range(count):
        if index == fail_at:
            raise BoomError("source")
        yield Frame(np.full((2, 3, 3), index % 256, np.uint8), index, Fraction(1, 25), index, fresh=index == 5)


class Stepper:
    def __init__(self, *, fail_at=None, error=None):
        self.memory_resets, self.seen, self.fail_at, self.error = 0, [], fail_at, error

    def step(self, rgb, *, seconds=None, fresh=False):
        index = round(seconds * 25)
        if index == self.fail_at:
            raise self.error or BoomError("model")
        self.seen.append(index)
        self.memory_resets += fresh
        return Segmentation(Arrival(torch.from_numpy(rgb[..., 0] + 1)), None, fresh)


class Recorder:
    """An output that keeps what it got."""

    def __init__(self, *, fail_at=None, slow=0.0):
        self.rows, self.fail_at, self.slow = [], fail_at, slow

    def write(self, frame, labels):
        if frame.index == self.fail_at:
            raise BoomError("output")
        time.sleep(self.slow)
        self.rows.append((frame.index, int(frame.rgb[0, 0, 0]), int(labels[0, 0])))


@pytest.fixture(autouse=True)
def _no_thread_survives():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_every_frame_reaches_every_output_in_order():
    plain, painted, counted = Recorder(), Recorder(), []
    outputs = [
        Output(plain.write),
        Output(painted.write, render=lambda frame, labels: frame.with_rgb(frame.rgb + 100)),
    ]
    stepper = Stepper()
    outcome = segment(frames(50), stepper, outputs, progress=counted.append)
    assert plain.rows == [(index, index, index + 1) for index in range(50)]
    assert painted.rows == [(index, index + 100, index + 1) for index in range(50)]
    assert counted == list(range(1, 51))
    assert (outcome.frames, outcome.interrupted, outcome.memory_resets) == (50, False, 1)
    assert set(outcome.stages) == {"decode", "model", "render", "encode"}


def test_no_frames_is_no_error():
    assert segment(iter(()), Stepper(), [Output(Recorder().write)]).frames == 0


@pytest.mark.parametrize("at", [0, 3, 30])
@pytest.mark.parametrize("stage", ["source", "model", "output"])
def test_a_failure_in_any_stage_stops_all_and_is_raised_as_it_is(stage, at):
    """With more frames than the queues hold on either side of the failure: nobody may wait for good."""
    recorder = Recorder(fail_at=at if stage == "output" else None)
    source = frames(60, fail_at=at if stage == "source" else None)
    stepper = Stepper(fail_at=at if stage == "model" else None)
    with pytest.raises(BoomError, match=stage):
        segment(source, stepper, [Output(recorder.write)])
    assert len(recorder.rows) <= at
    assert recorder.rows == [(index, index, index + 1) for index in range(len(recorder.rows))]


def test_a_failure_in_rendering_is_raised_and_nothing_is_written_for_it():
    recorder = Recorder()

    def render(frame, labels):
        raise BoomError("render")

    with pytest.raises(BoomError, match="render"):
        segment(frames(40), Stepper(), [Output(recorder.write, render=render)])
    assert recorder.rows == []


def test_a_failing_output_stops_a_source_that_never_ends():
    def endless():
        while True:
            yield from frames(100)

    with pytest.raises(BoomError, match="output"):
        segment(endless(), Stepper(), [Output(Recorder(fail_at=7).write)])


def test_ctrl_c_finishes_the_frames_already_segmented():
    recorder = Recorder(slow=0.002)
    stepper = Stepper(fail_at=20, error=KeyboardInterrupt())
    outcome = segment(frames(1000), stepper, [Output(recorder.write)])
    assert outcome.interrupted
    assert outcome.frames == 20
    assert [row[0] for row in recorder.rows] == list(range(20))


def test_ctrl_c_while_waiting_for_a_slow_source():
    """A real signal, while the main thread waits in a queue."""
    recorder = Recorder()

    def slow():
        yield from frames(3)
        threading.Timer(0.05, lambda: __import__("_thread").interrupt_main()).start()
        time.sleep(0.5)
        yield from frames(3)

    outcome = segment(slow(), Stepper(), [Output(recorder.write)])
    assert outcome.interrupted
    assert [row[0] for row in recorder.rows] == [0, 1, 2]


def test_told_to_stop_it_finishes_the_frames_already_segmented():
    recorder, stepper = Recorder(slow=0.002), Stepper()
    outcome = segment(frames(1000), stepper, [Output(recorder.write)], stop=lambda: len(stepper.seen) == 20)
    assert (outcome.interrupted, outcome.frames) == (True, 20)
    assert [row[0] for row in recorder.rows] == list(range(20))


def test_told_to_stop_while_the_source_is_silent():
    silence, recorder = threading.Event(), Recorder()

    def source():
        yield from frames(3)
        silence.wait(10)

    def stop():
        if len(recorder.rows) == 3:
            silence.set()
        return len(recorder.rows) == 3

    outcome = segment(source(), Stepper(), [Output(recorder.write)], stop=stop)
    assert (outcome.interrupted, outcome.frames) == (True, 3)


def test_the_source_is_never_far_ahead():
    """Bounded queues: a slow output holds the source back, whatever the length."""
    given = 0

    def counting():
        nonlocal given
        for frame in frames(200):
            given += 1
            yield frame

    ahead = []

    def write(frame, labels):
        time.sleep(0.001)
        ahead.append(given - frame.index)

    segment(counting(), Stepper(), [Output(write)])
    assert max(ahead) <= 14


def test_stages_overlap():
    """Each stage waits until the stage before it is at work on the next frame: one after the other they never would."""
    count = 20
    decoding, segmenting = ([threading.Event() for _ in range(count + 1)] for _ in range(2))

    def source():
        for frame in frames(count):
            decoding[frame.index].set()
            yield frame
        decoding[count].set()

    class Waiting(Stepper):
        def step(self, rgb, *, seconds=None, **options):
            index = round(seconds * 25)
            segmenting[index].set()
            assert decoding[index + 1].wait(10)
            return super().step(rgb, seconds=seconds, **options)

    def write(frame, labels):
        assert frame.index == count - 1 or segmenting[frame.index + 1].wait(10)

    assert segment(source(), Waiting(), [Output(write)]).frames == count
