"""The ring, and the attention that reads it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmaseg.errors import MemoryStateError
from tmaseg.model import memory
from tmaseg.model.memory import MemoryRing, chunked, fused, read_memory

FORMS = {"chunked": chunked, "fused": fused}


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


def explicit(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Equation 1 as written, in float64, the whole matrix at once."""
    batch, _, height, width = query.shape
    scores = query.double().flatten(2).transpose(1, 2) @ keys.double().transpose(1, 2)
    return (scores.softmax(-1) @ values.double()).transpose(1, 2).reshape(batch, -1, height, width)


def _inputs(batch, size, frames, key, value, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    positions = frames * height * width
    query = torch.randn(batch, key, height, width, generator=generator)
    keys = torch.randn(batch, positions, key, generator=generator)
    values = torch.randn(batch, positions, value, generator=generator)
    return query.to(dtype), keys.to(dtype), values.to(dtype)


def explicit_around(query, keys, values, radius):
    """Equation 1 over the positions at most `radius` away, one query position at a time."""
    height, width = query.shape[-2:]
    kept = torch.zeros_like(query[:, :1]).double().expand(-1, values.shape[-1], -1, -1).clone()
    memory_y, memory_x = (
        torch.arange(height)[:, None].expand(height, width),
        torch.arange(width).expand(height, width),
    )
    for y in range(height):
        for x in range(width):
            near = ((memory_y - y).abs() <= radius) & ((memory_x - x).abs() <= radius)
            near = near.flatten().repeat(keys.shape[1] // near.numel())
            kept[..., y : y + 1, x : x + 1] = explicit(query[..., y : y + 1, x : x + 1], keys[:, near], values[:, near])
    return kept


# Values are of the order of 1: the tolerances are a few units in the last place of each type.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("key", "value"), [(32, 128), (64, 256), (128, 512), (16, 8)])
def test_every_form_is_the_explicit_softmax(form, dtype, key, value):
    query, keys, values = _inputs(2, (9, 7), 3, key, value, dtype)
    with torch.no_grad():
        read = read_memory(query, keys, values, attend=FORMS[form])
    assert read.dtype == dtype
    torch.testing.assert_close(read.double(), explicit(query, keys, values), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("size", "reach", "radius"), [((9, 7), 0.2, 2), ((9, 7), 0.01, 1), ((6, 11), 1.0, 6), ((20, 33), 0.45, 9)]
)
def test_a_reach_leaves_out_what_is_further_away(form, size, reach, radius, monkeypatch):
    monkeypatch.setattr(memory, "_QUERY_ROWS", 8)
    query, keys, values = _inputs(2, size, 3, 16, 32, torch.float32)
    with torch.no_grad():
        read = read_memory(query, keys, values, reach=reach, attend=FORMS[form])
    torch.testing.assert_close(
        read.double(), explicit_around(query, keys, values, radius), rtol=0, atol=TOLERANCE[torch.float32]
    )


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 2),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    frames=st.integers(1, 4),
    key=st.sampled_from([1, 3, 8]),
    value=st.sampled_from([4, 12]),
    seed=st.integers(0, 99),
)
def test_any_shape_with_and_without_gradients(batch, height, width, frames, key, value, seed):
    query, keys, values = _inputs(batch, (height, width), frames, key, value, torch.float32, seed)
    want = explicit(query, keys, values)
    torch.testing.assert_close(read_memory(query.requires_grad_(), keys, values).double(), want, rtol=0, atol=3e-5)
    with torch.no_grad():
        for form in FORMS.values():
            read = read_memory(query, keys, values, attend=form).double()
            torch.testing.assert_close(read, want, rtol=0, atol=3e-5)


@pytest.mark.parametrize("form", FORMS)
def test_large_scores_keep_their_softmax_in_bfloat16(form):
    """Unscaled scores of 40 and more: rounding them to bfloat16 would move weights by a tenth."""
    query, keys, values = _inputs(1, (6, 6), 2, 64, 256, torch.bfloat16)
    query, keys = query * 2, keys * 2
    with torch.no_grad():
        read = read_memory(query, keys, values, attend=FORMS[form])
    torch.testing.assert_close(read.double(), explicit(query, keys, values), rtol=0, atol=3e-2)


def test_the_matrix_is_never_whole():
    """At 135x240 queries and 4 frames the whole float32 matrix would be 16.8 GB."""
    query, keys, values = _inputs(1, (135, 240), 4, 1, 1, torch.float32)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    # A few rows of the chunked form stand for all of them: the chunk decides the size.
    with torch.no_grad(), Watch():
        read_memory(query[..., :3, :], keys, values, attend=chunked)
    assert largest <= 256 * keys.shape[1]


def test_scores_far_apart_leave_no_denormal_weights():
    scores = -torch.arange(200.0).repeat(3, 1) * 2  # e^-90 to e^-104 are denormal, and what lies below is 0
    kept = memory._softmax(scores.clone())
    assert kept.min() > torch.finfo(torch.float32).smallest_normal
    torch.testing.assert_close(kept.double(), scores.double().softmax(-1), rtol=1e-6, atol=1e-25)
