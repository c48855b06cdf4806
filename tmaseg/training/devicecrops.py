"""DeviceCrops: planned crops become pixels on the device, from pictures kept there.

The same geometry and light as `tmaseg.data.transforms` has with OpenCV, to within a grey level or two: OpenCV places
samples to a 32nd of a pixel and counts hues in steps of two degrees. Notation: H W a stored picture, h w the crop.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tmaseg.data.transforms import MEAN_COLOUR, Light, Matrix
from tmaseg.training.image_cache import FileCache
from tmaseg.training.scene import VOID, View


class DeviceCrops:
    """As `HostCrops`, but a step takes only numbers to the device once its pictures have been there."""

    def __init__(self, crop_hw: tuple[int, int], device: torch.device, *, most_bytes: int) -> None:
        """Pictures are kept on the device while they fit in `most_bytes`; others are taken there each time."""
        self._crop_hw = crop_hw
        self._device = device
        self._files: FileCache[Tensor] = FileCache(most_bytes)
        self._mean = torch.tensor(MEAN_COLOUR, dtype=torch.float32, device=device)[:, None, None]

    @torch.no_grad()
    def pictures(self, views: Sequence[View]) -> Tensor:
        """(N, h, w, 3) uint8 on the device. Raises DataError when a file cannot be read."""
        return torch.stack([self._picture(view) for view in views])

    @torch.no_grad()
    def labels(self, views: Sequence[View]) -> Tensor:
        """(N, h, w) uint8 on the device, as `Crops.labels`. Raises DataError."""
        return torch.stack([self._labels(view) for view in views])

    def _picture(self, view: View) -> Tensor:
        stored = self._files.get(
            view.frame.image, lambda: self._taken(view.data.cache.picture(view.frame))
        )  # (H, W, 3)
        centred = stored.permute(2, 0, 1).float() - self._mean  # so that the mean colour lies outside
        rgb = warp(centred, view.matrix, self._crop_hw, mode="bilinear") + self._mean
        return relight(rgb, view.light).permute(1, 2, 0).to(torch.uint8).contiguous()

    def _labels(self, view: View) -> Tensor:
        if view.frame.mask is None:
            return torch.full(self._crop_hw, VOID, dtype=torch.uint8, device=self._device)
        stored = self._files.get(view.frame.mask, lambda: self._taken(_known(view)))  # (H, W)
        outside = stored[None].float() - VOID
        return (warp(outside, view.matrix, self._crop_hw, mode="nearest")[0] + VOID).to(torch.uint8)

    def _taken(self, stored: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(stored)).to(self._device)


def warp(picture: Tensor, matrix: Matrix, crop_hw: tuple[int, int], *, mode: str) -> Tensor:
    """(C, H, W) float32 -> (C, h, w) by a matrix from stored pixels to crop pixels; zeros lie outside."""
    height, width = picture.shape[1:]
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    # grid_sample counts from -1 to 1 between the outer edges of the outer pixels.
    back = np.array([[2 / width], [2 / height]]) * back
    back[:, 2] += 1 / np.array([width, height]) - 1
    down = torch.arange(crop_hw[0], device=picture.device, dtype=torch.float32)[:, None, None]  # (h, 1, 1)
    across = torch.arange(crop_hw[1], device=picture.device, dtype=torch.float32)[None, :, None]  # (1, w, 1)
    turn = torch.tensor(back, dtype=torch.float32).to(picture.device, non_blocking=True)  # (2, 3)
    grid = across * turn[:, 0] + down * turn[:, 1] + turn[:, 2]  # (h, w, 2)
    return functional.grid_sample(picture[None], grid[None], mode=mode, align_corners=False)[0]


def relight(rgb: Tensor, light: Light) -> Tensor:
    """(3, h, w) float32 of 0 to 255 with its light changed, in whole levels."""
    if light.hue or light.saturation != 1:
        rgb = _recolour(rgb, light)
    if light.brightness or light.contrast != 1:
        rgb = ((rgb - 128) * light.contrast + 128 + light.brightness).clamp(0, 255)
    if light.blur_px:
        rgb = _blur(rgb, light.blur_px)
    if light.noise:
        own = torch.Generator(rgb.device).manual_seed(light.noise_seed)
        rgb = rgb + light.noise * torch.randn(rgb.shape, generator=own, device=rgb.device)
    return rgb.clamp(0, 255).round()


def _recolour(rgb: Tensor, light: Light) -> Tensor:
    """Hue turned and saturation scaled, in HSV: the value stays."""
    value, least = rgb.amax(0), rgb.amin(0)
    chroma = value - least  # (h, w)
    red, green, blue = rgb
    some = chroma.clamp_min(1e-6)
    hue = torch.where(
        value == red,
        (green - blue) / some,
        torch.where(value == green, 2 + (blue - red) / some, 4 + (red - green) / some),
    )  # in sixths of a turn
    hue = hue + light.hue / 30
    chroma = torch.minimum(chroma * light.saturation, value)
    places = torch.tensor([5.0, 3.0, 1.0]).to(rgb.device, non_blocking=True)[:, None, None]
    around = (places + hue) % 6  # (3, h, w)
    return value - chroma * torch.minimum(around, 4 - around).clamp(0, 1)


def _blur(rgb: Tensor, sigma: float) -> Tensor:
    """Gaussian, three standard deviations wide, mirrored at the edges; as OpenCV does to bytes."""
    reach = round(6 * sigma + 1) // 2
    places = torch.arange(-reach, reach + 1, device=rgb.device, dtype=torch.float32)
    kernel = torch.softmax(-(places**2) / (2 * sigma**2), 0)
    padded = functional.pad(rgb[:, None], (reach, reach, reach, reach), mode="reflect")  # (3, 1, h + 2r, w + 2r)
    across = functional.conv2d(padded, kernel[None, None, None])
    return functional.conv2d(across, kernel[None, None, :, None])[:, 0]


def _known(view: View) -> NDArray[np.uint8]:
    """Stored labels as batches have them: VOID where the network has no counterpart."""
    return np.asarray(view.data.known[view.data.cache.labels(view.data.dataset, view.frame)], np.uint8)
