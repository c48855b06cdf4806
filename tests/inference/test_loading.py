"""The one way from weights to a network that is ready to stream."""

import pytest
import torch
from tiny import noise_frames, tiny_checkpoint

from tmaseg import load
from tmaseg.errors import CheckpointError, ConfigError
from tmaseg.inference.segmenter import load_network
from tmaseg.model.checkpoint import save_checkpoint
from tmaseg.model.config import InputGeometry


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "tiny.safetensors", tiny_checkpoint(geometry=InputGeometry(size=64, window=48)))
    return tmp_path / "tiny.safetensors"


def test_a_name_a_file_and_a_checkpoint_are_one(path):
    frame = noise_frames(1, (72, 96))[0]
    wanted = load(path, device="cpu", precision="fp32").step(frame).labels
    assert wanted.shape == (72, 96)
    checkpoint = tiny_checkpoint(geometry=InputGeometry(size=64, window=48))
    for weights, name in ((path, str(path)), (checkpoint, "these weights")):
        network = load_network(weights, device="cpu", precision="fp32")
        assert (network.name, network.precision, network.device) == (name, "fp32", torch.device("cpu"))
        assert network.geometry == InputGeometry(size=64, window=48)
        assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in network.engine.net.modules())
        assert (network.segmenter().step(frame).labels == wanted).all()
    assert load_network("street", device="cpu", precision="bf16").precision == "bf16"


def test_what_the_user_sets_goes_before_what_the_checkpoint_says(path):
    (frame,) = noise_frames(1, (72, 96))

    def logits(geometry):
        return load(path, device="cpu", precision="fp32", geometry=geometry).step(frame, logits=True).logits

    found = logits(InputGeometry(size=80, stride=24))
    assert torch.equal(found, logits(InputGeometry(size=80, window=48, stride=24)))
    for other in (InputGeometry(size=80), InputGeometry(stride=24), InputGeometry(size=80, window=64, stride=24)):
        assert not torch.equal(found, logits(other))
    for geometry, message in ((InputGeometry(size=0), "--size is 0"), (InputGeometry(stride=64), "--stride is 64")):
        with pytest.raises(ConfigError, match=message):
            load(path, device="cpu", geometry=geometry)


def test_weights_devices_and_precisions_that_are_none_are_refused(path):
    with pytest.raises(CheckpointError, match="the names that ship are"):
        load_network("strete", device="cpu")
    with pytest.raises(ConfigError, match="--device is 'gpu'"):
        load_network(path, device="gpu")
    with pytest.raises(ConfigError, match="--precision is 'int8'"):
        load_network(path, device="cpu", precision="int8")
