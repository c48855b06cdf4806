"""Plain folders and described ones: what annotation tools and people make is read, or refused with the remedy."""

import os
import shutil

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from tmaseg.data import check_dataset, open_dataset
from tmaseg.errors import DataError


@pytest.fixture
def fill(picture, mask):
    """`fill("images", "masks", [0, 1, 2])`: three pictures and masks of those values."""

    def write(images, masks, values=(0, 1, 2), *, suffixes=(".jpg", ".png"), ending="", count=3, **options):
        for number in range(count):
            picture(f"{images}/f{number}{suffixes[0]}", number)
            mask(f"{masks}/f{number}{ending}{suffixes[1]}", list(values), **options)

    return write


def opened(folder, **described):
    """The data set, described by these entries if there are any, and everything `data check` says of it."""
    if described:
        (folder / "data.yaml").write_text(yaml.safe_dump(described))
        dataset = open_dataset(str(folder / "data.yaml"))
    else:
        dataset = open_dataset("folder", folder)
    return dataset, check_dataset(dataset, limit=None)


def counts(dataset):
    return {split: len(dataset.samples(split)) for split in dataset.splits}


# Which classes there are ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffixes", "values", "options"),
    [
        ((".jpg", ".png"), [0, 1, 2, 255], {}),
        ((".JPG", ".PNG"), [0, 1, 2], {}),
        ((".png", ".tif"), [0, 1, 2], {}),
        ((".webp", ".bmp"), [0, 1, 2], {}),
        ((".jpg", ".png"), [0, 1, 2], {"palette": True}),
        ((".jpg", ".png"), [[0, 0, 0], [1, 1, 1], [2, 2, 2]], {}),
        ((".jpg", ".png"), [[0, 255], [1, 255], [2, 0]], {}),  # grey and alpha
        ((".jpg", ".png"), [[0, 0, 0, 255], [1, 1, 1, 255], [2, 2, 2, 0]], {}),
    ],
)
def test_classes_are_counted_in_masks_of_every_kind(tmp_path, fill, suffixes, values, options):
    fill("images", "masks", values, suffixes=suffixes, **options)
    dataset, check = opened(tmp_path)
    assert (len(dataset.labels), check.problems, counts(dataset)) == (3, (), {"all": 3})
    assert np.unique(dataset.truth(dataset.samples("all")[0].frame))[:3].tolist() == [0, 1, 2]


def test_every_paired_mask_counts_and_no_other(tmp_path, picture, mask, fill):
    fill("images", "masks", [0, 1], count=70)
    mask("masks/f69.png", [0, 4])
    mask("masks/alone.png", [0, 9])
    mask("masks/._f0.png", [0, 8])
    (tmp_path / "masks" / "._f1.png").write_bytes(b"\0\5\x16\7" + bytes(100))
    (tmp_path / "images" / ".DS_Store").write_bytes(b"Bud1")
    (tmp_path / "images" / "@eaDir").mkdir()
    picture("images/@eaDir/f0.jpg")
    dataset, check = opened(tmp_path)
    assert (len(dataset.labels), len(dataset.samples("all"))) == (5, 70)
    assert len(check.problems) == 1
    assert "1 mask (alone) without a picture" in check.problems[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 255], r"are black and white \(only 0 and 255\): say what white means with `id_map: \{255: 1\}`"),
        ([255], "every pixel of the masks .* is 255, which is void"),
        ([0, 700], "16-bit values up to 700"),
        ([[1, 2, 3], [0, 0, 0]], "a colour picture"),
    ],
)
def test_masks_without_class_ids_are_refused(tmp_path, fill, values, message):
    fill("images", "masks", values)
    with pytest.raises(DataError, match=message):
        open_dataset("folder", tmp_path)


def test_masks_in_jpeg_files_are_told_that_this_is_why(tmp_path, fill):
    fill("images", "masks", [0, 100, 200], suffixes=(".png", ".jpg"))
    with pytest.raises(DataError, match=r"f0\.jpg: it is a JPEG file, whose compression changes ids: export the masks"):
        open_dataset("folder", tmp_path)
    _, check = opened(tmp_path, val={"images": "images", "masks": "masks"}, names=["a", "b", "c"])
    assert any("none of the expected" in problem and "JPEG file" in problem for problem in check.problems)
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"masks/f{number}.jpg"), np.zeros((12, 16), np.uint8))
    _, check = opened(tmp_path, val={"images": "images", "masks": "masks"}, names=["a", "b", "c"])
    assert "val: 3 masks (f0, f1, f2) in JPEG files, whose compression changes ids" in check.problems[0]


def test_ids_that_begin_at_one(tmp_path, fill):
    fill("images", "masks", [1, 2, 3])
    assert any("ids begin at 1: give `ignore: 0`" in note for note in open_dataset("folder", tmp_path).notes)
    described = {"val": {"images": "images", "masks": "masks"}, "names": ["sky", "road", "car"]}
    _, check = opened(tmp_path, **described)
    assert "ids begin at 1: give `ignore: 0` in a YAML, or shift them down by one" in check.problems[0]
    dataset, check = opened(tmp_path, **described, ignore=0)
    assert check.problems == ()
    assert np.unique(dataset.truth(dataset.samples("val")[0].frame)).tolist() == [0, 1, 2]
    fill("images", "masks", [0, 1, 2])
    background = {**described, "names": ["background", "road", "car"], "ignore": 0}
    dataset, check = opened(tmp_path, **background)
    assert check.problems == ()
    assert np.unique(dataset.truth(dataset.samples("val")[0].frame)).tolist() == [1, 2, 255]


def test_all_void_is_a_problem(tmp_path, fill):
    fill("images", "masks", [255])
    (tmp_path / "labels.yaml").write_text("names: [sky, road]\n")
    assert "all: every pixel of the masks is void" in opened(tmp_path)[1].problems[0]
    (tmp_path / "labels.yaml").write_text("names: [sky, road]\nvoid: [sky]\n")
    fill("images", "masks", [0, 255])
    assert "all: every pixel of the masks is void" in opened(tmp_path)[1].problems[0]


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 20, 200])
def test_a_picture_cut_short_is_named(tmp_path, fill, size):
    fill("images", "masks")
    path = tmp_path / "images" / "f1.jpg"
    path.write_bytes(path.read_bytes()[:size])
    dataset, check = opened(tmp_path)
    assert len(check.problems) == 1
    assert "f1.jpg is not an image that can be read" in check.problems[0]
    with pytest.raises(DataError, match=r"f1\.jpg is not an image that can be read"):
        dataset.image(dataset.samples("all")[1].frame)


def test_a_mask_cut_short_is_named(tmp_path, fill):
    fill("images", "masks")
    path = tmp_path / "masks" / "f1.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"f1\.png: the mask cannot be read"):
        open_dataset("folder", tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_turned_photo_goes_with_masks_drawn_upright_or_as_stored(tmp_path, mask, suffix):
    upright = np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    tags = Image.Exif()
    tags[0x0112] = 6
    (tmp_path / "images").mkdir()
    for name in ("upright", "stored"):
        Image.fromarray(np.rot90(upright).copy()).save(tmp_path / f"images/{name}{suffix}", exif=tags, quality=95)
    mask("masks/upright.png", [0, 1], size_hw=(24, 32))
    mask("masks/stored.png", [0, 1], size_hw=(32, 24))
    dataset, check = opened(tmp_path)
    assert check.problems == ()
    for sample in dataset.samples("all"):
        expected = upright if sample.frame.name == "upright" else np.rot90(upright)
        assert np.abs(dataset.image(sample.frame).astype(int) - expected).mean() < 12


def test_twelve_bits_in_sixteen_are_a_note(tmp_path, fill):
    fill("images", "masks", suffixes=(".png", ".png"))
    cv2.imwrite(str(tmp_path / "images" / "f1.png"), np.full((12, 16, 3), 4000, np.uint16))
    _, check = opened(tmp_path)
    assert any("all: f1.png holds 12 bits or less in 16" in note for note in check.notes)


def test_twins_are_a_problem(tmp_path, fill, picture):
    fill("images", "masks")
    picture("images/f1.png")
    dataset, check = opened(tmp_path)
    assert counts(dataset) == {"all": 3}
    assert "1 pair (f1.jpg and f1.png) of one name but for the suffix" in check.problems[0]


# Where they lie -------------------------------------------------------------------------------------------------------


def test_linked_folders_are_followed_and_circles_noticed(tmp_path, fill):
    fill("real/images", "real/masks")
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind / "train").mkdir(parents=True)
        (tmp_path / "data" / kind / "train" / "film").symlink_to(tmp_path / "real" / kind)
        (tmp_path / "data" / kind / "val").symlink_to(tmp_path / "real" / kind)
    (tmp_path / "data" / "images" / "train" / "circle").symlink_to(tmp_path / "data" / "images")
    dataset, check = opened(tmp_path / "data")
    assert counts(dataset) == {"train": 3, "val": 3}
    assert [clip.name for clip in dataset.split("train")] == ["film"]
    assert len(check.problems) == 1
    assert "circle links to a folder above itself" in check.problems[0]


def test_pascal_voc(tmp_path, fill):
    fill("VOC2012/JPEGImages", "VOC2012/SegmentationClass", [0, 1, 2, 255], count=6, palette=True)
    lists = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("f0\nf3\nf9\n")
    (lists / "val.txt").write_text("f4\r\n")
    (lists / "trainval.txt").write_text("f0\nf3\nf4\n")
    dataset, check = opened(tmp_path)
    assert dataset.root == tmp_path / "VOC2012"
    assert {split: [s.frame.name for s in dataset.samples(split)] for split in dataset.splits} == {
        "train": ["f0", "f3"],
        "val": ["f4"],
    }
    assert [problem for problem in check.problems if "1 picture (f9) listed but not there" in problem]
    assert len(check.problems) == 1


@pytest.mark.parametrize("ending", ["_mask", "_label", "_gt"])
def test_masks_beside_their_pictures(tmp_path, fill, ending):
    for split in ("train", "valid"):
        fill(split, split, [0, 1, 3], ending=ending)
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, sky\n1, road\n3, car\n")
    dataset, check = opened(tmp_path)
    assert (counts(dataset), check.problems) == ({"train": 3, "valid": 3}, ())
    assert dataset.labels.names == ("sky", "road", "car")
    assert np.unique(dataset.truth(dataset.samples()[0].frame)).tolist() == [0, 1, 2]
    (tmp_path / "train" / "_classes.csv").write_text("Pixel Value, Class\nsky, 0\n")
    with pytest.raises(DataError, match=r"_classes\.csv: no table of classes"):
        open_dataset("folder", tmp_path)


def test_masks_beside_their_pictures_without_splits(tmp_path, fill, picture):
    fill("all", "all", [0, 1], ending="_mask")
    picture("all/alone.jpg")
    dataset, check = opened(tmp_path / "all")
    assert counts(dataset) == {"all": 3}
    assert "1 picture (alone) without a mask" in check.problems[0]
    dataset, _ = opened(tmp_path, val="all", names=["a", "b"])
    assert counts(dataset) == {"val": 3}


def test_ultralytics(tmp_path, fill):
    for split in ("train", "val"):
        fill(f"images/{split}", f"masks/{split}")
        fill(f"{split}/images", f"{split}/truths")
    names = {0: "sky", 1: "road", 2: "car"}
    common = {"path": ".", "names": names, "nc": 3}
    for entries in (
        {"train": "images/train", "val": "images/val", "test": None, "masks_dir": "masks"},
        {"train": "images/train", "val": "images/val"},
        {"train": "train/images", "val": "val/images", "masks_dir": "truths"},
    ):
        dataset, check = opened(tmp_path, **common, **entries)
        assert (counts(dataset), check.problems) == ({"train": 3, "val": 3}, ())
        assert dataset.labels.names == ("sky", "road", "car")
    with pytest.raises(DataError, match="nc is 4, but there are 3 names"):
        opened(tmp_path, names=names, nc=4, val="images/val")


@pytest.mark.parametrize("kind", ["polygons", "coco"])
def test_annotations_that_are_no_masks_are_refused_with_the_remedy(tmp_path, picture, kind):
    picture("images/val/a.jpg")
    (tmp_path / "labels" / "val").mkdir(parents=True)
    (tmp_path / "labels" / "val" / "a.txt").write_text("0 0.1 0.1 0.9 0.9\n")
    if kind == "coco":
        shutil.rmtree(tmp_path / "labels")
        (tmp_path / "_annotations.coco.json").write_text("{}")
        with pytest.raises(DataError, match=r"annotations in JSON are not read: export masks \(PNG\)"):
            open_dataset("folder", tmp_path)
        return
    with pytest.raises(DataError, match="boxes or polygons are no masks: export masks as PNG"):
        opened(tmp_path, val="images/val", names=["a"])
    with pytest.raises(DataError, match="boxes or polygons are not read: export masks"):
        open_dataset("folder", tmp_path)


@pytest.mark.parametrize("place", ["", "lists/", "elsewhere"])
def test_lists_lie_anywhere(tmp_path, fill, place):
    fill("data/images", "data/masks")
    root = tmp_path / "data" if place != "elsewhere" else tmp_path / "far" / "away"
    (root / "lists").mkdir(parents=True)
    path = root / f"{place if place.endswith('/') else ''}list.txt"
    line = "{}/f{}.jpg,{}/f{}.png\n"
    images, masks = (os.path.relpath(tmp_path / "data" / kind, path.parent) for kind in ("images", "masks"))
    path.write_text("".join(line.format(images, number, masks, number) for number in range(3)))
    dataset, check = opened(root, val=str(path.relative_to(root)), names=["a", "b", "c"])
    assert ([sample.frame.name.rpartition("/")[2] for sample in dataset.samples()], check.problems) == (
        ["f0", "f1", "f2"],
        (),
    )
    assert not any(".." in sample.frame.name for sample in dataset.samples())
    assert {path, root / "data.yaml"} <= set(dataset.paths())
