"""Which way up: the display matrix of a frame, and pictures turned and flipped by it."""

import math
import struct
from dataclasses import dataclass

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from tmaseg.video.frame import RGB


@dataclass(frozen=True)
class Orientation:
    """What makes a stored picture upright: first transpose, then flip left-right, then flip top-bottom."""

    transpose: bool = False
    mirror: bool = False
    """Flip left-right."""
    upend: bool = False
    """Flip top-bottom."""
    degrees: float = 0.0
    """Counter-clockwise turn that the file asks for; a multiple of 90 but in odd files."""

    @property
    def square(self) -> bool:
        """Whether the file asks for a multiple of 90 degrees; other angles are rounded to one."""
        return abs((self.degrees + 45) % 90 - 45) < 0.5

    def apply(self, rgb: RGB) -> RGB:
        """The upright picture (H, W, 3), C-contiguous."""
        if self.transpose:
            rgb = rgb.transpose(1, 0, 2)
        if self.mirror:
            rgb = rgb[:, ::-1]
        if self.upend:
            rgb = rgb[::-1]
        return np.ascontiguousarray(rgb)


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """Read the display matrix of a decoded frame; none is upright.

    The matrix maps a stored point to a shown one, x' = a x + c y and y' = b x + d y. `VideoFrame.rotation` knows the
    angle only, and takes a mirrored picture for one that is upside down.
    """
    try:
        matrix = struct.unpack("=9i", bytes(frame.side_data[Type.DISPLAYMATRIX]))  # type: ignore[typeddict-item]
    except (KeyError, struct.error):
        return UPRIGHT
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    mirror, upend = (c < 0, b < 0) if transpose else (a < 0, d < 0)
    mirrored = a * d - b * c < 0
    degrees = math.degrees(math.atan2(-b, -a if mirrored else a))
    return Orientation(transpose, mirror, upend, degrees)
