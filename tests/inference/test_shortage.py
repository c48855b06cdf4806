"""What happens when memory runs out: compiling goes first, then size; it is said once, and nothing else changes."""

from types import SimpleNamespace

import pytest
import torch
from tiny import noise_frames, short_of_memory, tiny_net

from tmaseg.errors import ShortageError
from tmaseg.inference.device import is_out_of_memory
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels
from tmaseg.model.config import InputGeometry

LABELS = generic_labels(5)


def segmenter_of(**options):
    return Segmenter(tiny_net(), LABELS, detect_cuts=False, **options)


def test_a_shortage_makes_frames_smaller_and_goes_on():
    frames = noise_frames(4, (240, 360))
    segmenter = short_of_memory(segmenter_of(), 140 * 210)
    found = [segmenter.step(frame) for frame in frames]
    assert segmenter.warnings == (
        "memory is short: frames are fed to the network at a short side of 135 instead of 240",
    )
    smaller = segmenter_of(geometry=InputGeometry(size=135))
    for frame, each in zip(frames, found, strict=True):
        assert each.labels.shape == (240, 360)
        assert (each.labels == smaller.step(frame).labels).all()
        assert not each.reset


def test_a_shortage_amid_a_video_shows_that_the_memory_was_emptied():
    frames = noise_frames(5, (240, 360))
    segmenter = segmenter_of()
    found = [segmenter.step(frame) for frame in frames[:3]]
    short_of_memory(segmenter, 140 * 210)
    found += [segmenter.step(frame) for frame in frames[3:]]
    assert [each.reset for each in found] == [False, False, False, True, False]
    assert segmenter.memory_resets == 1
    smaller = segmenter_of(geometry=InputGeometry(size=135))
    for frame, each in zip(frames[3:], found[3:], strict=True):
        assert (each.labels == smaller.step(frame).labels).all()


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Compiles nothing, but counts what was asked of it; while `short`, every `nth` call runs out of memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state = SimpleNamespace(short=False, nth=3, compiled=0, freed=0, calls=0)

    def compiled(function, _):
        state.compiled += 1

        def call(*arguments):
            state.calls += 1
            if state.short and state.calls % state.nth == 0:
                raise MemoryError
            return function(*arguments)

        return call

    def free():
        state.freed += 1

    monkeypatch.setattr("tmaseg.inference.engine.compiled", compiled)
    monkeypatch.setattr("torch.compiler.reset", free)
    return state


@pytest.mark.parametrize("changes", [{}, {"self_in_memory": True}], ids=str)
@pytest.mark.parametrize("geometry", [None, InputGeometry(window=64, stride=32)], ids=["at once", "in windows"])
@pytest.mark.parametrize(("at", "nth"), [(0, 2), (0, 3), (3, 2), (3, 3), (4, 5)])
def test_a_shortage_takes_compiling_first_and_changes_nothing_else(compiler, changes, geometry, at, nth):
    """Wherever in a frame it happens, in the second window too: the memory is not emptied."""
    frames = noise_frames(7, (64, 96))
    plain = Segmenter(tiny_net(**changes), LABELS, detect_cuts=False, geometry=geometry)
    segmenter = Segmenter(
        tiny_net(**changes), LABELS, detect_cuts=False, geometry=geometry, compile="on", may_shrink=False
    )
    for index, frame in enumerate(frames):
        compiler.short, compiler.nth = index >= at, nth
        got, want = segmenter.step(frame, logits=True), plain.step(frame, logits=True)
        torch.testing.assert_close(got.logits, want.logits)
        assert not got.reset
        assert segmenter.engine.compiled or index >= at
    assert segmenter.warnings == ("memory is short: it goes on without compiling",)
    assert (compiler.compiled, compiler.freed) == (3, 1)
    segmenter.reset()
    assert segmenter.engine.compiled
    assert not segmenter.warnings


def test_a_new_video_begins_as_it_was_wanted():
    segmenter = short_of_memory(segmenter_of(), 150 * 200)
    segmenter.step(noise_frames(1, (240, 320))[0])
    assert segmenter.warnings
    segmenter.reset()
    assert not segmenter.warnings
    segmenter.step(noise_frames(1, (96, 96))[0])
    assert not segmenter.warnings


@pytest.mark.parametrize(
    ("options", "size_hw", "side"),
    [({"may_shrink": False}, (240, 320), 240), ({}, (240, 320), 135), ({}, (96, 128), 96)],
)
def test_where_nothing_more_may_be_given_up_the_error_says_what_to_do(options, size_hw, side):
    segmenter = short_of_memory(segmenter_of(**options), 1000)
    with pytest.raises(
        ShortageError, match=f"{size_hw[1]}x{size_hw[0]}.* short side of {side}: lower --size or --memory"
    ):
        segmenter.step(noise_frames(1, size_hw)[0])


def test_other_errors_pass():
    segmenter = segmenter_of()
    segmenter.engine.encode_frame = lambda x: (_ for _ in ()).throw(RuntimeError("mat1 and mat2 do not fit"))
    with pytest.raises(RuntimeError, match="do not fit"):
        segmenter.step(noise_frames(1, (64, 64))[0])
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert is_out_of_memory(MemoryError())
