"""export_onnx: a network's streaming step as an ONNX file, compared at once with the network it was made from."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import tmaseg
from tmaseg.arrays import RGB
from tmaseg.errors import ConfigError, OutputError
from tmaseg.files import atomic_write
from tmaseg.inference.engine import fold_batch_norm
from tmaseg.inference.onnx_runtime import OnnxNetwork, OrtSession, fitted, needs_onnx
from tmaseg.inference.onnx_step import StreamingStep
from tmaseg.inference.segmenter import load_network
from tmaseg.model.checkpoint import METADATA_KEY, Checkpoint
from tmaseg.model.config import InputGeometry, OnnxSpec
from tmaseg.video import DEMO
from tmaseg.video.source import open_source

CALIBRATION_FRAMES = 48
_OPSET = 18
_TRACED_HW = (270, 480)  # of a frame, where it may have any size
_TIE = 0.05  # between two classes' logits: rounded otherwise, the other one is as good
_MOST_DIFFERING = {"fp32": 0.02, "fp16": 0.02, "int8": 0.1}  # of the pixels


@dataclass(frozen=True)
class Parity:
    """An exported file against the network in fp32 on the demo clip, a scene cut and a reset included."""

    frames: int
    memory_resets: int
    differing: float  # fraction of pixels of another class
    worst: float  # by how much the network's logits prefer its own class, at most, where the file gives another one

    def holds(self, precision: str) -> bool:
        """Whether the file may be kept; in fp32 only ties may differ."""
        return self.differing <= _MOST_DIFFERING[precision] and (precision != "fp32" or self.worst <= _TIE)

    def __str__(self) -> str:
        return (
            f"{100 * self.differing:.4f} % of the pixels of {self.frames} frames differ from torch in fp32 "
            f"(memory emptied {self.memory_resets} times), by {self.worst:.3f} of a logit at most"
        )


def export_onnx(
    checkpoint: Checkpoint,
    path: Path,
    spec: OnnxSpec,
    *,
    calibration: Sequence[RGB] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Parity:
    """Writes the file; it appears under its name only when it is complete and its parity holds.

    `calibration`: consecutive pictures by which int8 finds its ranges. Raises ConfigError for a spec that cannot be or
    a missing package, OutputError where the file cannot be written or differs too much.
    """
    needs_onnx("onnx", "onnxscript", "onnxruntime")
    checkpoint.config.checked_memory_frames(spec.memory_frames)
    checkpoint = replace(checkpoint, geometry=InputGeometry(spec.size))
    if spec.precision == "int8" and not calibration:
        raise ConfigError("int8 needs pictures to find its ranges on: give --calibrate DIR")
    try:
        with TemporaryDirectory() as folder, atomic_write(path) as part:
            step = Path(folder) / "step.onnx"
            progress("tracing the network")
            _write(checkpoint, step, spec)
            if spec.precision == "int8":
                progress(f"quantising it, calibrated on {len(calibration)} pictures")
                _quantise(step, calibration)
            _describe(step, checkpoint, spec)
            progress("comparing it with torch")
            parity = check_parity(step, checkpoint, spec)
            if not parity.holds(spec.precision):
                raise OutputError(f"{path} was not kept: {parity}")
            part.write_bytes(step.read_bytes())
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error}): choose another place") from error
    return parity


def check_parity(path: Path, checkpoint: Checkpoint, spec: OnnxSpec, *, frames: int = 12) -> Parity:
    """Segments the demo's frames, a third of them upside down, with both; before the last third both are reset."""
    torchs = load_network(checkpoint, device="cpu", precision="fp32").segmenter(memory_frames=spec.memory_frames)
    exported = OnnxNetwork.load(path, device="cpu").segmenter()
    differing, worst, resets = [], [0.0], 0
    for index, rgb in enumerate(_pictures(DEMO, frames, 4, spec.frame_hw)):
        if index == 2 * frames // 3:
            resets += 1 + exported.memory_resets
            torchs.reset()
            exported.reset()
        if frames // 3 <= index < 2 * frames // 3:
            rgb = np.ascontiguousarray(rgb[::-1])
        expected, labels = torchs.step(rgb, logits=True), exported.step(rgb).labels
        rows, columns = np.nonzero(expected.labels != labels)
        differing.append(len(rows) / labels.size)
        assert expected.logits is not None
        logits = expected.logits[:, rows, columns].numpy()  # (K, n)
        worst += list(logits.max(0) - np.take_along_axis(logits, labels[rows, columns][None].astype(int), 0)[0])
    return Parity(frames, resets, float(np.mean(differing)), float(max(worst)))


def read_calibration(folder: Path, frame_hw: tuple[int, int] | None) -> list[RGB]:
    """Pictures of a folder, or frames of a video: evenly spaced, in order. Raises VideoError."""
    with open_source(folder) as source:
        step = max(1, (source.info.frames or 0) // CALIBRATION_FRAMES)
    return _pictures(folder, CALIBRATION_FRAMES, step, frame_hw)


def _pictures(path: Path, count: int, step: int, frame_hw: tuple[int, int] | None) -> list[RGB]:
    with open_source(path) as source:
        return [fitted(frame.rgb, frame_hw) for frame in islice(source, 0, step * count, step)]


def _write(checkpoint: Checkpoint, path: Path, spec: OnnxSpec) -> None:
    net = checkpoint.build()
    fold_batch_norm(net)
    step = StreamingStep(net.half() if spec.precision == "fp16" else net, spec).eval()
    names = ["keys", "values", "count"] if step.ring_frames else []
    outputs = ["labels", *(["logits"] if spec.logits else []), *(f"next_{name}" for name in names)]
    dynamic: Any = torch.export.Dim.DYNAMIC
    sizes = None if spec.frame_hw else ({1: dynamic, 2: dynamic}, ({2: dynamic}, {2: dynamic}, {})[: len(names)])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        frame = torch.zeros(1, *(spec.frame_hw or _TRACED_HW), 3, dtype=torch.uint8)
        program = torch.export.export(
            step,
            (frame, *step.state(step.positions(frame))),
            dynamic_shapes=sizes,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        exported = torch.onnx.export(
            program, input_names=["frame", *names], output_names=outputs, opset_version=_OPSET, verbose=False
        )
        assert exported is not None
        exported.save(str(path), external_data=False)


def _quantise(path: Path, pictures: Sequence[RGB]) -> None:
    """Convolutions in 8 bits, in place: weights by channel, activations by the ranges on `pictures`."""
    from onnxruntime.quantization import QuantType, quantize_static

    reader = SimpleNamespace(get_next=partial(next, _feeds(path, pictures), None))  # as a CalibrationDataReader
    out = path.with_name("int8.onnx")
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)  # the advice that ONNX Runtime logs to the root logger
        stack.callback(logging.disable, logging.NOTSET)
        quantize_static(
            str(path),
            str(out),
            reader,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    out.replace(path)


def _feeds(path: Path, pictures: Sequence[RGB]) -> Iterator[dict[str, Any]]:
    """The inputs of a step for each picture, in fp32."""
    session = OrtSession(path, torch.device("cpu"))
    state = session.empty_state()
    for rgb in pictures:
        yield {"frame": rgb[None], **state}
        _, _, after = session.step(rgb, state)
        state = {name: value.numpy() for name, value in after.items()}


def _describe(path: Path, checkpoint: Checkpoint, spec: OnnxSpec) -> None:
    """Adds the metadata: ours, and for other programs the same in plain words."""
    import onnx

    model = onnx.load(str(path))
    labels = checkpoint.labels
    parameters = sum(value.numel() for value in checkpoint.state.values())
    metadata = {
        METADATA_KEY: json.dumps({**checkpoint.description(), "onnx": asdict(spec), "parameters": parameters}),
        "tmaseg_version": tmaseg.__version__,
        "classes": json.dumps(labels.names),
        "colours": json.dumps([list(map(int, colour)) for colour in labels.colours]),
        "size": str(spec.size or ""),
        "memory_frames": str(spec.memory_frames),
        "frame": spec.frame,
        "precision": spec.precision,
    }
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
