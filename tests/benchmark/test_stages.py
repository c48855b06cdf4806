import pytest
from films import film, moving
from PIL import Image
from tiny import tiny_net

from tmaseg.benchmark import stages
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels

NAMES = ["decode", "convert", "model", "render", "encode", "all stages, one after the other"]


@pytest.fixture
def segmenter():
    return Segmenter(tiny_net(), generic_labels(5))


def test_each_stage_of_a_video_is_told_and_their_sum(segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "_FRAMES", 6)
    for video in (None, film(tmp_path / "clip.mp4", moving(4))):
        rows = stages.measure_stages(segmenter, video)
        seconds = {row.name: row.seconds_per_frame for row in rows}
        assert list(seconds) == NAMES
        assert seconds["convert"] >= 0  # next to nothing of so small a picture
        assert all(value > 0 for name, value in seconds.items() if name != "convert")
        assert seconds.pop(NAMES[-1]) == pytest.approx(sum(seconds.values()))
    assert list(tmp_path.iterdir()) == [tmp_path / "clip.mp4"]


def test_reading_pictures_is_all_decoding(segmenter, tmp_path):
    for number, rgb in enumerate(moving(3)):
        Image.fromarray(rgb).save(tmp_path / f"{number}.png")
    seconds = {row.name: row.seconds_per_frame for row in stages.measure_stages(segmenter, tmp_path)}
    assert seconds["decode"] > 0
    assert seconds["convert"] == 0


def test_converting_is_told_from_decoding(segmenter, tmp_path, monkeypatch):
    """A picture that takes 20 ms to make is 20 ms of converting."""
    import time

    from tmaseg.video.colour import RGBConverter

    made = RGBConverter.convert

    def slow(maker, *arguments):
        time.sleep(0.02)
        return made(maker, *arguments)

    monkeypatch.setattr(RGBConverter, "convert", slow)
    video = film(tmp_path / "clip.mp4", moving(8))
    seconds = {row.name: row.seconds_per_frame for row in stages.measure_stages(segmenter, video)}
    assert seconds["convert"] > 0.015
    assert seconds["decode"] < 0.015
