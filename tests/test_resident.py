"""Memory of this process: what is held, what was held at most, and a peak that can begin again."""

import mmap
import resource

import pytest

from tmaseg import resident
from tmaseg.resident import forget_peak, peak_resident_mb, resident_mb


def test_what_is_held_and_what_was_held_at_most():
    if not forget_peak():
        pytest.skip("this system does not let a peak begin again")
    before = resident_mb()
    held = mmap.mmap(-1, 96 * 2**20)  # the system's own: an allocator may keep what is given back to it
    held[:: mmap.PAGESIZE] = bytes(len(held) // mmap.PAGESIZE)
    assert 90 < resident_mb() - before < 110
    held.close()
    assert resident_mb() - before < 30
    assert 90 < peak_resident_mb() - before < 110
    assert forget_peak()
    assert peak_resident_mb() - before < 30


def test_without_proc_it_is_at_most_so_far(monkeypatch, tmp_path):
    now, most = resident_mb(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(resident, "_PROCESS", tmp_path / "none")
    assert resident_mb() == pytest.approx(peak_resident_mb(), rel=0.1)
    assert resident_mb() >= 0.5 * now
    assert not forget_peak()
    monkeypatch.setattr(resident.sys, "platform", "darwin")
    assert peak_resident_mb() == pytest.approx(most / 2**20, rel=0.1)  # bytes there
