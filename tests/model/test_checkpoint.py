import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_checkpoint

from tmaseg.errors import CheckpointError
from tmaseg.model.checkpoint import load_checkpoint, save_checkpoint
from tmaseg.model.geometry import InputGeometry
from tmaseg.model.weights import find_weights


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
