"""Order, overlap, failure and interruption, with stages that are simple enough to see through."""

import threading
import time
from fractions import Fraction

import numpy as np
import pytest
import torch

from tmaseg.inference.device import HostCopy
from tmaseg.inference.frame_segmenter import Segmentation
from tmaseg.pipeline.stages import Output, segment
from tmaseg.video.source import Frame


class BoomError(Exception):
    pass


def frames(count, *, fail_at=None):
    for index in range(count):
        if index == fail_at:
            raise BoomError("source")
        yield Frame(np.full((2, 3, 3), index % 256, np.uint8), index, Fraction(1, 25), index, discontinuity=index == 5)


class Stepper:
    def __init__(self, *, fail_at=None, error=None):
        self.memory_resets, self.seen, self.fail_at, self.error = 0, [], fail_at, error

    def step(self, rgb, *, seconds=None, discontinuity=False):
        index = round(seconds * 25)
        if index == self.fail_at:
            raise self.error or BoomError("model")
        self.seen.append(index)
        self.memory_resets += discontinuity
        return Segmentation(HostCopy(torch.from_numpy(rgb[..., 0] + 1)), None, discontinuity)


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
    outcome = segment(frames(50), stepper.step, outputs, progress=counted.append)
    assert plain.rows == [(index, index, index + 1) for index in range(50)]
    assert painted.rows == [(index, index + 100, index + 1) for index in range(50)]
    assert counted == list(range(1, 51))
    assert (outcome.frames, outcome.interrupted, stepper.memory_resets) == (50, False, 1)
    assert set(outcome.stages) == {"decode", "model", "render", "encode"}


def test_a_frame_that_is_read_already_is_announced_right_before_the_one_before_it():
    events, read = [], threading.Event()

    def source():
        yield from frames(3)
        read.set()

    class Listener(Stepper):
        def step(self, rgb, **about):
            assert read.wait(5)
            events.append(("step", id(rgb)))
            return super().step(rgb, **about)

    segment(source(), Listener().step, [], look_ahead=lambda rgb: events.append(("announced", id(rgb))))
    order = [each for kind, each in events if kind == "step"]
    assert len(order) == 3
    last = ("announced", order[2])
    assert events[events.index(last) + 1 :] == [("step", order[1]), ("step", order[2])]  # the first may be too early
    assert events[0] in (("step", order[0]), ("announced", order[1]))


def test_no_frames_is_no_error():
    assert segment(iter(()), Stepper().step, [Output(Recorder().write)]).frames == 0


@pytest.mark.parametrize("at", [0, 3, 30])
@pytest.mark.parametrize("stage", ["source", "model", "output"])
def test_a_failure_in_any_stage_stops_all_and_is_raised_as_it_is(stage, at):
    """With more frames than the queues hold on either side of the failure: nobody may wait for good."""
    recorder = Recorder(fail_at=at if stage == "output" else None)
    source = frames(60, fail_at=at if stage == "source" else None)
    stepper = Stepper(fail_at=at if stage == "model" else None)
    with pytest.raises(BoomError, match=stage):
        segment(source, stepper.step, [Output(recorder.write)])
    assert len(recorder.rows) <= at
    assert recorder.rows == [(index, index, index + 1) for index in range(len(recorder.rows))]


@pytest.mark.parametrize("at", [0, 3, 30])
def test_a_failure_in_rendering_is_raised_and_nothing_is_written_for_it(at):
    recorder, other = Recorder(), Recorder(slow=0.002)

    def render(frame, labels):
        if frame.index == at:
            raise BoomError("render")
        return frame

    with pytest.raises(BoomError, match="render"):
        segment(frames(60), Stepper().step, [Output(recorder.write, render=render), Output(other.write)])
    assert all(len(each.rows) <= at for each in (recorder, other))


@pytest.mark.parametrize("slow", [0, 1])
def test_a_failing_output_stops_one_that_does_not_fail(slow):
    """Whether the other one is ahead of it or behind, by no more than what may wait."""
    failing, other = Recorder(fail_at=9, slow=0.005 * slow), Recorder(slow=0.005 * (1 - slow))
    with pytest.raises(BoomError, match="output"):
        segment(frames(100), Stepper().step, [Output(failing.write), Output(other.write)])
    assert [row[0] for row in failing.rows] == list(range(9))
    assert [row[0] for row in other.rows] == list(range(len(other.rows)))
    assert len(other.rows) <= 9 + 5


def test_a_failing_output_stops_a_source_that_never_ends():
    def endless():
        while True:
            yield from frames(100)

    with pytest.raises(BoomError, match="output"):
        segment(endless(), Stepper().step, [Output(Recorder(fail_at=7).write)])


def test_ctrl_c_finishes_the_frames_already_segmented():
    recorder = Recorder(slow=0.002)
    stepper = Stepper(fail_at=20, error=KeyboardInterrupt())
    outcome = segment(frames(1000), stepper.step, [Output(recorder.write)])
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

    outcome = segment(slow(), Stepper().step, [Output(recorder.write)])
    assert outcome.interrupted
    assert [row[0] for row in recorder.rows] == [0, 1, 2]


def test_ctrl_c_while_the_outputs_are_finished_is_raised():
    """A real signal, when all frames are segmented and the main thread waits for the outputs."""
    ended, slow, quick = threading.Event(), Recorder(), Recorder()

    def source():
        yield from frames(3)
        ended.set()

    def write(frame, labels):
        if frame.index == 2:
            assert ended.wait(10)
            time.sleep(0.3)  # the main thread sees the end of the source
            __import__("_thread").interrupt_main()
            time.sleep(0.1)
        slow.write(frame, labels)

    with pytest.raises(KeyboardInterrupt):
        segment(source(), Stepper().step, [Output(write), Output(quick.write)])
    assert [row[0] for row in slow.rows] == [row[0] for row in quick.rows] == [0, 1, 2]


def test_told_to_stop_it_finishes_the_frames_already_segmented():
    recorder, stepper = Recorder(slow=0.002), Stepper()
    outcome = segment(frames(1000), stepper.step, [Output(recorder.write)], stop=lambda: len(stepper.seen) == 20)
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

    outcome = segment(source(), Stepper().step, [Output(recorder.write)], stop=stop)
    assert (outcome.interrupted, outcome.frames) == (True, 3)


def test_nothing_is_far_ahead():
    """Bounded queues: a slow output holds back the source and what is painted for the others, whatever the length."""
    given = painted = 0

    def counting():
        nonlocal given
        for frame in frames(200):
            given += 1
            yield frame

    def render(frame, labels):
        nonlocal painted
        painted += 1
        return frame

    ahead, painted_ahead = [], []

    def write(frame, labels):
        time.sleep(0.001)
        ahead.append(given - frame.index)
        painted_ahead.append(painted - frame.index)

    segment(counting(), Stepper().step, [Output(write), Output(Recorder().write, render=render)])
    assert max(ahead) <= 13
    assert max(painted_ahead) <= 4


def test_stages_overlap():
    """Each stage waits until the stage before it is at work on the next frame: one after the other they never would."""
    count = 20
    decoding, segmenting, painting = ([threading.Event() for _ in range(count + 1)] for _ in range(3))

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

    def render(frame, labels):
        painting[frame.index].set()
        assert frame.index == count - 1 or segmenting[frame.index + 1].wait(10)
        return frame

    def write(frame, labels):
        assert frame.index == count - 1 or painting[frame.index + 1].wait(10)

    assert segment(source(), Waiting().step, [Output(write, render=render)]).frames == count


def test_outputs_are_written_at_once():
    """Each waits at every frame until the other is there, too."""
    meeting = threading.Barrier(2, timeout=10)

    def write(frame, labels):
        meeting.wait()

    assert segment(frames(10), Stepper().step, [Output(write), Output(write)]).frames == 10


def test_time_is_told_by_stage_over_all_outputs_without_the_waiting_for_others():
    def render(frame, labels):
        time.sleep(0.001)
        return frame

    slow = Output(lambda frame, labels: time.sleep(0.1))
    stages = segment(frames(10), Stepper().step, [slow, Output(slow.write, render=render)]).stages
    assert 0.01 <= stages["render"] < 0.5  # it waits for 0.7 s
    assert stages["encode"] >= 2 * 10 * 0.1
