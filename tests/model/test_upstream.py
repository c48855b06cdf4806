import collections
import importlib.util
import json

import numpy as np
import pytest
import torch

from tmaseg.errors import CheckpointError
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels
from tmaseg.model.checkpoint import load_checkpoint, save_checkpoint
from tmaseg.model.upstream import convert_upstream, guess_preset, read_upstream


@pytest.fixture(scope="module")
def upstream(shared):
    """The fixture's state dict and what the authors' code answers."""
    folder = shared("fixtures/upstream")
    spec = importlib.util.spec_from_file_location("fill", folder / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    keys = json.loads((folder / "camvid_t4.keys.json").read_text())
    state = {name: torch.from_numpy(np.asarray(fill.fill(name, tuple(shape)))) for name, shape in keys.items()}
    return state, dict(np.load(folder / "camvid_t4.npz"))


@pytest.fixture(scope="module")
def net(upstream):
    return convert_upstream(upstream[0]).build()


def test_the_clip_form_gives_the_authors_logits(upstream, net):
    answers = upstream[1]
    frames = torch.from_numpy(answers["frames"])
    with torch.no_grad():
        head = net.head_logits(frames[4:], frames[None, :4])
        logits = net(frames[4:], frames[None, :4])
    assert np.abs(head.numpy() - answers["head_logits"]).max() < 1e-3
    assert np.abs(logits.numpy() - answers["logits"]).max() < 1e-3
    assert (logits.argmax(1).numpy() == answers["labels"]).mean() > 0.9999


def test_the_stream_gives_the_authors_logits(upstream, net, monkeypatch):
    """Frame by frame through Segmenter; the fixture's frames are normalised already, so normalising is left out."""
    answers = upstream[1]
    segmenter = Segmenter(net, generic_labels(12), detect_cuts=False)
    ready = iter(torch.from_numpy(answers["frames"]))
    monkeypatch.setattr(segmenter, "_preprocess", lambda pixels, size_hw: next(ready)[None])
    for _ in range(5):
        last = segmenter.step(np.zeros((97, 129, 3), np.uint8), logits=True)
    assert np.abs(last.logits.numpy() - answers["logits"][0]).max() < 1e-3
    assert (last.labels == answers["labels"][0]).mean() > 0.9999


def test_what_the_shapes_say_is_read(upstream):
    checkpoint = convert_upstream(upstream[0])
    config = checkpoint.config
    assert (config.backbone, config.stem, config.classes, config.memory_frames) == ("resnet50", "deep", 12, 4)
    assert (config.key_channels, config.value_channels, config.memory_encoder) == (64, 256, "per-slot")
    assert (config.align_corners, checkpoint.geometry.window, checkpoint.geometry.stride) == (False, 640, 512)
    assert checkpoint.labels.void == (0,)
    assert checkpoint.labels.names[0] == "void"
    cityscapes = convert_upstream(upstream[0], preset="cityscapes", labels=generic_labels(12))
    assert (cityscapes.config.align_corners, cityscapes.geometry.window, cityscapes.geometry.stride) == (True, 769, 513)


def test_a_converted_file_loads_again(upstream, net, tmp_path):
    path = tmp_path / "camvid.pth"
    prefixed = collections.OrderedDict((f"module.{name}", value) for name, value in upstream[0].items())
    torch.save({"meta": {"epoch": 3, "CLASSES": ["void"]}, "state_dict": prefixed}, path)
    save_checkpoint(tmp_path / "camvid.safetensors", convert_upstream(read_upstream(path)))
    again = load_checkpoint(tmp_path / "camvid.safetensors")
    assert again.config == net.config
    assert all(torch.equal(value, again.state[name]) for name, value in net.state_dict().items())


def test_strict_errors_name_the_authors_key(upstream):
    state = dict(upstream[0])
    taken = state.pop("decode_head.memory_value_conv.1.2.conv.weight")
    with pytest.raises(CheckpointError, match=r"memory_encoder\.slots\.2\.value\.1\.0\.weight is missing"):
        convert_upstream(state)
    state["decode_head.memory_value_conv.1.2.conv.weight"] = taken[:, :, :2]
    with pytest.raises(CheckpointError, match=r"decode_head\.memory_value_conv\.1\.2\.conv\.weight has shape"):
        convert_upstream(state)
    state["decode_head.memory_value_conv.1.2.conv.weight"] = taken
    state["decode_head.extra"] = taken
    with pytest.raises(CheckpointError, match=r"decode_head\.extra is left over"):
        convert_upstream(state)


class _Harmful:
    def __reduce__(self):
        return (print, ("this ran",))


def test_files_that_are_no_state_dict_are_refused(tmp_path, capsys):
    harmful, text, empty = tmp_path / "harmful.pth", tmp_path / "text.pth", tmp_path / "empty.pth"
    torch.save({"state_dict": _Harmful()}, harmful)
    text.write_text("not a checkpoint")
    torch.save({"state_dict": {}}, empty)
    with pytest.raises(CheckpointError, match="can run code"):
        read_upstream(harmful)
    assert "this ran" not in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"text\.pth"):
        read_upstream(text)
    misnamed = text.rename(tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match=r"text\.safetensors: not a whole PyTorch file"):
        read_upstream(misnamed)
    with pytest.raises(CheckpointError, match="holds no state dict"):
        read_upstream(empty)
    with pytest.raises(CheckpointError, match="no such file"):
        read_upstream(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match=r"conv_seg\.weight is missing"):
        convert_upstream({"weight": torch.zeros(1)})


def test_the_preset_is_guessed_from_the_outputs():
    assert guess_preset(19) == "cityscapes"
    assert guess_preset(12) == "camvid"
    with pytest.raises(CheckpointError, match=r"7 outputs.*--preset"):
        guess_preset(7)
