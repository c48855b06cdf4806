"""Classes of one's own, made of the network's: painted, written, counted and scored; and confidence masks."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from tiny import noise_frames

from tmaseg import load
from tmaseg.labels import CITYSCAPES, get_labels, map_to_groups
from tmaseg.video.source import open_source

GROUPS = """
names: [way, vehicle, nature]
colours: {way: [10, 20, 30], vehicle: "#ff0000", nature: [0, 255, 0]}
union:
  way: [road, pavement]
  vehicle: [car, truck, bus, train, motorcycle]
  nature: [tree, terrain, sky]
"""
TABLE = {0: 0, 1: 0, 8: 2, 9: 2, 10: 2, 13: 1, 14: 1, 15: 1, 16: 1, 17: 1}


@pytest.fixture
def groups(tmp_path):
    (tmp_path / "groups.yaml").write_text(GROUPS)
    return tmp_path / "groups.yaml"


def masks_in(folder):
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def test_groups_are_what_is_written_counted_and_painted(tmaseg, clip, groups, tmp_path):
    plain = tmaseg("run", clip, "--masks", tmp_path / "plain", "--json").json
    answer = tmaseg(
        *("run", clip, "-o", tmp_path / "out.mkv", "--mode", "mask", "--lossless", "--palette", groups, "--json"),
        *("--masks", tmp_path / "grouped", "--stats", tmp_path / "s.csv", "--events", tmp_path / "e.jsonl"),
    )
    assert plain["classes"] == list(CITYSCAPES.names)
    assert answer.json["classes"] == ["way", "vehicle", "nature"]
    assert any("no class for building, wall" in warning for warning in answer.json["warnings"])
    table = np.full(256, 255, np.uint8)
    table[list(TABLE)] = list(TABLE.values())
    wanted = table[masks_in(tmp_path / "plain")]
    assert len(np.unique(wanted)) > 2
    np.testing.assert_array_equal(masks_in(tmp_path / "grouped"), wanted)
    with open_source(tmp_path / "out.mkv") as video:
        painted = np.stack([frame.rgb for frame in video])
    np.testing.assert_array_equal(painted, get_labels(groups).palette()[wanted])
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    events = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    for mask, row, event in zip(wanted, rows, events, strict=True):
        shares = [float((mask == index).mean()) for index in range(3)]
        assert [float(row[name]) for name in ("way", "vehicle", "nature")] == pytest.approx(shares, abs=1e-6)
        assert list(event["shares"].values()) == pytest.approx(shares, abs=1e-4)


def test_groups_in_frames(tmaseg, groups, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index, rgb in enumerate(noise_frames(3, (48, 64))):
        Image.fromarray(rgb).save(folder / f"{index}.png")
    assert tmaseg("frames", folder, "-o", tmp_path / "out", "--palette", groups).code == 0
    assert set(np.unique(masks_in(tmp_path / "out"))) <= {0, 1, 2, 255}
    assert tmaseg("frames", folder, "-o", tmp_path / "sure", "--format", "confidence").code == 0
    assert masks_in(tmp_path / "sure").shape == (3, 48, 64)
    assert len(np.unique(masks_in(tmp_path / "sure"))) > 5


def test_a_group_of_nothing_is_refused(tmaseg, clip, groups, tmp_path):
    groups.write_text(GROUPS.replace("[car, truck, bus, train, motorcycle]", "[spaceship]"))
    answer = tmaseg("run", clip, "-o", tmp_path / "out.mp4", "--palette", groups)
    assert answer.code == 1
    assert "'vehicle' of groups is made of spaceship, but there is no such class in cityscapes: road" in answer.err


def test_only_what_is_listed_belongs_to_a_group(groups):
    found = map_to_groups(CITYSCAPES, get_labels(groups))
    assert {index: group for index, group in enumerate(found.table[:19].tolist()) if group != 255} == TABLE
    assert found.table[19:].min() == 255
    assert "rider" in found.missing


def test_confidence_is_the_probability_of_the_winning_class(tmaseg, clip, weights, tmp_path):
    answer = tmaseg("run", clip, "--masks", tmp_path / "masks", "--mask-format", "ids,confidence")
    assert answer.code == 0
    sure = masks_in(tmp_path / "masks" / "confidence")
    assert sure.dtype == np.uint8
    segmenter = load(weights, precision="fp32", device="cpu")
    with open_source(clip) as source:
        for frame, confidence, ids in zip(source, sure, masks_in(tmp_path / "masks" / "ids"), strict=True):
            logits = segmenter.step(frame.rgb, seconds=frame.seconds, logits=True).logits
            best = logits.softmax(0).numpy()
            wanted = np.take_along_axis(best, ids[None].astype(np.int64), 0)[0] * 255
            assert np.abs(confidence - wanted).max() < 0.6
            assert wanted.max() - wanted.min() > 5


def test_confidence_needs_the_network_on_every_frame(tmaseg, clip, tmp_path):
    answer = tmaseg("run", clip, "--masks", tmp_path / "m", "--mask-format", "confidence", "--key-frames", "2")
    assert answer.code == 1
    assert "need the network on every frame: leave out --key-frames" in answer.err
