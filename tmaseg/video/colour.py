"""Colour and geometry: decoded frames become upright RGB of one size, and RGB becomes frames to encode."""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av import VideoFormat, VideoFrame
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, VideoReformatter

from tmaseg.arrays import RGB
from tmaseg.errors import VideoError
from tmaseg.video.source import ColourSpace, ReadOptions


class Letterbox:
    """Scales frames to lie within the first one's size, their shape kept, centred on black."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """`warn` is called with a sentence about the first frame of another size."""
        self.resized = 0  # frames that had another size
        self.size: tuple[int, int] | None = None  # (width, height) of the first frame
        self._warn = warn

    def fit(self, rgb: RGB, name: str) -> RGB:
        """`rgb` (H, W, 3) in the first one's size; `name` of the frame for the warning."""
        old_height, old_width = rgb.shape[:2]
        width, height = self.size = self.size or (old_width, old_height)
        if (old_width, old_height) == self.size:
            return rgb
        if not self.resized:
            self._warn(
                f"{name} is {old_width}x{old_height}, the first one {width}x{height}; "
                "those of another size are fitted into the first size"
            )
        self.resized += 1
        scale = min(width / old_width, height / old_height)
        new_width, new_height = max(1, round(old_width * scale)), max(1, round(old_height * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas = np.zeros((height, width, 3), np.uint8)
        top, left = (height - new_height) // 2, (width - new_width) // 2
        inner = canvas[top : top + new_height, left : left + new_width]
        inner[:] = cv2.resize(rgb, (new_width, new_height), interpolation=method)
        return canvas


@dataclass(frozen=True)
class Orientation:
    """What makes a stored frame upright: first transpose, then flip left-right, then flip top-bottom."""

    transpose: bool = False
    flip_horizontal: bool = False
    flip_vertical: bool = False
    degrees: float = 0.0  # counter-clockwise rotation that the file gives; a multiple of 90 but in odd files

    def apply(self, rgb: RGB) -> RGB:
        """The upright frame (H, W, 3), C-contiguous."""
        if self.transpose:
            rgb = rgb.transpose(1, 0, 2)
        vertical, horizontal = (-1 if flip else 1 for flip in (self.flip_vertical, self.flip_horizontal))
        return np.ascontiguousarray(rgb[::vertical, ::horizontal])


def orientation_of(frame: VideoFrame) -> Orientation:
    """Reads the display matrix of a decoded frame; without one it is upright."""
    # The matrix maps a stored point to a shown one, x' = a x + c y and y' = b x + d y. `VideoFrame.rotation` gives the
    # angle only, and takes a mirrored frame for one that is upside down.
    try:
        matrix = struct.unpack("=9i", bytes(frame.side_data[Type.DISPLAYMATRIX]))  # type: ignore[typeddict-item]
        a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    except (KeyError, struct.error):
        return Orientation()
    except ValueError:  # side data of a kind that PyAV does not know; the angle can be read all the same
        angle = math.radians(frame.rotation)
        cosine, sine = round(65536 * math.cos(angle)), round(65536 * math.sin(angle))
        a, b, c, d = cosine, -sine, sine, cosine
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    horizontal, vertical = (c < 0, b < 0) if transpose else (a < 0, d < 0)
    mirrored = a * d - b * c < 0
    return Orientation(transpose, horizontal, vertical, math.degrees(math.atan2(-b, -a if mirrored else a)))


_HD_HEIGHT = 720  # from here up, an untagged frame is taken for BT.709
_MATRICES = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
}
# Values of FFmpeg's AVColorSpace that can be converted.
_TAGS = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_HDR = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}


@dataclass(frozen=True)
class Colour:
    """How a stored frame becomes RGB."""

    matrix: str  # bt601, bt709, bt2020, smpte240m, fcc; or rgb, which needs none
    full_range: bool  # whether black is 0 rather than 16
    source: str  # where the matrix comes from: tagged, guessed, given
    bits: int  # of a stored component
    hdr: str = ""  # name of a high-dynamic-range transfer; empty for ordinary video

    def __str__(self) -> str:
        extent = "full" if self.full_range else "limited"
        return "rgb" if self.matrix == "rgb" else f"{self.matrix} {extent} range, {self.source}"

    def warning(self) -> str:
        """What is lost in 8 bit RGB; empty: nothing."""
        if self.hdr:
            return f"this is HDR video ({self.hdr}); it is converted without tone mapping, so colours may look flat"
        return f"this video has {self.bits} bits a component; it is reduced to 8" if self.bits > 8 else ""


def colour_of(frame: VideoFrame, given: ColourSpace | None = None) -> Colour:
    """The matrix `given`, or else the frame's tag, or else a guess from the stored height."""
    kind = frame.format
    bits = max(component.bits for component in kind.components)
    full_range = frame.color_range == ColorRange.JPEG or kind.name.startswith(("yuvj", "gray"))
    hdr = next((name for transfer, name in _HDR.items() if frame.color_trc == transfer), "")
    if kind.is_rgb or kind.has_palette:
        return Colour("rgb", True, "tagged", bits, hdr)
    if given is not None:
        return Colour(given, full_range, "given", bits, hdr)
    if tagged := _TAGS.get(int(frame.colorspace)):
        return Colour(tagged, full_range, "tagged", bits, hdr)
    return Colour("bt709" if frame.height >= _HD_HEIGHT else "bt601", full_range, "guessed", bits, hdr)


class FrameConverter:
    """Converts RGB arrays to frames for an encoder; for one video, in one thread."""

    # The RGB frame is reused: fresh memory for each costs more than the conversion does. Measured on one
    # core, 1920x1080 to yuv420p: 11.0 ms with a new frame each time, 5.3 ms with one.

    def __init__(self, width: int, height: int, pixel_format: str) -> None:
        """Size of the encoded frames, at least that of the RGB arrays, and FFmpeg's name of their pixel format."""
        self._format, self._rgb = pixel_format, VideoFrame(width, height, "rgb24")
        plane = self._rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        self._pixels = rows[:, : 3 * width].reshape(height, width, 3)  # a view: writing to it fills the frame
        self._reformatter = VideoReformatter()
        self._is_rgb = VideoFormat(pixel_format).is_rgb

    def convert(self, rgb: RGB) -> VideoFrame:
        """A new frame of `rgb` (H, W, 3), its last row and column repeated; BT.709 limited range unless it is RGB."""
        height, width = rgb.shape[:2]
        self._pixels[:height, :width] = rgb
        self._pixels[:height, width:] = rgb[:, -1:]
        self._pixels[height:] = self._pixels[height - 1]
        if self._format == "rgb24":
            return VideoFrame.from_ndarray(self._pixels, format="rgb24")  # the encoder may hold it for some frames
        if self._is_rgb:
            return self._reformatter.reformat(self._rgb, format=self._format)
        return self._reformatter.reformat(
            self._rgb,
            format=self._format,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )


class RGBConverter:
    """Converts decoded frames of one stream to upright RGB of the first one's size; in one thread."""

    def __init__(self, name: str, options: ReadOptions, warn: Callable[[str], None]) -> None:
        """`name` of the stream for errors; `warn` is called with sentences for the user, perhaps repeatedly."""
        self.letterbox = Letterbox(warn)
        self.colour: Colour | None = None  # of the latest frame, as the next
        self.orientation = Orientation()
        self._name, self._options, self._warn = name, options, warn
        self._reformatter = VideoReformatter()  # one for each frame would cost time and, in PyAV 18, memory
        self._orientations: dict[tuple[int, int, int], Orientation] = {}
        self._latest_shape: tuple[int, ...] | None = None

    def convert(self, frame: VideoFrame, seconds: float) -> tuple[RGB, bool]:
        """RGB (H, W, 3), and whether the stored size differs from that of the frame before."""
        self.colour = colour_of(frame, self._options.colorspace)
        if warning := self.colour.warning():
            self._warn(warning)
        stored = self._to_rgb(frame, self.colour)
        if self._options.autorotate:
            self.orientation = self._orientation_of(frame)
        rgb = self.orientation.apply(stored)
        changed, self._latest_shape = self._latest_shape not in (None, rgb.shape), rgb.shape
        return self.letterbox.fit(rgb, f"the frame at {seconds:.2f} s"), changed

    def _to_rgb(self, frame: VideoFrame, colour: Colour) -> RGB:
        """(H, W, 3) uint8 full range, in the stored orientation."""
        # Every frame becomes full RGB because that is cheap. Work of one core a frame at 1920x1080: decoded 8 ms, RGB
        # 0.9 ms, and then 1.5 ms to shrink it to 640x360 with a filter; shrunk and converted by swscale in one pass,
        # 1.9 ms in all. Overlays mixed in YUV, with no full RGB at all, spared 1.6 of 24 ms and differed by up to 13
        # levels of chroma along outlines.
        try:
            converted = self._reformatter.reformat(
                frame,
                format="rgb24",
                src_colorspace=_MATRICES.get(colour.matrix),
                src_color_range=ColorRange.JPEG if colour.full_range else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
            )
            return np.asarray(converted.to_ndarray(), dtype=np.uint8)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self._name}: {frame.format.name} pictures cannot be made into RGB; convert the video first"
            ) from error

    def _orientation_of(self, frame: VideoFrame) -> Orientation:
        # Side data is read as seldom as possible: a frame whose side data was read is in a reference cycle and stays
        # in memory until the next garbage collection.
        key = (frame.rotation, frame.width, frame.height)
        if key not in self._orientations:
            self._orientations[key] = orientation_of(frame)
        orientation = self._orientations[key]
        if abs((orientation.degrees + 45) % 90 - 45) >= 0.5:
            self._warn(f"the file is rotated by {orientation.degrees:.0f} degrees; that is rounded to a multiple of 90")
        return orientation
