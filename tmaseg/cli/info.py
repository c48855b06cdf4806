"""`tmaseg info`: what is this file, and what does this machine have."""

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tmaseg
from tmaseg.cli.command import ConsoleOptions, Only
from tmaseg.errors import TmasegError
from tmaseg.video import check_exists

if TYPE_CHECKING:
    from tmaseg.model.checkpoint import WeightsInfo

_PACKAGES = ("torch", "torchvision", "av", "numpy", "opencv-python-headless", "safetensors", "typer", "onnxruntime")


def info(
    console: Annotated[ConsoleOptions, Only("json", "debug")],
    spec: Annotated[
        str | None, typer.Argument(metavar="WEIGHTS|VIDEO", help="Weights, or a video, URL or folder of images.")
    ] = None,
) -> None:
    """Describe weights, a video, or this machine.

    Of a machine: versions, devices, encoders that work, and weights that ship.
    """
    facts = describe_machine() if spec is None else describe(spec)
    typer.echo(json.dumps(facts) if console.json else "\n".join(_lines(facts)))


def _lines(facts: dict[str, object], indent: str = "") -> Iterator[str]:
    """`name: value`, nested values indented; what is empty is left out."""
    width = max((len(name) for name in facts), default=0) + 1
    for name, value in facts.items():
        if value in (None, "", [], {}, ()):
            continue
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        yield f"{indent}{name + ':':<{width}} {text}"


def describe(spec: str) -> dict[str, Any]:
    """A description of a file, a URL, a folder, or shipped weights by name. Raises TmasegError."""
    from tmaseg.model.checkpoint import read_weights_info, shipped_weights

    if spec in shipped_weights() or Path(spec).suffix.lower() in (".safetensors", ".onnx"):
        return {"kind": "weights", "name": spec, **describe_weights(read_weights_info(spec))}
    if Path(spec).suffix.lower() in (".pth", ".pt", ".ckpt"):
        raise TmasegError(f"{spec} is a PyTorch file, which may run code when read: try `tmaseg convert {spec} -o ...`")
    return describe_video(spec)


def describe_weights(info: "WeightsInfo") -> dict[str, Any]:
    """A network's configuration, classes, input geometry and origin, and a line that sums them up."""
    config, geometry = info.config, info.geometry
    fed = (
        f"windows of {geometry.window}"
        if geometry.window
        else f"short side {geometry.size}"
        if geometry.size
        else "frames as they are"
    )
    return {
        "summary": (
            f"TMANet, {config.backbone}, stride {config.output_stride}, {config.memory_frames} memory frames, "
            f"{config.classes} classes ({info.labels.name}), {fed}, {info.parameters / 1e6:.1f} M parameters"
        ),
        "parameters": info.parameters,
        "config": config.to_dict(),
        "geometry": asdict(geometry),
        "labels": info.labels.to_dict(),
        "provenance": info.provenance,
        **({"onnx": {**asdict(info.onnx), "frame": info.onnx.frame}} if info.onnx else {}),
    }


def describe_video(spec: str) -> dict[str, Any]:
    """What a source says of itself. Raises VideoError."""
    check_exists(spec)
    from tmaseg.video.source import open_source

    with open_source(spec) as source:
        info = source.info
        warnings = source.warnings
    rate = info.rate.limit_denominator(100_000)
    return {
        "kind": "video",
        "name": info.name,
        "size": f"{info.width}x{info.height}",
        "width": info.width,
        "height": info.height,
        "rate": str(rate),
        "frames": info.frames,
        "seconds": info.seconds,
        "codec": info.codec,
        "pixel_format": info.pixel_format,
        "colour": info.colour,
        "rotation": info.rotation,
        "sample_aspect": str(info.sample_aspect),
        "sound": list(info.sound),
        "metadata": info.metadata,
        "warnings": list(warnings),
    }


def describe_machine() -> dict[str, Any]:
    """Versions, devices, encoders that work, and the weights that ship."""
    import av

    from tmaseg.labels import label_set_names
    from tmaseg.model.checkpoint import read_weights_info, shipped_weights
    from tmaseg.video.encoder import working_encoders

    weights = {}
    for name, path in shipped_weights().items():
        try:
            weights[name] = str(describe_weights(read_weights_info(path))["summary"])
        except TmasegError as error:
            weights[name] = f"unusable: {error}"
    return {
        "kind": "machine",
        "tmaseg": tmaseg.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "ffmpeg": {name: ".".join(map(str, numbers)) for name, numbers in sorted(av.library_versions.items())},
        "devices": _devices(),
        "encoders": list(working_encoders()),
        "label_sets": list(label_set_names()),
        "weights": weights,
    }


def _devices() -> dict[str, dict[str, Any]]:
    """What was tried on each device, and works."""
    import torch

    from tmaseg.inference.device import accelerators, choose_precision, describe_device, tried_precisions
    from tmaseg.video.decoder import hardware_decoder
    from tmaseg.video.encoder import hardware_encoders

    cpu = torch.device("cpu")
    found: dict[str, dict[str, Any]] = {}
    for device in (cpu, *accelerators()):
        found[str(device)] = {
            "name": describe_device(device) or f"{platform.machine()}, {torch.get_num_threads()} threads",
            "precision": choose_precision("auto", device),
            "attention": tried_precisions(device),
            "decoder": "libavcodec" if device == cpu else hardware_decoder() or "none opens",
            "encoders": None if device == cpu else list(hardware_encoders()) or "none works",
        }
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
