import pytest
import torch
import torchvision

from tmaseg.errors import ConfigError
from tmaseg.model.backbone import Backbone, load_imagenet


def _randomised(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("size", [(64, 96), (81, 67)])
def test_dilation_computes_torchvisions_features_at_every_position(depth, size):
    """Turning stride into dilation changes no feature: at every 2nd (4th) position is the strided network's answer."""
    reference = _randomised(torchvision.models.get_model(f"resnet{depth}", weights=None)).double()
    frames = torch.randn(1, 3, *size, dtype=torch.float64)
    x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(frames))))
    stage3 = reference.layer3(reference.layer2(reference.layer1(x)))
    stage4 = reference.layer4(stage3)
    state = {name: value for name, value in reference.state_dict().items() if not name.startswith("fc.")}
    for stride, step3, step4 in ((16, 1, 2), (8, 2, 4)):
        backbone = Backbone(depth, stem="plain", width=64, output_stride=stride).eval().double()
        backbone.load_state_dict(state)
        features = backbone(frames)
        assert features.stage4.shape[-1] == -(-size[1] // stride)
        torch.testing.assert_close(features.stage3[..., ::step3, ::step3], stage3)
        torch.testing.assert_close(features.stage4[..., ::step4, ::step4], stage4)


@pytest.mark.parametrize(("depth", "channels"), [(18, 512), (34, 512), (50, 2048), (101, 2048)])
def test_every_depth_builds_with_the_deep_stem(depth, channels):
    backbone = Backbone(depth, stem="deep", width=64, output_stride=8)
    assert backbone.channels == (channels // 8, channels // 2, channels)
    assert backbone.stem[0].out_channels == 32


def test_imagenet_weights_fill_the_backbone(monkeypatch):
    donor = _randomised(torchvision.models.resnet18(weights=None))
    monkeypatch.setattr(
        "torchvision.models.ResNet18_Weights.get_state_dict", lambda self, **options: donor.state_dict()
    )
    backbone = Backbone(18, stem="plain", width=64, output_stride=16)
    load_imagenet(backbone, 18)
    torch.testing.assert_close(backbone.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)


def test_imagenet_weights_offline_say_what_to_do(monkeypatch):
    def refuse(self, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.ResNet18_Weights.get_state_dict", refuse)
    with pytest.raises(ConfigError, match=r"no route to host.*without pretrained_backbone.*--init none"):
        load_imagenet(Backbone(18, stem="plain", width=64, output_stride=16), 18)
    with pytest.raises(ConfigError, match="plain stem at width 64"):
        load_imagenet(Backbone(18, stem="deep", width=64, output_stride=16), 18)
