import subprocess
import sys

import pytest
import torch
from tiny import tiny_config, tiny_net

import tmaseg.model
from tmaseg.errors import ConfigError
from tmaseg.inference.engine import fold_batch_norm
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet

PAPER = [
    {"memory_frames": frames} for frames in (0, 1, 2, 4, 6)
] + [
    {"key_channels": 8}, {"encoder": "1x1"}, {"encoder": "3x3"}, {"aggregation": "sum"}, {"aggregation": "decoder"},
    {"memory_encoder": "per-slot"}, {"align_corners": True}, {"backbone": "resnet50"}, {"stem": "plain"},
    {"backbone": "efficientnet-lite0"}, {"output_stride": 8}, {"separable": True, "aggregation": "decoder"},
    {"classes": 1}, {"aggregation": "decoder", "memory_frames": 0},
]  # fmt: skip


@pytest.mark.parametrize("changes", PAPER, ids=str)
def test_every_configuration_answers_and_learns(changes):
    net = TMANet(tiny_config(**changes)).train()
    config = net.config
    query = torch.randn(2, 3, 33, 47)
    memory = torch.randn(2, config.memory_frames, 3, 33, 47) if config.memory_frames else None
    logits = net(query, memory)
    assert logits.shape == (2, config.classes, 33, 47)
    (logits.square().mean() + net.auxiliary(net.encode_frame(query).stage3).square().mean()).backward()
    silent = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    assert silent == []


def test_the_authors_channels():
    """Ck 64, Cv 256, and 2 Cv into a bottleneck of 512 (checkpoint of the authors' code)."""
    config = TMANetConfig(classes=12)
    with torch.device("meta"):
        net = TMANet(config)
    assert config.value_channels == 256
    assert net.head.bottleneck[0].weight.shape == (512, 512, 3, 3)
    assert net.query_encoder.key[0][0].weight.shape == (64, 2048, 1, 1)
    assert net.auxiliary.bottleneck[0].weight.shape == (256, 1024, 3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "vgg"}, r"backbone is .vgg.; it must be one of .resnet18., .resnet34."),
        ({"encoder": "5x5"}, r"encoder is '5x5'"),
        ({"memory_frames": -1}, r"memory_frames is -1"),
        ({"classes": 300}, r"at most 255"),
        ({"classes": 2.5}, r"classes is 2.5; it must be a whole number"),
        ({"width": 5}, r"must be even"),
        ({"align_corners": "yes"}, r"true or false"),
        ({"self_in_memory": 1}, r"true or false"),
        ({"self_in_memory": True, "memory_encoder": "per-slot"}, r"no slot for the frame itself: use .* 'shared'"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_config(**changes)


def test_a_configuration_survives_its_dictionary():
    config = tiny_config(aggregation="decoder")
    assert TMANetConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="colour"):
        TMANetConfig.from_dict({**config.to_dict(), "colour": 1})


def test_memory_of_a_wrong_shape_is_refused():
    query = torch.randn(1, 3, 32, 32)
    with pytest.raises(ConfigError, match="none came"):
        tiny_net()(query)
    with pytest.raises(ConfigError, match="oldest first"):
        tiny_net()(query, torch.randn(1, 3, 3, 32, 40))
    with pytest.raises(ConfigError, match="oldest first"):
        tiny_net(memory_encoder="per-slot")(query, torch.randn(1, 2, 3, 32, 32))


def test_a_frame_in_its_own_memory_is_one_more_memory_frame():
    query, memory = torch.randn(2, 3, 32, 48), torch.randn(2, 3, 3, 32, 48)
    with torch.no_grad():
        own, plain = tiny_net(self_in_memory=True), tiny_net()
        torch.testing.assert_close(own(query, memory), plain(query, torch.cat([memory, query[:, None]], dim=1)))
        assert (own(query, memory) - plain(query, memory)).abs().max() > 1e-3


def test_head_reads_the_query_before_memory():
    """The order of the authors' bottleneck: its first Cv inputs are the query's own value, the others memory's."""
    net, value, read = tiny_net(), torch.randn(1, 16, 4, 4), torch.randn(1, 16, 4, 4)
    stage1 = torch.zeros(1, 4, 8, 8)
    with torch.no_grad():
        net.head.bottleneck[0].weight[:, 16:] = 0
        logits = net.head(value, read, stage1)
        assert torch.equal(logits, net.head(value, torch.randn_like(read), stage1))
        assert not torch.equal(logits, net.head(torch.randn_like(value), read, stage1))


def test_slot_order_matters_only_with_an_encoder_for_each():
    query, memory = torch.randn(1, 3, 32, 48), torch.randn(1, 3, 3, 32, 48)
    shared, slots = tiny_net(), tiny_net(memory_encoder="per-slot")
    torch.testing.assert_close(shared(query, memory), shared(query, memory.flip(1)))
    assert (slots(query, memory) - slots(query, memory.flip(1))).abs().max() > 1e-3


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "efficientnet-lite0"])
def test_folding_batch_norm_changes_nothing(backbone):
    """In float64, but for attention's scores, which are float32 always."""
    net = tiny_net(backbone=backbone, aggregation="decoder").double()
    query, memory = torch.randn(1, 3, 40, 56).double(), torch.randn(1, 3, 3, 40, 56).double()
    with torch.no_grad():
        before = net(query, memory)
        fold_batch_norm(net)
        after = net(query, memory)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6 * float(before.abs().max()))


def test_the_network_is_public_and_torch_is_imported_for_it_only():
    assert tmaseg.model.TMANet is TMANet
    assert {"TMANet", "TMANetConfig"} <= set(dir(tmaseg.model))
    with pytest.raises(AttributeError, match="no attribute 'Tmanet'"):
        _ = tmaseg.model.Tmanet
    code = "import sys; from tmaseg.model import InputGeometry, TMANetConfig; assert 'torch' not in sys.modules"
    code += "; from tmaseg.model import TMANet; assert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
