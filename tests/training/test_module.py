"""The training forward is the network's own; frozen parts stay; statistics are shared exactly."""

import pytest
import torch
from tiny import tiny_net
from torch.nn import functional

from tmaseg.model.preprocess import Preprocess
from tmaseg.training.module import TrainingModule, convert_sync_batch_norm, freeze, set_dropout, set_train_mode
from tmaseg.training.recipe import Optimizer
from tmaseg.training.trainer import make_optimizer

NORMS = torch.nn.BatchNorm2d


@pytest.mark.parametrize("changes", [{}, {"memory_encoder": "per-slot"}, {"self_in_memory": True}], ids=str)
@pytest.mark.parametrize("aggregation", ["concat", "decoder"])
def test_reading_by_index_is_the_clip_form(changes, aggregation):
    net = tiny_net(memory_frames=2, aggregation=aggregation, **changes)
    module = TrainingModule(net, stride=1, auxiliary=True)
    pictures = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    # Row 0 reads pictures 2 and 3, row 1 itself and row 0.
    memory_pictures, memory = torch.tensor([0, 1, 2, 3]), torch.tensor([[2, 3], [1, 0]])
    logits, auxiliary = module(pictures, memory_pictures, memory)
    frames = Preprocess(net.config)(pictures, (64, 64))
    expected = net(frames[:2], frames[memory])
    assert torch.allclose(logits, expected, atol=1e-4)
    stage3 = net.encode_frame(frames[:2]).stage3
    assert torch.allclose(auxiliary, net.resize(net.auxiliary(stage3), (64, 64)), atol=1e-4)
    others = module(pictures, torch.tensor([2, 3]), torch.tensor([[0, 1], [0, 0]]))[0]  # rows that nobody reads
    assert torch.allclose(others, net(frames[:2], frames[torch.tensor([[2, 3], [2, 2]])]), atol=1e-4)
    halved, none = TrainingModule(net, stride=2, auxiliary=False)(pictures, memory_pictures, memory)
    assert halved.shape[-2:] == (32, 32)
    assert none is None
    own, hidden = module.eval()(pictures, memory_pictures, memory)[0], torch.tensor([True, False])
    decoded = module(pictures, memory_pictures, memory, hidden)[0]
    assert torch.allclose(decoded[1], own[1], atol=1e-4)
    assert not torch.allclose(decoded[0], own[0], atol=1e-4)
    with torch.no_grad():  # the hidden row hears nothing of its own value, whatever that is
        net.query_encoder.value[-1][1].bias.add_(1)
    other = module(pictures, memory_pictures, memory, hidden)[0]
    assert torch.allclose(other[0], decoded[0], atol=1e-4)
    assert not torch.allclose(other[1], decoded[1], atol=1e-4)


def test_a_picture_that_many_read_has_the_same_gradient_each_time_on_two_threads():
    net = tiny_net(output_stride=8, width=8, key_channels=64).train()
    set_dropout(net, 0.0)
    module = TrainingModule(net, stride=4, auxiliary=False)
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (4, 96, 128, 3), dtype=torch.uint8, generator=generator)
    memory_pictures, memory = torch.tensor([0, 1]), torch.tensor([[0], [0], [0], [0]])
    pull = torch.randn(4, 5, 24, 32, generator=generator)

    def gradient():
        net.zero_grad()
        (module(pictures, memory_pictures, memory)[0] * pull).sum().backward()
        return torch.cat([value.grad.flatten() for value in net.parameters() if value.grad is not None])

    torch.set_num_threads(2)  # conftest sets it back
    first = gradient()
    assert first.isfinite().all()
    assert all(torch.equal(first, gradient()) for _ in range(5))


def test_without_memory_it_is_the_baseline():
    net = tiny_net(memory_frames=0)
    pictures = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    empty = torch.zeros(0, dtype=torch.int64)
    logits, _ = TrainingModule(net, stride=1, auxiliary=False)(pictures, empty, empty.reshape(2, 0))
    assert torch.allclose(logits, net(Preprocess(net.config)(pictures, (64, 64))), atol=1e-4)


def test_frozen_stages_and_statistics_stay_and_all_else_moves():
    net = tiny_net()
    set_dropout(net, 0.0)
    freeze(net, ("stem", "layer1"), norms=False, auxiliary=False)
    optimizer = make_optimizer(net, Optimizer(lr=0.1, weight_decay=0.01))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    set_train_mode(net, ("stem", "layer1"), norms=False)
    pictures = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    rows = torch.arange(2)
    logits, _ = TrainingModule(net, stride=1, auxiliary=False)(pictures, rows, rows[:, None])
    functional.cross_entropy(logits, torch.randint(0, 5, (2, 64, 64))).backward()
    optimizer.step()
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("backbone.stem", "backbone.layer1", "auxiliary")) for name in moved)
    for part in ("backbone.layer2", "backbone.layer4", "query_encoder", "memory_encoder", "head.classifier"):
        assert any(name.startswith(part) and name.endswith("weight") for name in moved)
    assert any(name.startswith("backbone.layer2") and name.endswith("running_mean") for name in moved)
    set_train_mode(net, (), norms=True)
    assert not any(module.training for module in net.modules() if isinstance(module, NORMS))


def test_what_is_frozen_stays_frozen_when_statistics_are_shared():
    net = tiny_net()
    freeze(net, ("stem", "layer1"), norms=False, auxiliary=False)
    trained = {name: value.requires_grad for name, value in net.named_parameters()}
    values = {name: value.clone() for name, value in net.state_dict().items()}
    convert_sync_batch_norm(net, torch.device("cpu"))
    assert type(net.backbone.layer1[0].bn1) is not NORMS
    assert {name: value.requires_grad for name, value in net.named_parameters()} == trained
    assert not trained["backbone.layer1.0.bn1.weight"]
    assert trained["backbone.layer2.0.bn1.weight"]
    assert all(torch.equal(value, values[name]) for name, value in net.state_dict().items())
