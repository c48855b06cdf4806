"""Label sets: the triples and ids that other programs agree on, maps by name, and a user's own files."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tmaseg.errors import LabelError
from tmaseg.labels import (
    CAMVID,
    CAMVID12,
    CAMVID32,
    CITYSCAPES,
    LabelSet,
    generic_labels,
    get_labels,
    label_set_names,
    map_by_name,
)

CITYSCAPES_TO_CAMVID = {
    "sky": ["sky"],
    "building": ["building", "wall"],
    "pole": ["pole"],
    "road": ["road"],
    "pavement": ["sidewalk"],
    "tree": ["vegetation", "terrain"],
    "sign/symbol": ["traffic light", "traffic sign"],
    "fence": ["fence"],
    "car": ["car", "truck", "bus", "train"],
    "pedestrian": ["person"],
    "bicyclist": ["rider", "motorcycle", "bicycle"],
}
# the usual merge of CamVid's own 32 classes, as the data set's users publish it
CAMVID32_TO_CAMVID = {
    "sky": "Sky",
    "building": "Building Archway Bridge Tunnel Wall",
    "pole": "Column_Pole TrafficCone",
    "road": "Road LaneMkgsDriv LaneMkgsNonDriv",
    "pavement": "Sidewalk ParkingBlock RoadShoulder",
    "tree": "Tree VegetationMisc",
    "sign/symbol": "SignSymbol Misc_Text TrafficLight",
    "fence": "Fence",
    "car": "Car SUVPickupTruck Truck_Bus Train OtherMoving",
    "pedestrian": "Pedestrian Child CartLuggagePram Animal",
    "bicyclist": "Bicyclist MotorcycleScooter",
}


def named(source: LabelSet, target: LabelSet) -> dict[str, str]:
    table = map_by_name(source, target).table
    return {name: target.names[table[i]] for i, name in enumerate(source.names) if table[i] < len(target)}


# As the data sets' own files have them: label_colors.txt of CamVid, labels.py of Cityscapes' scripts.
PUBLISHED_CAMVID32 = """
408040 c00080 0080c0 008040 800000 400080 4000c0 c08040 c0c080 404080 8000c0 c00040 808040 c000c0 804040 40c080
404000 804080 8080c0 0000c0 c08080 808080 4080c0 000040 004040 c04080 808000 c080c0 400040 c0c000 000000 40c000
"""
PUBLISHED_CAMVID = "808080 800000 c0c080 804080 0000c0 808000 c08080 404080 400080 404000 0080c0"
PUBLISHED_CITYSCAPES = """
804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 00008e 000046 003c64 005064
0000e6 770b20
"""


@pytest.mark.parametrize(
    ("labels", "published"),
    [(CAMVID, PUBLISHED_CAMVID), (CAMVID32, PUBLISHED_CAMVID32), (CITYSCAPES, PUBLISHED_CITYSCAPES)],
    ids=lambda value: value.name if isinstance(value, LabelSet) else "",
)
def test_every_colour_is_the_published_one(labels: LabelSet, published: str) -> None:
    assert [bytes(colour).hex() for colour in labels.colours] == published.split()


def test_shipped_sets() -> None:
    assert [len(get_labels(name)) for name in label_set_names()] == [19, 11, 12, 32, 255]
    assert CITYSCAPES.palette()[[18, 19, 255]].tolist() == [[119, 11, 32], [0, 0, 0], [0, 0, 0]]
    assert CITYSCAPES.encode_table()[:19].tolist() == [
        *(7, 8, 11, 12, 13, 17, 19, 20, 21, 22),
        *(23, 24, 25, 26, 27, 28, 31, 32, 33),
    ]
    assert CAMVID.ignore_index == 11
    assert CAMVID.palette()[11].tolist() == [0, 0, 0]
    assert CAMVID12.names[1:] == CAMVID.names
    assert CAMVID12.colours[1:] == CAMVID.colours
    assert CAMVID12.void == (0,)
    assert len(set(CAMVID32.colours)) == 32
    for name, fine in zip(CAMVID.names, CAMVID32_TO_CAMVID.values(), strict=True):
        assert CAMVID.colours[CAMVID.index(name)] == CAMVID32.colours[CAMVID32.index(fine.split()[0])]


@pytest.mark.parametrize("name", label_set_names())
def test_a_set_comes_back_from_its_metadata_with_an_id_for_every_class(name: str) -> None:
    labels = get_labels(name)
    assert len(set(labels.encode_table()[: len(labels)].tolist())) == len(labels)
    assert LabelSet.from_dict(json.loads(json.dumps(labels.to_dict()))) == labels


def test_cityscapes_to_camvid_is_the_union() -> None:
    expected = {name: camvid for camvid, names in CITYSCAPES_TO_CAMVID.items() for name in names}
    assert named(CITYSCAPES, CAMVID) == named(CITYSCAPES, CAMVID12) == expected
    assert map_by_name(CITYSCAPES, CAMVID).missing == ()
    assert (map_by_name(CITYSCAPES, CAMVID).table[19:] == 11).all()


def test_camvid_to_cityscapes_is_the_one_counterpart() -> None:
    expected = {
        camvid: ("traffic sign" if camvid == "sign/symbol" else names[0])
        for camvid, names in CITYSCAPES_TO_CAMVID.items()
    }
    assert named(CAMVID, CITYSCAPES) == expected
    back = map_by_name(CAMVID12, CITYSCAPES)
    assert named(CAMVID12, CITYSCAPES) == expected
    assert back.missing == ()  # void is not missed
    assert back.table[0] == CITYSCAPES.ignore_index


def test_camvid32_merges_into_camvid_as_usual() -> None:
    expected = {name: camvid for camvid, names in CAMVID32_TO_CAMVID.items() for name in names.split()}
    assert named(CAMVID32, CAMVID) == expected
    fine = named(CITYSCAPES, CAMVID32)
    assert (fine["wall"], fine["truck"], fine["terrain"], fine["motorcycle"], fine["traffic light"]) == (
        *("Wall", "Truck_Bus", "VegetationMisc", "MotorcycleScooter", "TrafficLight"),
    )


def test_what_has_no_counterpart_is_said() -> None:
    source = LabelSet("mine", ("lane", "Pavement", "TRAFFIC_LIGHT"), ((1, 2, 3),) * 3)
    found = map_by_name(source, CITYSCAPES)
    assert found.missing == ("lane",)
    assert found.table[:4].tolist() == [255, 1, 6, 255]


@pytest.mark.parametrize("name", [name for name in label_set_names() if name != "voc"])
def test_a_set_maps_onto_itself(name: str) -> None:
    labels = get_labels(name)
    found = map_by_name(labels, labels)
    assert found.missing == ()
    scored = [index for index in range(len(labels)) if index not in labels.void]
    assert found.table[scored].tolist() == scored


def test_index_understands_spelling_and_synonyms() -> None:
    assert CITYSCAPES.index("Traffic_Light") == 6
    assert CITYSCAPES.index("pedestrian") == CITYSCAPES.index("person") == 11
    assert CAMVID.index("sidewalk") == CAMVID.index("Pavement") == 4
    with pytest.raises(LabelError, match=r"unknown class 'lorry'.*cityscapes.*road, sidewalk, .*bicycle"):
        CITYSCAPES.index("lorry")


def test_voc_colours() -> None:
    assert generic_labels(4).colours == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert generic_labels(22).colours[-2:] == ((0, 64, 128), (128, 64, 128))
    assert len(set(generic_labels(255).colours)) == 255
    with pytest.raises(LabelError, match="0 classes"):
        generic_labels(0)
    with pytest.raises(LabelError, match="256 classes"):
        generic_labels(1000)


@given(
    st.lists(st.text(min_size=1, max_size=8).filter(str.strip).map(str.strip), min_size=1, max_size=12, unique=True),
    st.data(),
)
def test_maps_by_name_are_safe(names: list[str], data: st.DataObject) -> None:
    labels = LabelSet("a", tuple(names), ((0, 0, 0),) * len(names))
    subset = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    found = map_by_name(labels, LabelSet("b", tuple(subset), ((0, 0, 0),) * len(subset)))
    for index, name in enumerate(names):
        # a name that both sets have always finds itself or an earlier spelling of itself, and no id points nowhere
        assert found.table[index] < len(subset) or (found.table[index] == 255 and name not in subset)
        assert (found.table[index] == 255) == (name in found.missing)


def test_users_own_file(tmp_path: Path) -> None:
    as_yaml = tmp_path / "farm.yaml"
    as_yaml.write_text(
        "names: [crop, weed, unsure]\ncolors: {weed: '#FF8000', crop: [0, 255, 0], unsure: [9, 9, 9]}\n"
        "void: [unsure]\nids: [10, 20, 30]\nignore_index: 200\n"
    )
    expected = LabelSet(
        name="farm",
        names=("crop", "weed", "unsure"),
        colours=((0, 255, 0), (255, 128, 0), (9, 9, 9)),
        void=(2,),
        ids=(10, 20, 30),
        ignore_index=200,
    )
    assert get_labels(as_yaml) == get_labels(str(as_yaml)) == expected
    as_json = tmp_path / "farm.JSON"
    as_json.write_text(json.dumps(expected.to_dict()))
    assert get_labels(as_json) == expected
    as_yaml.write_text(yaml.safe_dump({"names": {1: "b", 0: "a"}}))
    assert get_labels(as_yaml) == LabelSet("farm", ("a", "b"), ((0, 0, 0), (128, 0, 0)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold 'names'.*nothing"),
        ("[a, b]", "must hold 'names'.*a list"),
        ("colours: [[1, 2, 3]]", "needs 'names'"),
        ("names: road", "'names' must be a list, but is a str"),
        ("names: [a, yes]", "True; put it in quotes"),
        ("names: {0: a, 2: b}", "ids 0 to 1, but has 0, 2"),
        ("names: [a, a]", "'a' twice"),
        ("names: []", "0 classes"),
        ("names: [a, b]\ncolours: [[1, 2, 3]]", "2 names but 1 colours"),
        ("names: [a]\ncolours: [[1, 2, 300]]", r"the colour \(1, 2, 300\) for class 'a'.*three whole numbers"),
        ("names: [a]\ncolours: ['red']", "the colour 'red' for class 'a'.*'#rrggbb'"),
        ("names: [a, b]\ncolours: {a: [1, 2, 3]}", "none for the class 'b'"),
        ("names: [a]\ncolours: {b: [1, 2, 3]}", "'b', which is not one of the names: a"),
        ("names: [a]\npallete: []", "unknown entry 'pallete'"),
        ("names: [a]\nvoid: [b]", "'void' has 'b', which is not one of the names: a"),
        ("names: [a]\nvoid: [1]", "void class 1 .*ids 0 to 0"),
        ("names: [a, b]\nids: [1]", "2 names but 1 ids"),
        ("names: [a, b]\nids: [1, 1]", "id 1 twice"),
        ("names: [a]\nids: [256]", "id 256"),
        ("names: [a]\nids: [x]", "has id 'x'; it must be a whole number"),
        ("names: [a]\nignore_index: 0", "ignore_index 0"),
        ("names: [a", "not valid YAML"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(LabelError, match=message) as caught:
        get_labels(path)
    assert "mine.yml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"unknown label set 'citiscapes'; known: cityscapes, .*\.yaml file"):
        get_labels("citiscapes")
    with pytest.raises(LabelError, match=r"cannot read label set .*none\.json"):
        get_labels(tmp_path / "none.json")
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(LabelError, match="not valid JSON"):
        get_labels(binary)


def test_a_union_is_made_of_the_finer_classes_that_it_names():
    coarse = LabelSet.from_dict(
        {
            "names": ["way", "beings", "vehicles", "sky"],
            "union": {"beings": ["person", "rider"], "vehicles": ["car", "bike"]},
        }
    )
    assert LabelSet.from_dict(coarse.to_dict()) == coarse
    fine = LabelSet.from_dict({"names": ["rider", "pedestrian", "bicycle", "car", "sky", "road"]})
    assert map_by_name(fine, coarse).table[:6].tolist() == [1, 1, 2, 2, 3, 255]
    assert map_by_name(coarse, fine).table[:4].tolist() == [255, 1, 3, 4]


@pytest.mark.parametrize(
    ("union", "message"),
    [
        ({"nobody": ["person"]}, "'nobody', which is not one of the names"),
        ({"beings": []}, "must list names"),
        ({"beings": "person"}, "union of 'beings'"),
        ({"beings": ["person"], "way": ["Person"]}, "'person' in two unions"),
        ([1], "mapping of class name"),
    ],
)
def test_a_union_that_cannot_be_is_refused(union, message):
    with pytest.raises(LabelError, match=message):
        LabelSet.from_dict({"names": ["way", "beings"], "union": union})
