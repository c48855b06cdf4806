"""`tmaseg frames`: whole commands on small folders of images."""

import shutil

import numpy as np
import pytest
from films import moving
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import noise_frames

from tmaseg import load
from tmaseg.labels import CITYSCAPES
from tmaseg.pipeline.frames import blocks_to_do


def write(folder, names, pictures):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rgb in zip(names, pictures, strict=True):
        Image.fromarray(rgb).save(folder / name)


def masks_of(folder):
    return {str(path.relative_to(folder)): np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))}


def one_pass(pictures, weights):
    segmenter = load(weights, precision="fp32", device="cpu")
    return [segmenter.step(rgb).labels for rgb in pictures]


def test_masks_follow_names_order_and_sequences(tmaseg, weights, tmp_path):
    first, second = moving(11), noise_frames(3, (40, 56))
    write(tmp_path / "in", [f"f{index}.jpg.png"[:-4] for index in range(11)], first)  # f0.jpg ... f10.jpg
    write(tmp_path / "in" / "sub", ["x1.png", "x2.bmp", "x3.tif"], second)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    answer = tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert answer.code == 0
    report = answer.json
    assert (report["frames"], report["sequences"], report["skipped"], report["missing"]) == (14, 2, 0, 0)
    assert f"frames/s, {report['peak_rss_mb']:.0f} MB at most)" in answer.err
    masks = masks_of(tmp_path / "out")
    assert set(masks) == {f"f{index}.png" for index in range(11)} | {"sub/x1.png", "sub/x2.png", "sub/x3.png"}
    decoded = [np.array(Image.open(tmp_path / "in" / f"f{index}.jpg")) for index in range(11)]
    for index, labels in enumerate(one_pass(decoded, weights)):  # natural order: f10 comes last
        np.testing.assert_array_equal(masks[f"f{index}.png"], labels)
    for name, labels in zip(("x1", "x2", "x3"), one_pass(second, weights), strict=True):  # the memory started again
        np.testing.assert_array_equal(masks[f"sub/{name}.png"], labels)


def test_sizes_are_the_inputs(tmaseg, tmp_path):
    pictures = [rgb for size in ((48, 64), (33, 47), (64, 48)) for rgb in noise_frames(1, size)]
    write(tmp_path / "in", ["a.png", "b.png", "c.png"], pictures)
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out").code == 0
    assert [mask.shape for mask in masks_of(tmp_path / "out").values()] == [(48, 64), (33, 47), (64, 48)]


def test_every_format(tmaseg, tmp_path):
    write(tmp_path / "in", ["a.png"], moving(1))
    options = ("--format", "ids,indexed", "--format", "color,overlay", "--palette", "cityscapes", "--opacity", "1")
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out", *options).code == 0
    masks = masks_of(tmp_path / "out")
    assert set(masks) == {f"{kind}/a.png" for kind in ("ids", "indexed", "color", "overlay")}
    np.testing.assert_array_equal(masks["ids/a.png"], masks["indexed/a.png"])
    np.testing.assert_array_equal(masks["color/a.png"], CITYSCAPES.palette()[masks["ids/a.png"]])
    np.testing.assert_array_equal(masks["overlay/a.png"], masks["color/a.png"])


def test_missing_numbers_and_unreadable_images_are_reported_not_fatal(tmaseg, tmp_path):
    write(tmp_path / "in", [f"{index:03d}.png" for index in (0, 1, 2, 5)], moving(4))
    (tmp_path / "in" / "004.png").write_bytes(b"no picture")
    (tmp_path / "in" / "broken").mkdir()
    (tmp_path / "in" / "broken" / "x.jpg").write_bytes(b"no picture either")
    answer = tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert answer.code == 0
    assert answer.json["unreadable"] == ["004.png"]
    assert (answer.json["missing"], answer.json["frames"]) == (1, 4)
    for word in ("004.png", "1 number", "broken"):
        assert word in answer.err
    assert set(masks_of(tmp_path / "out")) == {"000.png", "001.png", "002.png", "005.png"}
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "2", "--strict").code == 3


@pytest.mark.parametrize("lost", [range(5, 60), [40], [3, 41, 59], range(60)], ids=["tail", "one", "some", "all"])
def test_resuming_gives_the_masks_of_one_pass(tmaseg, tmp_path, lost):
    """With a scene cut, an unreadable image, and images that lack in the middle."""
    pictures = [*moving(30), *noise_frames(1, (48, 64)) * 30]
    pictures = [np.roll(rgb, index, axis=0) for index, rgb in enumerate(pictures)]
    write(tmp_path / "in", [f"{index:04d}.png" for index in range(60)], pictures)
    (tmp_path / "in" / "0038.png").write_bytes(b"no picture")
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "whole").code == 0
    whole = masks_of(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    removed = [tmp_path / "part" / f"{index:04d}.png" for index in lost if index != 38]
    kept = set((tmp_path / "part").iterdir()) - set(removed)
    for path in removed:
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in kept}
    answer = tmaseg("frames", tmp_path / "in", "-o", tmp_path / "part", "--skip-existing", "--json")
    assert answer.code == 0
    assert (answer.json["frames"], answer.json["skipped"]) == (len(removed), len(kept))
    part = masks_of(tmp_path / "part")
    assert part.keys() == whole.keys()
    for name, mask in whole.items():
        np.testing.assert_array_equal(part[name], mask, err_msg=name)
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_memory_matters_to_the_resumed_masks(tmaseg, weights, tmp_path):
    """Else the test above would prove nothing: a frame alone is not what it is after others."""
    pictures = moving(30)
    alone = load(weights, precision="fp32", device="cpu").step(pictures[29]).labels
    assert (alone != one_pass(pictures, weights)[29]).any()


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 8))
def test_blocks_hold_what_is_to_do_and_the_run_up_and_no_more(done, run_up):
    blocks = blocks_to_do(done, run_up)
    covered = [position for first, last in blocks for position in range(first, last + 1)]
    assert covered == sorted(set(covered))
    wanted = {
        near
        for position, there in enumerate(done)
        if not there
        for near in range(max(0, position - run_up), position + 1)
    }
    assert set(covered) == wanted


def test_existing_pictures_are_only_replaced_when_asked(tmaseg, tmp_path):
    write(tmp_path / "in", ["a.png", "b.png"], moving(2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.png").write_bytes(b"mine")
    answer = tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out")
    assert answer.code == 1
    assert "b.png exists already" in answer.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"], "nothing was begun"
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out", "--overwrite").code == 0
    assert set(masks_of(tmp_path / "out")) == {"a.png", "b.png"}
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out", "--overwrite", "--skip-existing").code == 1


def test_images_that_share_a_stem_keep_their_suffix(tmaseg, tmp_path):
    write(tmp_path / "in", ["a.png", "a.bmp", "b.png"], moving(3))
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out").code == 0
    assert set(masks_of(tmp_path / "out")) == {"a.png.png", "a.bmp.png", "b.png"}


def test_an_output_inside_the_input_is_no_input(tmaseg, tmp_path):
    write(tmp_path, ["a.png", "b.png"], moving(2))
    for expected in (2, 2):
        answer = tmaseg("frames", tmp_path, "-o", tmp_path / "masks", "--overwrite", "--json")
        assert (answer.code, answer.json["frames"], answer.json["sequences"]) == (0, expected, 1)


@pytest.mark.parametrize("option", ["--overwrite", "--skip-existing", "--quiet"])
def test_masks_never_go_among_the_images(tmaseg, tmp_path, option):
    write(tmp_path / "a", ["1.png", "2.png"], moving(2))
    write(tmp_path / "b", ["1.jpg"], moving(1))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for folder in (tmp_path, tmp_path / "a"):
        answer = tmaseg("frames", folder, "-o", folder, option)
        assert answer.code == 1
        assert "write the masks to another folder" in answer.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "no images", "unreadable"])
def test_bad_input_is_one_line(tmaseg, tmp_path, kind):
    folder = tmp_path / "in"
    if kind == "file":
        folder.write_text("text")
    elif kind != "missing":
        folder.mkdir()
    if kind == "no images":
        (folder / "a.txt").write_text("text")
    if kind == "unreadable":
        (folder / "a.png").write_text("text")
    answer = tmaseg("frames", folder, "-o", tmp_path / "out", "--json")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_ctrl_c_keeps_what_is_done_and_resuming_finishes_it(tmaseg, tmp_path, monkeypatch):
    import _thread

    from tmaseg.inference.segmenter import Segmenter

    write(tmp_path / "in", [f"{index}.png" for index in range(9)], moving(9))
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "whole").code == 0
    step, seen = Segmenter.step, []

    def interrupted(self, *arguments, **options):
        seen.append(1)
        if len(seen) == 5:
            _thread.interrupt_main()
        return step(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "step", interrupted)
        answer = tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert answer.code == 130
    assert answer.json["frames"] == len(masks_of(tmp_path / "out")) == 5
    assert tmaseg("frames", tmp_path / "in", "-o", tmp_path / "out", "--skip-existing").code == 0
    for name, mask in masks_of(tmp_path / "whole").items():
        np.testing.assert_array_equal(masks_of(tmp_path / "out")[name], mask)
