"""Drawn streets as a data set: what was drawn is what is read, and half of one is none."""

from fractions import Fraction

import numpy as np
import pytest
from typer.testing import CliRunner

from tmaseg.cli import app
from tmaseg.data import Streets, check_dataset, draw_streets, open_dataset
from tmaseg.errors import ConfigError, OutputError
from tmaseg.labels import CITYSCAPES
from tmaseg.video.street import StreetSource

SMALL = Streets(train=2, val=1, frames=3, rate=Fraction(5), size_hw=(40, 56), first_seed=7, motorways=0.5)


def test_what_is_read_is_what_was_drawn(tmp_path):
    told = []
    dataset = open_dataset(str(draw_streets(tmp_path / "streets", SMALL, told.append)))
    assert told == list(range(1, SMALL.pictures + 1))
    assert dataset.labels.names == CITYSCAPES.names
    assert not check_dataset(dataset).problems
    clips = [*dataset.split("train"), *dataset.split("val")]
    assert [len(clip.frames) for clip in clips] == [3, 3, 3]
    for seed, place, clip in zip((7, 8, 9), ("street", "motorway", "street"), clips, strict=True):
        source = StreetSource(size_hw=SMALL.size_hw, rate=SMALL.rate, frames=3, seed=seed, place=place)
        for drawn, frame in zip(source, clip.frames, strict=True):
            np.testing.assert_array_equal(dataset.image(frame), drawn.rgb)
            np.testing.assert_array_equal(dataset.truth(frame), source.labels(drawn.index))


def test_nothing_is_drawn_over_what_is_there(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty; give a folder that is new, for 9 pictures"):
        draw_streets(tmp_path, SMALL)
    with pytest.raises(OutputError, match="is a file"):
        draw_streets(tmp_path / "mine.txt", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_half_a_data_set_is_none(tmp_path):
    def stop(done):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_streets(tmp_path / "streets", SMALL, stop)
    assert not (tmp_path / "streets" / "streets.yaml").exists()


def test_the_command(tmp_path):
    def call(*arguments):
        return CliRunner().invoke(app, ["data", "draw-streets", *map(str, arguments)])

    done = call(tmp_path / "a", "--streets", 1, "--val", 0, "--frames", 2, "--size", "56x40")
    assert (done.exit_code, "--dataset" in done.stderr) == (0, True), done.output
    dataset = open_dataset(str(tmp_path / "a" / "streets.yaml"))
    assert list(dataset.splits) == ["train"]
    assert dataset.image(dataset.split("train")[0].frames[0]).shape == (40, 56, 3)
    assert call(tmp_path / "b", "--size", "56").exit_code == 2
    assert (call(tmp_path / "b", "--streets", 0).exit_code, (tmp_path / "b").exists()) == (1, False)
    assert call(tmp_path / "b", "--frames", 0).exit_code == 1


def test_no_streets_are_refused_and_more_motorways_than_streets():
    with pytest.raises(ConfigError, match="at least 1 and 0"):
        Streets(train=0)
    with pytest.raises(ConfigError, match="a share of the streets, 0 to 1"):
        Streets(motorways=1.2)


@pytest.mark.parametrize("share", [0, 0.25, 0.4, 1])
def test_motorways_come_evenly_among_the_streets(share):
    places = [Streets(motorways=share).place(number) for number in range(100)]
    assert abs(places.count("motorway") - 100 * share) <= 1
    assert abs(places[:20].count("motorway") - 20 * share) <= 1
