"""Looking ahead changes nothing but which thread the backbone runs in; it needs two threads, and gives them back."""

from threading import current_thread

import pytest
import torch
from tiny import noise_frames, short_of_memory, tiny_net

from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels
from tmaseg.model.config import InputGeometry

LABELS = generic_labels(5)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def segmenter_of(**options):
    return Segmenter(tiny_net(), LABELS, detect_cuts=False, **options)


def with_threads(segmenter):
    """The names of the threads that the backbone runs in, as they come."""
    threads, plain = [], segmenter.engine.encode_frame

    def encode_frame(x):
        threads.append((current_thread().name, torch.get_num_threads()))
        return plain(x)

    segmenter.engine.encode_frame = encode_frame
    return threads


def announced(segmenter, frames, skip=()):
    """Each frame announced before the one before it is segmented, but for those to `skip`."""
    found = []
    with segmenter.looking_ahead() as announce:
        for number, frame in enumerate(frames):
            if number + 1 < len(frames) and number + 1 not in skip:
                announce(frames[number + 1])
            found.append(segmenter.step(frame, logits=segmenter.key_frames == 1))
    return found


@pytest.mark.parametrize("skip", [(), (2,), (2, 3)])
def test_the_results_are_those_of_every_frame_in_its_turn(skip):
    frames = [*noise_frames(5, (96, 128)), *noise_frames(3, (64, 96))]  # another size amid them
    segmenter, plain = segmenter_of(smooth=True), segmenter_of(smooth=True)
    threads = with_threads(segmenter)
    for number, (each, frame) in enumerate(zip(announced(segmenter, frames, skip), frames, strict=True)):
        wanted = plain.step(frame, logits=True)
        assert (each.labels == wanted.labels).all()
        assert torch.allclose(each.logits, wanted.logits, atol=1e-5)
        assert each.reset == wanted.reset == (number == 5)
    ahead = [name.startswith("tmaseg-ahead") for name, _ in threads]
    assert sum(ahead) == len(frames) - 1 - len(skip)
    assert {count for _, count in threads} == {1}


def test_a_frame_that_was_announced_and_not_taken_is_forgotten():
    frames = noise_frames(6, (64, 96))
    segmenter, plain = segmenter_of(), segmenter_of()
    with segmenter.looking_ahead() as announce:
        for number in (0, 2, 4):
            announce(frames[number + 1])
            assert (segmenter.step(frames[number]).labels == plain.step(frames[number]).labels).all()


def test_what_goes_wrong_ahead_is_raised_at_its_frame():
    frames = noise_frames(4, (64, 96))
    segmenter = segmenter_of()
    plain = segmenter.engine.encode_frame

    def encode_frame(x):
        if current_thread().name.startswith("tmaseg-ahead"):
            raise ValueError("a fault")
        return plain(x)

    segmenter.engine.encode_frame = encode_frame
    with segmenter.looking_ahead() as announce:
        announce(frames[1])
        segmenter.step(frames[0])
        with pytest.raises(ValueError, match="a fault"):
            segmenter.step(frames[1])


def test_a_shortage_ahead_makes_frames_smaller_as_any_does():
    frames = noise_frames(4, (240, 360))
    segmenter, smaller = segmenter_of(), segmenter_of(geometry=InputGeometry(size=135))
    assert (segmenter.step(frames[0]).labels == segmenter_of().step(frames[0]).labels).all()
    short_of_memory(segmenter, 140 * 210)
    found = announced(segmenter, frames[1:])
    assert [each.reset for each in found] == [True, False, False]
    for frame, each in zip(frames[1:], found, strict=True):
        assert (each.labels == smaller.step(frame).labels).all()


@pytest.mark.parametrize(("options", "threads"), [({}, 1), ({}, 3), ({"key_frames": 2}, 2), ({"window": 64}, 2)])
def test_where_it_does_not_pay_every_frame_has_its_turn(options, threads):
    frames = noise_frames(3, (96, 128))
    geometry = InputGeometry(window=options.pop("window", None))
    segmenter = segmenter_of(geometry=geometry, **options)
    ran_in = with_threads(segmenter)
    torch.set_num_threads(threads)
    announced(segmenter, frames)
    assert {name for name, _ in ran_in} == {current_thread().name}
    torch.set_num_threads(2)


def test_it_takes_the_place_of_compiling(monkeypatch):
    segmenter = segmenter_of(compile="auto")
    monkeypatch.setattr("tmaseg.inference.engine.repays", lambda *_, **__: True)
    monkeypatch.setattr(segmenter.engine, "compile", lambda: pytest.fail("it compiles"))
    with segmenter.looking_ahead():
        segmenter.expect(1000)
        for frame in noise_frames(7, (64, 96)):
            segmenter.step(frame)
