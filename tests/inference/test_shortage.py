"""What happens when memory is short: less is looked at, it is said once, and nothing else changes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import noise_frames, tiny_config, tiny_net

from tmaseg.errors import ConfigError, ShortageError
from tmaseg.files import resident_mb
from tmaseg.inference.economy import Thrift, Viewing, is_shortage
from tmaseg.inference.footprint import step_megabytes
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels
from tmaseg.model.checkpoint import View

LABELS = generic_labels(5)


def short_of_memory(segmenter, most_pixels):
    """Lets the network fail on larger inputs as torch fails on the CPU."""
    plain = segmenter.engine.look

    def look(x):
        if x.shape[-1] * x.shape[-2] > most_pixels:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
        return plain(x)

    segmenter.engine.look = look
    return segmenter


def test_a_shortage_makes_frames_smaller_and_goes_on():
    frames = noise_frames(4, (160, 240))
    segmenter = short_of_memory(Segmenter(tiny_net(), LABELS, thrift=Thrift(), detect_cuts=False), 110 * 170)
    seen = [segmenter.step(frame).labels for frame in frames]
    assert segmenter.warnings == ("memory is short: frames are seen at a short side of 102 instead of 160",)
    smaller = Segmenter(tiny_net(), LABELS, view=View(size=102), detect_cuts=False)
    for frame, labels in zip(frames, seen, strict=True):
        assert (labels == smaller.step(frame).labels).all()


def test_a_shortage_amid_a_video_shows_that_the_memory_was_emptied():
    frames = noise_frames(5, (160, 240))
    segmenter = Segmenter(tiny_net(), LABELS, thrift=Thrift(), detect_cuts=False)
    seen = [segmenter.step(frame) for frame in frames[:3]]
    short_of_memory(segmenter, 110 * 170)
    seen += [segmenter.step(frame) for frame in frames[3:]]
    assert [each.reset for each in seen] == [False, False, False, True, False]
    assert segmenter.memory_resets == 1
    smaller = Segmenter(tiny_net(), LABELS, view=View(size=102), detect_cuts=False)
    for frame, each in zip(frames[3:], seen[3:], strict=True):
        assert (each.labels == smaller.step(frame).labels).all()


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Compiles nothing, but says what was asked of it; while `short`, every `nth` call runs out of memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state = SimpleNamespace(short=False, nth=2, compiled=0, freed=0, calls=0)

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
    monkeypatch.setattr("tmaseg.inference.engine.free_compiled", free)
    return state


@pytest.mark.parametrize("thrift", [None, Thrift()])
@pytest.mark.parametrize("at", [0, 3])
def test_a_shortage_takes_compiling_first_and_changes_no_label(compiler, thrift, at):
    frames = noise_frames(7, (64, 96))
    plain = Segmenter(tiny_net(), LABELS, detect_cuts=False)
    segmenter = Segmenter(tiny_net(), LABELS, detect_cuts=False, thrift=thrift, compiling="on")
    for index, frame in enumerate(frames):
        compiler.short = index == at
        got, want = segmenter.step(frame, logits=True), plain.step(frame, logits=True)
        torch.testing.assert_close(got.logits, want.logits)
        assert not got.reset
        assert segmenter.engine.compiled == (index < at)
    assert segmenter.warnings == ("memory is short: it goes on without compiling",)
    assert (compiler.compiled, compiler.freed) == (2, 1)
    segmenter.reset()
    assert segmenter.engine.compiled
    assert not segmenter.warnings


def test_windows_of_which_some_hold_a_frame_already_forget_all(compiler):
    frames, view = noise_frames(6, (64, 96)), View(window=64, stride=32)
    segmenter = Segmenter(tiny_net(), LABELS, detect_cuts=False, view=view, compiling="on")
    plain = Segmenter(tiny_net(), LABELS, detect_cuts=False, view=view)
    for index, frame in enumerate(frames):
        if index == 3:
            plain.reset()
            compiler.short, compiler.nth = True, 4  # looks and answers: the second window's answer
        got, want = segmenter.step(frame, logits=True), plain.step(frame, logits=True)
        torch.testing.assert_close(got.logits, want.logits)
        assert got.reset == (index == 3)
    assert segmenter.memory_resets == 1


def test_a_new_video_begins_as_it_was_wanted():
    segmenter = short_of_memory(Segmenter(tiny_net(), LABELS, thrift=Thrift()), 110 * 170)
    segmenter.step(noise_frames(1, (160, 240))[0])
    assert segmenter.warnings
    segmenter.reset()
    assert not segmenter.warnings
    segmenter.step(noise_frames(1, (96, 96))[0])
    assert not segmenter.warnings


def test_where_nothing_may_be_given_up_the_error_says_what_to_do():
    segmenter = short_of_memory(Segmenter(tiny_net(), LABELS), 1000)
    with pytest.raises(ShortageError, match="240x160: lower --size or --memory"):
        segmenter.step(noise_frames(1, (160, 240))[0])


def test_at_the_bottom_it_ends():
    segmenter = short_of_memory(Segmenter(tiny_net(), LABELS, thrift=Thrift()), 1000)
    with pytest.raises(ShortageError, match="short side of 96 with 1 past frames"):
        segmenter.step(noise_frames(1, (160, 240))[0])


def test_other_errors_pass():
    segmenter = Segmenter(tiny_net(), LABELS, thrift=Thrift())
    segmenter.engine.look = lambda x: (_ for _ in ()).throw(RuntimeError("mat1 and mat2 do not fit"))
    with pytest.raises(RuntimeError, match="do not fit"):
        segmenter.step(noise_frames(1, (64, 64))[0])
    assert is_shortage(torch.OutOfMemoryError())
    assert is_shortage(MemoryError())


def test_a_limit_is_kept_by_looking_at_smaller_frames():
    size_hw = (1080, 1920)
    config = tiny_config()
    whole = Viewing(View(), 3).megabytes(config, torch.float32, size_hw)
    limit = resident_mb() + 0.6 * whole
    segmenter = Segmenter(tiny_net(), LABELS, thrift=Thrift(limit))
    segmenter.step(np.zeros((*size_hw, 3), np.uint8))
    (warning,) = segmenter.warnings
    assert "instead of 1080" in warning
    with pytest.raises(ShortageError, match="--max-memory is 5 MB, but frames of 1920x1080 need about"):
        Segmenter(tiny_net(), LABELS, thrift=Thrift(5)).step(np.zeros((*size_hw, 3), np.uint8))
    with pytest.raises(ConfigError, match="--max-memory is 0"):
        Thrift(0)


def test_a_limit_holds_for_the_next_video_as_for_the_first():
    frame = np.zeros((1080, 1920, 3), np.uint8)
    whole = Viewing(View(), 3).megabytes(tiny_config(), torch.float32, frame.shape[:2])
    segmenter = Segmenter(tiny_net(), LABELS, thrift=Thrift(resident_mb() + 1.5 * whole))
    segmenter.step(frame)
    assert not segmenter.warnings
    kept = np.ones((int(whole), 2**17))  # as allocators keep what was used; float64, so MB
    segmenter.reset()
    segmenter.step(frame)
    assert not segmenter.warnings
    assert kept[0, 0]


def test_the_footprint_is_that_of_the_tensors_alive():
    config = tiny_config(memory_frames=4)
    one, more = (step_megabytes(config, (64 * k, 96 * k), 4, torch.float32) for k in (8, 16))
    assert 3.5 < more / one < 4.5  # by area
    convolutions = tiny_config(memory_frames=0, width=64)  # attention's scores are float32 whatever the precision
    half, whole = (step_megabytes(convolutions, (512, 768), 0, each) for each in (torch.bfloat16, torch.float32))
    assert half < 0.8 * whole
    assert step_megabytes(config, (512, 768), 64, torch.float32) > one + 50 * 32 * 48 * 20 * 4 / 2**20  # the ring
