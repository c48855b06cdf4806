"""What happens when memory is short: less is looked at, it is said once, and nothing else changes."""

import numpy as np
import pytest
import torch
from tiny import noise_frames, tiny_config, tiny_net

from tmaseg.economy import Thrift, Viewing, is_shortage
from tmaseg.errors import ConfigError, ShortageError
from tmaseg.labels import generic_labels
from tmaseg.model.checkpoint import View
from tmaseg.model.footprint import step_megabytes
from tmaseg.resident import resident_mb
from tmaseg.stream import Segmenter

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


def test_the_footprint_is_that_of_the_tensors_alive():
    config = tiny_config(memory_frames=4)
    one, more = (step_megabytes(config, (64 * k, 96 * k), 4, torch.float32) for k in (8, 16))
    assert 3.5 < more / one < 4.5  # by area
    convolutions = tiny_config(memory_frames=0, width=64)  # attention's scores are float32 whatever the precision
    half, whole = (step_megabytes(convolutions, (512, 768), 0, each) for each in (torch.bfloat16, torch.float32))
    assert half < 0.8 * whole
    assert step_megabytes(config, (512, 768), 64, torch.float32) > one + 50 * 32 * 48 * 20 * 4 / 2**20  # the ring
