"""Events: one line of JSON a frame, flushed, with shares of the picture and of regions."""

import json
import os
import threading
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tmaseg.errors import ConfigError, OutputError
from tmaseg.labels import CITYSCAPES
from tmaseg.pipeline.tables import EventsFile, Region
from tmaseg.video.source import Frame

LANE = "lane=0.5,0,1,0,1,1,0.5,1"  # the right half


def frame(index=3):
    return Frame(np.zeros((40, 60, 3), np.uint8), index, Fraction(1, 25), index)


def labels():
    ids = np.full((40, 60), 255, np.uint8)
    ids[:, 45:] = 0  # road: a quarter
    ids[:10, :30] = 13  # car: an eighth
    return ids


def test_a_line_has_the_shares_of_the_picture_and_of_regions_and_is_there_at_once(tmp_path):
    path = tmp_path / "events.jsonl"
    with EventsFile(str(path), CITYSCAPES, [Region.parse(LANE)]) as events:
        events.write(frame(), labels())
        event = json.loads(path.read_text())
        assert "latency" not in event
        events.write(replace(frame(4), arrival=time.monotonic() - 0.5), labels())
        _, second = path.read_text().splitlines()
        assert 0.5 <= json.loads(second)["latency"] < 2
    assert (event["frame"], event["seconds"]) == (3, 0.12)
    assert abs(event["time"] - path.stat().st_mtime) < 5
    assert list(event["shares"]) == list(CITYSCAPES.names)
    assert {name: share for name, share in event["shares"].items() if share} == {"road": 0.25, "car": 0.125}
    assert event["regions"]["lane"]["road"] == pytest.approx(0.5, abs=0.02)
    assert event["regions"]["lane"]["car"] == 0


def test_regions_follow_the_size_of_the_picture():
    region = Region.parse("all=0,0,1,0,1,1,0,1")
    for size_hw in ((40, 60), (720, 1280)):
        assert region.mask(size_hw).all()
    triangle = Region.parse("half=0,0,1,0,0,1").mask((1000, 1000))
    assert triangle.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("text", ["lane", "lane=0,0,1,1", "=0,0,1,0,1,1", "lane=0,0,1,0,1", "lane=0,0,2,0,1,1", "a=b"])
def test_a_region_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="write NAME=x,y,x,y,x,y with three corners"):
        Region.parse(text)


def test_a_named_pipe_may_be_there_and_a_file_not(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got = []
    reader = threading.Thread(target=lambda: got.append(path.read_text()))
    reader.start()
    with EventsFile(str(path), CITYSCAPES, []) as events:
        events.write(frame(), labels())
    reader.join()
    assert "regions" not in json.loads(got[0])
    (tmp_path / "there").touch()
    with pytest.raises(OutputError, match="exists already; give --overwrite"):
        EventsFile(str(tmp_path / "there"), CITYSCAPES, [])
