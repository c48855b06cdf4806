import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmaseg.errors import MemoryStateError
from tmaseg.model.memory import MemoryRing


def _ring(frames: int, slots: int) -> MemoryRing:
    return MemoryRing(*_encoded(0, slots), frames=frames)


def _encoded(frame: int, slots: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers that tell frame and slot apart: 100 frame + slot."""
    code = 100.0 * frame + torch.arange(slots, dtype=torch.float32).view(1, slots, 1, 1)
    return code.expand(1, slots, 2, 1), code.expand(1, slots, 2, 3)


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(1, 6), pushed=st.integers(1, 15), per_slot=st.booleans())
def test_read_is_the_last_frames_oldest_first_and_repeats_the_oldest_at_start_up(frames, pushed, per_slot):
    slots = frames if per_slot else 1
    ring = _ring(frames, slots)
    for frame in range(1, pushed):
        ring.push(*_encoded(frame, slots))
    held = [max(frame, 0) for frame in range(pushed - frames, pushed)]
    want = [100.0 * frame + (slot if per_slot else 0) for slot, frame in enumerate(held)]
    keys, values = ring.read()
    assert keys.shape == (1, frames * 2, 1)
    assert values.shape == (1, frames * 2, 3)
    read = keys[0, ::2, 0].tolist()
    # A shared encoder's ring may give any order: attention does not care.
    assert read == want if per_slot else sorted(read) == want
    assert torch.equal(values[..., :1], keys)


def test_a_shared_rings_answer_is_a_view():
    ring = _ring(3, 1)
    assert ring.read()[0].data_ptr() == ring._keys.data_ptr()


def test_misuse_raises():
    ring = _ring(3, 1)
    keys, values = _encoded(0, 1)
    with pytest.raises(MemoryStateError, match=r"keys of shape \(1, 1, 1, 1\).*new ring"):
        ring.push(keys[:, :, :1], values)
    with pytest.raises(MemoryStateError, match="values of shape"):
        ring.push(keys, keys)
    with pytest.raises(MemoryStateError, match="1 slot or one a frame"):
        _ring(3, 2)
