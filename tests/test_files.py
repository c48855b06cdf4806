"""Atomic writes, safe output names, and the memory of this process."""

import mmap
import os
import platform
import resource
import subprocess
import sys
import unicodedata

import pytest

from tmaseg import files
from tmaseg.errors import OutputError
from tmaseg.files import (
    PartFile,
    atomic_write,
    check_not_read,
    output_file,
    output_name,
    output_names,
    peak_resident_mb,
    reset_peak,
    resident_mb,
)


def write(path, error):
    with atomic_write(path) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "weights"
    path.write_text("old")
    with pytest.raises(type(error)):
        write(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_holds_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "weights"
    path.write_text("old")
    with atomic_write(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_move_that_fails_removes_what_was_written(tmp_path):
    path = tmp_path / "weights"
    path.mkdir()
    with pytest.raises(IsADirectoryError), atomic_write(path) as part:
        part.write_text("new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_file_that_a_killed_process_left_is_taken_over(tmp_path):
    left = tmp_path / ".weights.part"
    left.write_text("half of something longer")
    with atomic_write(tmp_path / "weights") as part:
        assert part == left
        part.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]
    assert (tmp_path / "weights").read_text() == "new"


def test_two_writers_of_one_name_do_not_meet(tmp_path):
    one, two = PartFile(tmp_path / "weights"), PartFile(tmp_path / "weights")
    one.path.write_text("one")
    two.path.write_text("two")
    one.commit()
    assert (tmp_path / "weights").read_text() == "one"
    two.commit()
    two.discard()
    assert (tmp_path / "weights").read_text() == "two"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_part_file_is_made_when_it_is_first_written(tmp_path):
    part = PartFile(tmp_path / "none")
    part.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["\u6f22" * 83 + ".mp4", "x" * 251 + ".png", "\u00e9" * 127])
def test_names_of_the_longest_kind_are_written(tmp_path, name):
    with atomic_write(tmp_path / name) as part:
        part.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


NAMES = [
    "plain",
    "city/plain",
    "/data/images/plain",
    "../plain",
    "../../plain",
    "a/../../plain",
    "",
    "..",
    "/",
    "\u6f22" * 84,
    "\u6f22" * 83 + "1",
    "\u6f22" * 83 + "2",
    "x" * 300 + "/y",
    "PLAIN",
    "caf\u00e9",
    unicodedata.normalize("NFD", "caf\u00e9"),
    os.fsdecode(b"caf\xe9"),
    "plain",
]


def test_output_names_stay_in_their_folder_are_short_enough_and_differ(tmp_path):
    outputs = output_names(NAMES, ".overlay.png")
    assert len({unicodedata.normalize("NFC", str(path).casefold()) for path in outputs}) == len(NAMES)
    for path in outputs:
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert all(len(os.fsencode(part)) <= 255 for part in path.parts)
        assert path.name.endswith(".overlay.png")
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")


def test_a_safe_name_is_kept_and_does_not_depend_on_the_others():
    assert output_names(["b/f0", "a.b/f0", "f0", "dot."], ".png") == output_names(["b/f0"], ".png") + [
        output_name(name, ".png") for name in ("a.b/f0", "f0", "dot.")
    ]
    assert str(output_name("a.b/f0", ".png")) == "a.b/f0.png"
    few, more = output_names(["/x/f", "x/f"], ".png"), output_names(["a", "/x/f", "b", "x/f"], ".png")
    assert few == [more[1], more[3]]


def test_what_is_read_is_not_written(tmp_path):
    (tmp_path / "in.png").write_text("x")
    (tmp_path / "link.png").symlink_to("in.png")
    check_not_read([tmp_path / "out.png"], [tmp_path / "in.png", tmp_path / "absent.png"])
    for name in ("in.png", "link.png", "../" + tmp_path.name + "/in.png"):
        with pytest.raises(OutputError, match="is the input itself"):
            check_not_read([tmp_path / name], [tmp_path / "in.png"])


def test_what_is_held_and_what_was_held_at_most():
    if not reset_peak():
        pytest.skip("this system does not let a peak begin again")
    before = resident_mb()
    held = mmap.mmap(-1, 96 * 2**20)  # the system's own: an allocator may keep what is given back to it
    held[:: mmap.PAGESIZE] = bytes(len(held) // mmap.PAGESIZE)
    assert 90 < resident_mb() - before < 110
    held.close()
    assert resident_mb() - before < 30
    assert 90 < peak_resident_mb() - before < 110
    assert reset_peak()
    assert peak_resident_mb() - before < 30


def test_without_proc_it_is_at_most_so_far(monkeypatch, tmp_path):
    now, most = resident_mb(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(files, "_PROCESS", tmp_path / "none")
    assert resident_mb() == pytest.approx(peak_resident_mb(), rel=0.1)
    assert resident_mb() >= 0.5 * now
    assert not reset_peak()
    monkeypatch.setattr(files.sys, "platform", "darwin")
    assert peak_resident_mb() == pytest.approx(most / 2**20, rel=0.1)  # bytes there


def test_an_output_that_cannot_be_written_is_named_with_the_reason(tmp_path):
    with output_file(tmp_path / "new" / "a.txt", "the text") as part:
        part.write_text("all")
    assert (tmp_path / "new" / "a.txt").read_text() == "all"
    reason = r"a\.txt/b: the text cannot be written \(.+\): check the folder"
    with pytest.raises(OutputError, match=reason), output_file(tmp_path / "new" / "a.txt" / "b", "the text"):
        pass


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library cannot be told")
def test_freed_memory_is_kept_for_what_comes_next():
    """By page faults of 48 MB, written and freed again and again: 12,000 a time (huge pages: 24), or next to none."""
    code = """
import resource, sys
import numpy as np
from tmaseg.files import keep_freed_memory
if sys.argv[1:]:
    keep_freed_memory()
for turn in range(8):
    if turn == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    large, after_it = np.ones(48 * 2**20, np.uint8), np.ones(2**20, np.uint8)
    del large, after_it
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    given, kept = (
        int(subprocess.run([sys.executable, "-c", code, *flag], capture_output=True, text=True, check=True).stdout)
        for flag in ([], ["keep"])
    )
    assert kept < 50 < given
