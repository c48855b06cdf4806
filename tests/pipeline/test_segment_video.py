"""`tmaseg.segment_video`: the command as a function."""

import threading

import numpy as np
import pytest
import torch
from films import film, moving, stamps
from PIL import Image

import tmaseg
from tmaseg.inference.engine import Engine
from tmaseg.video.source import open_source


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return film(tmp_path_factory.mktemp("video") / "v.mp4", moving(6))


def test_it_is_the_command(video, weights, tmp_path):
    done = []
    report = tmaseg.segment_video(
        video,
        tmp_path / "out.mp4",
        weights=weights,
        masks=tmp_path / "masks",
        stats=str(tmp_path / "stats.csv"),
        end=0.16,
        memory_frames=1,
        device="cpu",
        precision="fp32",
        progress=done.append,
    )
    assert isinstance(report, tmaseg.RunReport)
    assert (report.frames, report.memory_frames, report.input) == (4, 1, str(video))
    assert done == [1, 2, 3, 4]
    assert len(stamps(tmp_path / "out.mp4")) == 4
    segmenter = tmaseg.load(weights, memory_frames=1, device="cpu", precision="fp32")
    with open_source(video) as source:
        labels = [segmenter.step(frame.rgb, seconds=frame.seconds).labels for frame in source][:4]
    for path, expected in zip(sorted((tmp_path / "masks").iterdir()), labels, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)
    assert len((tmp_path / "stats.csv").read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize("resume", [False, True])
def test_with_two_threads_the_backbone_looks_ahead_and_the_masks_are_the_same(
    video, weights, tmp_path, monkeypatch, resume
):
    before, plain, names = torch.get_num_threads(), Engine.encode_frame, []

    def encode_frame(engine, x):
        names.append(threading.current_thread().name)
        return plain(engine, x)

    monkeypatch.setattr(Engine, "encode_frame", encode_frame)
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            folder = tmp_path / str(threads)
            tmaseg.segment_video(video, weights=weights, masks=folder, device="cpu", precision="fp32", resume=resume)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        found[threads] = [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]
        assert any(name.startswith("tmaseg-ahead") for name in names) == (threads == 2)
    np.testing.assert_array_equal(found[1], found[2])


def test_it_can_be_stopped(video, weights, tmp_path):
    done = []
    report = tmaseg.segment_video(
        video, tmp_path / "out.mp4", weights=weights, progress=done.append, stop=lambda: len(done) == 2
    )
    assert report.interrupted
    assert report.frames == len(stamps(tmp_path / "out.mp4")) == 2


def test_what_cannot_be_is_an_error(video, weights, tmp_path):
    with pytest.raises(TypeError, match="unexpected option 'colour'"):
        tmaseg.segment_video(video, tmp_path / "o.mp4", weights=weights, colour="red")
    for options, error, words in (
        ({}, tmaseg.ConfigError, "nothing to write"),
        ({"output": tmp_path / "o.mp4", "key_frames": 0}, tmaseg.ConfigError, "--key-frames is 0"),
        ({"output": tmp_path / "o.mp4", "precision": "fp8"}, tmaseg.ConfigError, "--precision is 'fp8'"),
        ({"output": tmp_path / "o.mp4", "weights": "nope"}, tmaseg.CheckpointError, "no such weights file"),
        ({"output": video, "overwrite": True}, tmaseg.OutputError, "is the input itself"),
        ({"output": tmp_path / "o.mp4", "masks": tmp_path, "mask_formats": ("png",)}, tmaseg.ConfigError, "'png'"),
        ({"output": tmp_path / "o.mp4", "mask_formats": ()}, tmaseg.ConfigError, "--mask-format"),
    ):
        with pytest.raises(error, match=words):
            tmaseg.segment_video(video, **{"weights": weights, **options})
    assert not list(tmp_path.iterdir())
