import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_checkpoint, tiny_net

from tmaseg.errors import CheckpointError
from tmaseg.model.checkpoint import find_weights, load_checkpoint, save_checkpoint
from tmaseg.model.config import InputGeometry


def test_a_checkpoint_comes_back_whole(tmp_path):
    checkpoint = tiny_checkpoint(geometry=InputGeometry(size=64, window=48, stride=32), aggregation="decoder")
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, checkpoint)
    again = load_checkpoint(path)
    assert replace(again, state={}) == replace(checkpoint, state={})
    assert again.state.keys() == checkpoint.state.keys()
    assert all(torch.equal(again.state[name], value) for name, value in checkpoint.state.items())
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_half_precision_halves_the_convolutions_only(tmp_path):
    checkpoint = tiny_checkpoint()
    save_checkpoint(tmp_path / "half.safetensors", checkpoint, half=True)
    for name, value in load_checkpoint(tmp_path / "half.safetensors").state.items():
        want = checkpoint.state[name]
        assert torch.equal(value, want.half().float() if want.ndim == 4 else want)


def _damage(path, how):
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("these are my weights, honest")
    elif how == "pickle":
        torch.save({"state_dict": {}}, path)
    elif how == "foreign":
        save_file({"weight": torch.zeros(2)}, path)
    elif how == "newer":
        save_file({"weight": torch.zeros(2)}, path, metadata={"tmaseg": json.dumps({"format": 99})})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "damaged or truncated"),
        ("empty", "an empty file"),
        ("text", "no safetensors file"),
        ("pickle", "tmaseg convert"),
        ("foreign", "another program"),
        ("newer", "format 99"),
    ],
)
def test_a_file_that_is_no_checkpoint_says_what_it_is(tmp_path, how, message):
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, tiny_checkpoint())
    _damage(path, how)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_network_that_is_built_has_parameters_of_its_own():
    checkpoint = tiny_checkpoint()
    net = checkpoint.build()
    assert all(parameter.requires_grad for parameter in net.parameters())
    with torch.no_grad():
        net.head.classifier.weight.zero_()
    assert checkpoint.state["head.classifier.weight"].abs().max() > 0
    half = replace(checkpoint, state={name: value.half() for name, value in checkpoint.state.items()})
    assert half.build().state_dict()["head.classifier.weight"].dtype == torch.float32


def test_keys_are_strict(tmp_path):
    checkpoint = tiny_checkpoint()
    path = tmp_path / "w.safetensors"
    state = dict(checkpoint.state)
    weight = state.pop("head.classifier.weight")
    save_checkpoint(path, replace(checkpoint, state=state))
    with pytest.raises(CheckpointError, match=r"head\.classifier\.weight is missing"):
        load_checkpoint(path)
    save_checkpoint(
        path, replace(checkpoint, state={**state, "head.classifier.weight": weight[:2], "more": weight.clone()})
    )
    with pytest.raises(CheckpointError, match=r"more is left over; head\.classifier\.weight has shape"):
        load_checkpoint(path)


def test_names_and_places(tmp_path):
    with pytest.raises(CheckpointError, match="no such weights file"):
        find_weights(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="a folder"):
        find_weights(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "missing" / "w.safetensors", tiny_checkpoint())


def test_the_shipped_weights_ask_for_the_size_that_their_figures_are_of():
    assert load_checkpoint("street").geometry == InputGeometry(size=360)


LABELS = {
    "name": "two",
    "names": ["road", "sky"],
    "colours": [[1, 2, 3], [4, 5, 6]],
    "void": [],
    "ids": None,
    "ignore_index": 255,
}
FIRST = {
    "classes": 2,
    "depth": 18,
    "stem": "deep",
    "width": 4,
    "output_stride": 16,
    "memory_frames": 3,
    "key_channels": 4,
    "encoder": "1x1+3x3",
    "aggregation": "decoder",
    "memory_encoder": "per-slot",
    "align_corners": True,
    "head_channels": 8,
}
NAMED = {name: value for name, value in FIRST.items() if name != "depth"}
NAMED |= {"backbone": "resnet18", "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "decoder_channels": 128}
SIZE = {"size": 64, "window": None, "stride": None}
# What described a network, at each time that this changed.
DESCRIPTIONS = {
    "depth, view": {"config": FIRST, "view": SIZE},
    "depth, reach, view": {"config": {**FIRST, "reach": 0.35}, "view": SIZE},
    "backbone, view": {"config": {**NAMED, "reach": 0.35, "separable": False}, "view": SIZE},
    "backbone, geometry": {
        "config": {**NAMED, "reach": 0.35, "separable": False, "self_in_memory": False},
        "geometry": SIZE,
    },
}


def write_raw(path, tensors, about):
    """A safetensors file as its format says: the length of the header, the header, the bytes."""
    header, data = {"__metadata__": {"tmaseg": json.dumps(about)}}, b""
    for name, value in tensors.items():
        kind = {torch.float32: "F32", torch.int64: "I64"}[value.dtype]
        raw = value.contiguous().numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("which", DESCRIPTIONS)
def test_checkpoints_of_every_time_load(tmp_path, which):
    described = DESCRIPTIONS[which]
    net = tiny_net(classes=2, aggregation="decoder", memory_encoder="per-slot", align_corners=True)
    about = {"format": 1, "labels": LABELS, "provenance": {"miou": 0.5}, **described}
    write_raw(tmp_path / "old.safetensors", net.state_dict(), about)
    checkpoint = load_checkpoint(tmp_path / "old.safetensors")
    config = checkpoint.config
    assert (config.backbone, config.width, config.aggregation) == ("resnet18", 4, "decoder")
    assert (config.reach, config.self_in_memory) == (described["config"].get("reach", 0), False)
    imagenet = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    assert (config.mean, config.std) == (imagenet if "depth" in which else ((1, 2, 3), (4, 5, 6)))
    assert checkpoint.geometry == InputGeometry(size=64)
    assert checkpoint.labels.names == ("road", "sky")
    assert checkpoint.provenance == {"miou": 0.5}
    query, memory = torch.randn(1, 3, 33, 47), torch.randn(1, 3, 3, 33, 47)
    with torch.no_grad():
        if config.reach == 0:
            assert torch.equal(checkpoint.build()(query, memory), net(query, memory))
    save_checkpoint(tmp_path / "new.safetensors", checkpoint)
    assert replace(load_checkpoint(tmp_path / "new.safetensors"), state={}) == replace(checkpoint, state={})
