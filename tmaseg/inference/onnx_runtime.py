"""OnnxSegmenter: one video's state where the network is a file of `tmaseg export`, run by ONNX Runtime or OpenVINO."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Unpack

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmaseg.arrays import RGB
from tmaseg.errors import CheckpointError, ConfigError
from tmaseg.inference.device import HostCopy, choose_device, onnx_place, onnx_providers
from tmaseg.inference.frame_segmenter import FrameSegmenter, LoadedNetwork, StreamOptions
from tmaseg.model.checkpoint import read_weights_info
from tmaseg.model.config import InputGeometry, OnnxSpec

State = dict[str, Any]
"""Keys, values and count by input, as the runtime keeps them."""

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


def fitted(rgb: RGB, frame_hw: tuple[int, int] | None) -> RGB:
    """A picture as a file for frames of `frame_hw` takes it."""
    if frame_hw is None or rgb.shape[:2] == frame_hw:
        return rgb
    return np.asarray(cv2.resize(rgb, frame_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def needs_onnx(*packages: str) -> None:
    """Raises ConfigError unless the packages are installed."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ConfigError(f"ONNX files need {', '.join(missing)}: pip install tmaseg[onnx]")


class OrtSession:
    """A file in ONNX Runtime. Keys and values stay on the device between frames."""

    def __init__(self, path: Path, device: torch.device) -> None:
        needs_onnx("onnxruntime")
        import onnxruntime

        providers = onnx_providers(device, onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its classes are not public
            raise CheckpointError(f"{path}: ONNX Runtime cannot load it ({_line(error)}): export it again") from error
        self.name = f"ONNX Runtime, {self.session.get_providers()[0].removesuffix('ExecutionProvider')}"
        self._place = onnx_place(device)

    def empty_state(self) -> State:
        """That of a first frame: zeros, one position where their number depends on the frame's size."""
        return {
            each.name: np.zeros([side if isinstance(side, int) else 1 for side in each.shape], _TYPES[each.type])
            for each in self.session.get_inputs()[1:]
        }

    def step(self, rgb: RGB, state: State) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None, State]:
        """A frame (H, W, 3) -> labels (H, W), logits (K, H, W) where the file puts them out, and the next state."""
        binding = self.session.io_binding()
        binding.bind_cpu_input("frame", np.ascontiguousarray(rgb)[None])
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, value)
            else:
                binding.bind_ortvalue_input(name, value)
        names = [each.name for each in self.session.get_outputs()]
        for name in names:
            binding.bind_output(name, *(self._place if name.startswith("next_") else ("cpu", 0)))
        self.session.run_with_iobinding(binding)
        outputs = dict(zip(names, binding.get_outputs(), strict=True))
        logits = outputs["logits"].numpy()[0] if "logits" in outputs else None
        return outputs["labels"].numpy()[0], logits, {name: outputs[f"next_{name}"] for name in state}


class OpenVinoSession:
    """A file in OpenVINO, on the CPU. As `OrtSession`."""

    name = "OpenVINO"

    def __init__(self, path: Path) -> None:
        needs_onnx("openvino")
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # else it reports its import home
        import openvino

        # By itself it takes bf16 where the CPU has it.
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self._model = openvino.Core().compile_model(str(path), "CPU", hints)
        self._inputs = [(each.any_name, each.partial_shape, each.element_type) for each in self._model.inputs]

    def empty_state(self) -> State:
        """As `OrtSession.empty_state`."""
        return {
            name: np.zeros([1 if side.is_dynamic else side.get_length() for side in shape], kind.to_dtype())
            for name, shape, kind in self._inputs
            if name != "frame"
        }

    def step(self, rgb: RGB, state: State) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None, State]:
        """As `OrtSession.step`."""
        outputs = self._model({"frame": np.ascontiguousarray(rgb)[None], **state})
        found = {name: value for port, value in outputs.items() for name in port.names}
        logits = found["logits"][0] if "logits" in found else None
        return found["labels"][0], logits, {name: found[f"next_{name}"] for name in state}


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxNetwork(LoadedNetwork):
    """An exported file in a runtime."""

    path: Path
    spec: OnnxSpec
    session: OrtSession | OpenVinoSession

    @classmethod
    def load(cls, weights: str | Path, device: str = "auto") -> "OnnxNetwork":
        """The file in ONNX Runtime. Raises CheckpointError and ConfigError."""
        info, target = read_weights_info(weights), choose_device(device)
        assert info.onnx
        return cls(
            name=str(weights),
            config=info.config,
            labels=info.labels,
            geometry=info.geometry,
            device=target,
            precision=info.onnx.precision,
            path=info.path,
            spec=info.onnx,
            session=OrtSession(info.path, target),
        )

    def segmenter(self, **options: Unpack[StreamOptions]) -> "OnnxSegmenter":
        """As `LoadedNetwork.segmenter`; only `detect_cuts` and `key_frames` may be other than the file has them."""
        if options.get("smooth"):
            raise ConfigError(f"{self.name} gives classes, not probabilities to be averaged: leave out --smooth")
        if self.geometry.overridden_by(options.get("geometry") or InputGeometry()) != self.geometry:
            raise ConfigError(f"{self.name} has its size in it: leave out --size, --window, --stride and --scales")
        frames = options.get("memory_frames")
        if frames not in (None, self.spec.memory_frames):
            raise ConfigError(
                f"{self.name} was exported with {self.spec.memory_frames} memory frames, not with {frames}: "
                f"export it again with --memory {frames}"
            )
        return OnnxSegmenter(
            self, detect_cuts=options.get("detect_cuts", True), key_frames=options.get("key_frames", 1)
        )


class OnnxSegmenter(FrameSegmenter):
    """Streams one video through an exported file."""

    def __init__(self, network: OnnxNetwork, *, detect_cuts: bool, key_frames: int | None) -> None:
        self._network, self._session = network, network.session
        self.device, self.precision = network.device, network.precision
        super().__init__(
            network.labels,
            network.spec.memory_frames,
            detect_cuts=detect_cuts,
            self_in_memory=network.config.self_in_memory,
            key_frames=key_frames,
        )

    def _empty_memory(self, *, new_size: bool) -> None:  # noqa: ARG002
        self._state = self._session.empty_state()

    def _segment(self, rgb: RGB, logits: bool, seconds: float | None) -> tuple[HostCopy, Tensor | None, bool]:  # noqa: ARG002
        frame_hw, name = self._network.spec.frame_hw, self._network.name
        if frame_hw and rgb.shape[:2] != frame_hw:
            came = f"{rgb.shape[1]}x{rgb.shape[0]}"
            raise ConfigError(
                f"a frame of {came} came but {name} takes {self._network.spec.frame}: "
                f"export it again with --frame {came}, or dynamic"
            )
        labels, values, self._state = self._session.step(rgb, self._state)
        if logits and values is None:
            raise ConfigError(f"logits were asked for, but {name} has no such output: export it again with --logits")
        return HostCopy(torch.from_numpy(labels)), None if values is None else torch.from_numpy(values), False


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
