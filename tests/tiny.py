"""A network small enough for tests, with statistics random enough that nothing cancels out."""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tmaseg.labels import generic_labels
from tmaseg.model.checkpoint import Checkpoint
from tmaseg.model.config import InputGeometry, TMANetConfig
from tmaseg.model.tmanet import TMANet


def tiny_config(**changes: Any) -> TMANetConfig:
    values: dict[str, Any] = {
        "classes": 5,
        "backbone": "resnet18",
        "width": 4,
        "output_stride": 16,
        "memory_frames": 3,
        "key_channels": 4,
        "head_channels": 8,
    }
    return TMANetConfig(**{**values, **changes})


def tiny_net(seed: int = 0, **changes: Any) -> TMANet:
    """In evaluation mode, every parameter and statistic random."""
    generator = torch.Generator().manual_seed(seed)
    net = TMANet(tiny_config(**changes)).eval()
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.75)
            elif value.ndim == 1:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
            elif value.ndim == 4:
                fan_in = value[0].numel()
                value.copy_(torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5)
    return net


def tiny_checkpoint(seed: int = 0, *, geometry: InputGeometry | None = None, **changes: Any) -> Checkpoint:
    net = tiny_net(seed, **changes)
    return Checkpoint(
        net.config, generic_labels(net.config.classes), net.state_dict(), geometry or InputGeometry(), {"data": "none"}
    )


def noise_frames(count: int, size_hw: tuple[int, int], seed: int = 0) -> list[NDArray[np.uint8]]:
    """Unrelated frames: (H, W, 3) uint8 noise, coarse enough to survive the backbone."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    frames = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (-(-height // 6), -(-width // 6), 3), dtype=np.uint8)
        frames.append(np.ascontiguousarray(coarse.repeat(6, 0).repeat(6, 1)[:height, :width]))
    return frames


def panorama(seed, size_hw=(260, 500)):
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (*size_hw, 3), np.uint8), (0, 0), 4)
    return np.asarray(cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def pan(seed, count, step_px=7, size_hw=(240, 320)):
    """A camera that turns right and down: frames, and where each looks."""
    picture = panorama(seed)
    places = [(index, step_px * index) for index in range(count)]
    return [picture[y : y + size_hw[0], x : x + size_hw[1]].copy() for y, x in places], places


def short_of_memory(segmenter, most_pixels):
    """Lets the network fail on larger inputs as torch fails on the CPU."""
    plain = segmenter.engine.encode_frame

    def encode_frame(x):
        if x.shape[-1] * x.shape[-2] > most_pixels:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
        return plain(x)

    segmenter.engine.encode_frame = encode_frame
    return segmenter
