"""Conversion of the authors' checkpoints: parameter names, and the configuration from tensor shapes.

Facts about their networks are in the paper and in the shapes; what no shape shows comes from a preset.
"""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from safetensors import SafetensorError
from torch import Tensor

from tmaseg.errors import CheckpointError
from tmaseg.labels import LabelSet, get_labels
from tmaseg.model.checkpoint import Checkpoint
from tmaseg.model.config import BackboneName, EncoderKind, InputGeometry, TMANetConfig

Preset = Literal["cityscapes", "camvid"]


class _Preset(NamedTuple):
    """Hyperparameters of the authors for one data set that cannot be read from tensor shapes."""

    outputs: int
    align_corners: bool
    geometry: InputGeometry
    labels: str


_PRESETS: dict[str, _Preset] = {
    "cityscapes": _Preset(19, True, InputGeometry(window=769, stride=513), "cityscapes"),
    "camvid": _Preset(12, False, InputGeometry(window=640, stride=512), "camvid12"),
}

# The backbone by the number of blocks in stage 3, and whether they are bottlenecks.
_BACKBONES: dict[tuple[int, bool], BackboneName] = {
    (2, False): "resnet18",
    (6, False): "resnet34",
    (6, True): "resnet50",
    (23, True): "resnet101",
}

_RENAMES = (
    (r"^decode_head\.memory_(key|value)_conv\.(\d+)\.(\d+)\.", r"memory_encoder.slots.\3.\1.\2."),
    (r"^decode_head\.query_(key|value)_conv\.(\d+)\.", r"query_encoder.\1.\2."),
    (r"^decode_head\.bottleneck\.", "head.bottleneck."),
    (r"^decode_head\.conv_seg\.", "head.classifier."),
    (r"^auxiliary_head\.convs\.0\.", "auxiliary.bottleneck."),
    (r"^auxiliary_head\.conv_seg\.", "auxiliary.classifier."),
    (r"^((?:head|auxiliary|query_encoder|memory_encoder)\..*)\.conv\.", r"\1.0."),
    (r"^((?:head|auxiliary|query_encoder|memory_encoder)\..*)\.bn\.", r"\1.1."),
)


def read_upstream(path: Path) -> dict[str, Tensor]:
    """The state dict of a PyTorch file, bare or under "state_dict", without "module." prefixes; unpickled safely.

    Raises CheckpointError when the file is missing, damaged, holds code to run, or holds no state dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our error says what is wrong with the file
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: it is no plain state dict and is not loaded, since unpickling other objects can run code "
            f"({reason}): save its state_dict alone with torch.save"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a whole PyTorch file ({reason}): get it again") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path}: holds no state dict; a checkpoint of the authors' code has one under 'state_dict'"
        )
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def convert_upstream(
    state: dict[str, Tensor], *, preset: Preset | None = None, labels: LabelSet | None = None
) -> Checkpoint:
    """An authors' state dict as one of our checkpoints.

    T, Ck, Cv, classes, depth, stem and encoders are read from the shapes; align_corners, window and stride come from
    the preset, which is guessed from the number of outputs when None; `labels` replaces the preset's label set.
    Raises CheckpointError that names a key that is missing, left over or of the wrong shape.
    """
    classes = _shape(state, "decode_head.conv_seg.weight")[0]
    chosen = _PRESETS[preset or guess_preset(classes)]
    labels = labels or get_labels(chosen.labels)
    if len(labels) != classes:
        raise CheckpointError(
            f"the checkpoint has {classes} outputs but the label set {labels.name!r} has {len(labels)} classes: "
            "give a label set that fits with --labels"
        )
    config = _read_config(state, classes=classes, align_corners=chosen.align_corners)
    renamed = {_rename(name): value.float() if value.is_floating_point() else value for name, value in state.items()}
    theirs = {_rename(name): name for name in state}
    checkpoint = Checkpoint(config, labels, renamed, chosen.geometry, {"source": "authors' checkpoint, converted"})
    try:
        checkpoint.build()
    except CheckpointError as error:
        text = str(error)
        for ours, name in theirs.items():
            text = re.sub(rf"(?<![\w.]){re.escape(ours)} (is|has)", rf"{name} \1", text)
        raise CheckpointError(text) from error
    return checkpoint


def guess_preset(classes: int) -> Preset:
    """The preset with that number of outputs. Raises CheckpointError when there is none."""
    for name in get_args(Preset):
        if _PRESETS[name].outputs == classes:
            return cast(Preset, name)
    raise CheckpointError(
        f"the checkpoint has {classes} outputs, which is neither Cityscapes' 19 nor CamVid's 12: "
        "say --preset cityscapes or camvid for its geometry, and --labels FILE for its classes"
    )


def _read_config(state: dict[str, Tensor], *, classes: int, align_corners: bool) -> TMANetConfig:
    stage3 = {int(m[1]) for name in state if (m := re.match(r"backbone\.layer3\.(\d+)\.", name))}
    bottlenecks = "backbone.layer3.0.conv3.weight" in state
    backbone = _BACKBONES.get((len(stage3), bottlenecks))
    if backbone is None:
        raise CheckpointError(f"its backbone has {len(stage3)} blocks in stage 3; ResNet-18, 34, 50 and 101 are known")
    slots = {int(m[1]) for name in state if (m := re.match(r"decode_head\.memory_key_conv\.0\.(\d+)\.", name))}
    levels = sorted({int(m[1]) for name in state if (m := re.match(r"decode_head\.query_key_conv\.(\d+)\.", name))})
    if not slots or not levels:
        raise CheckpointError("it has no decode_head.memory_key_conv: not a TMANet of the authors' code")
    shapes = [_shape(state, f"decode_head.query_key_conv.{level}.conv.weight") for level in levels]
    key, value = shapes[0][0], _shape(state, "decode_head.query_value_conv.0.conv.weight")[0]
    if value != 4 * key:
        raise CheckpointError(
            f"its keys have {key} channels and its values {value}; values must have four times as many"
        )
    deep = "backbone.stem.0.weight" in state
    joined = _shape(state, "decode_head.bottleneck.conv.weight")
    kind = "+".join(f"{shape[2]}x{shape[3]}" for shape in shapes)
    return TMANetConfig(
        classes=classes,
        backbone=backbone,
        stem="deep" if deep else "plain",
        width=_shape(state, "backbone.stem.6.weight" if deep else "backbone.conv1.weight")[0],
        output_stride=8,
        memory_frames=len(slots),
        key_channels=key,
        encoder=cast(EncoderKind, kind),
        aggregation="sum" if joined[1] == value else "concat",
        memory_encoder="per-slot",
        align_corners=align_corners,
        head_channels=joined[0],
    )


def _shape(state: dict[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in state:
        raise CheckpointError(f"{name} is missing: not a TMANet checkpoint of the authors' code, or not a whole one")
    return tuple(state[name].shape)


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name
