"""Colour and geometry: decoded frames become upright RGB pictures of one size, and RGB becomes frames to encode."""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, VideoReformatter

from tmaseg.arrays import RGB
from tmaseg.errors import VideoError
from tmaseg.video.source import ColourSpace, ReadOptions


def letterbox(rgb: RGB, width: int, height: int) -> RGB:
    """`rgb` (H, W, 3) scaled to lie within (height, width), its shape kept, centred on black."""
    old_height, old_width = rgb.shape[:2]
    scale = min(width / old_width, height / old_height)
    new_width, new_height = max(1, round(old_width * scale)), max(1, round(old_height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(rgb, (new_width, new_height), interpolation=method)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    canvas[top : top + new_height, left : left + new_width] = small
    return canvas


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
        a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    except (KeyError, struct.error):
        return UPRIGHT
    except ValueError:  # side data of a kind that PyAV does not know; the angle can be had without
        angle = math.radians(frame.rotation)
        cosine, sine = round(65536 * math.cos(angle)), round(65536 * math.sin(angle))
        a, b, c, d = cosine, -sine, sine, cosine
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    mirror, upend = (c < 0, b < 0) if transpose else (a < 0, d < 0)
    mirrored = a * d - b * c < 0
    degrees = math.degrees(math.atan2(-b, -a if mirrored else a))
    return Orientation(transpose, mirror, upend, degrees)


_HD_HEIGHT = 720  # from here up, an untagged picture is taken for BT.709
_MATRICES = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}
# Values of FFmpeg's AVColorSpace that say how the picture was made and that can be undone.
_TAGS = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_TAG_MATRICES = {
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
    **_MATRICES,
}
_UNTAGGED = frozenset({0, 2, 3})  # RGB on a YUV picture, unspecified, reserved


@dataclass(frozen=True)
class Colour:
    """How a stored picture becomes RGB."""

    matrix: str
    """bt601, bt709, bt2020, smpte240m, fcc; or rgb, where nothing needs to be undone."""
    full_range: bool
    """Whether black is 0 rather than 16."""
    source: str
    """Where the matrix comes from: tagged, guessed, given."""
    bits: int
    """Of a stored component."""
    hdr: str = ""
    """Name of a high-dynamic-range transfer; empty for ordinary video."""

    def __str__(self) -> str:
        reach = "full" if self.full_range else "limited"
        return "rgb" if self.matrix == "rgb" else f"{self.matrix} {reach} range, {self.source}"

    def warnings(self) -> list[str]:
        """What a user should know of pictures that lose something on the way to 8 bit RGB."""
        if self.hdr:
            return [f"this is HDR video ({self.hdr}); it is converted without tone mapping, so colours may look flat"]
        if self.bits > 8:
            return [f"this video has {self.bits} bits a component; it is reduced to 8"]
        return []


def colour_of(frame: VideoFrame, given: ColourSpace | None = None) -> Colour:
    """Trust the frame's tag; guess where there is none from the stored height; `given` outdoes both."""
    kind = frame.format
    bits = max(component.bits for component in kind.components)
    full_range = frame.color_range == ColorRange.JPEG or kind.name.startswith(("yuvj", "gray"))
    hdr = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}.get(int(frame.color_trc), "")
    if kind.is_rgb or kind.has_palette:
        return Colour("rgb", True, "tagged", bits, hdr)
    if given is not None:
        return Colour(given, full_range, "given", bits, hdr)
    tagged = _TAGS.get(int(frame.colorspace))
    if tagged is not None:
        return Colour(tagged, full_range, "tagged", bits, hdr)
    return Colour("bt709" if frame.height >= _HD_HEIGHT else "bt601", full_range, "guessed", bits, hdr)


def to_rgb(frame: VideoFrame, colour: Colour, reformatter: VideoReformatter) -> RGB:
    """(H, W, 3) uint8 full range, in the stored orientation.

    One `reformatter` for each thread: a scaler made anew for each frame costs time and, in PyAV 18, memory.

    Every frame becomes full RGB because that is cheap. Work of one core a frame at 1920x1080: decoded 8 ms, RGB 0.9 ms,
    and then 1.5 ms to shrink it to 640x360 with a filter; shrunk and converted by swscale in one pass, 1.9 ms in all.
    Overlays mixed in YUV, with no full RGB at all, spared 1.6 of 24 ms and differed by up to 13 levels of chroma along
    outlines.
    """
    picture = reformatter.reformat(
        frame,
        format="rgb24",
        src_colorspace=_TAG_MATRICES.get(colour.matrix),
        src_color_range=ColorRange.JPEG if colour.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )
    return np.asarray(picture.to_ndarray(), dtype=np.uint8)


class EncoderPictures:
    """Makes RGB pictures into frames for an encoder; for one video, in one thread.

    The RGB frame is kept between pictures: fresh memory for each costs more than the conversion does. Measured on one
    core, 1920x1080 to yuv420p: 11.0 ms with a new frame each time, so 5.3 ms.
    """

    def __init__(self, width: int, height: int, pixel_format: str) -> None:
        """Size of the frames, at least that of the pictures, and FFmpeg's name of what the encoder takes."""
        self._format, self._rgb = pixel_format, VideoFrame(width, height, "rgb24")
        plane = self._rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        self._pixels = rows[:, : 3 * width].reshape(height, width, 3)  # a view: writing to it fills the frame
        self._reformatter = VideoReformatter()
        self._is_rgb = VideoFormat(pixel_format).is_rgb

    def make(self, rgb: RGB) -> VideoFrame:
        """A new frame of `rgb` (H, W, 3), its last row and column repeated up to the frame's size.

        BT.709 limited range and tagged so, unless the encoder stores RGB.
        """
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


class PictureMaker:
    """For one stream, in one thread. The first picture sets the size."""

    def __init__(self, name: str, options: ReadOptions, warn: Callable[[str], None]) -> None:
        """`name` of the stream for errors; `warn` is told sentences for the user, perhaps repeatedly."""
        self.resized = 0
        """Pictures fitted into the first one's size."""
        self.colour: Colour | None = None
        """Of the latest frame."""
        self.orientation = UPRIGHT
        """Of the latest frame."""
        self._name, self._options, self._warn = name, options, warn
        self._reformatter = VideoReformatter()
        self._orientations: dict[tuple[int, int, int], Orientation] = {}
        self._size: tuple[int, int] | None = None
        self._latest_size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of every picture; known after the first."""
        assert self._size is not None
        return self._size

    def make(self, frame: VideoFrame, seconds: float) -> tuple[RGB, bool]:
        """The picture (H, W, 3), and whether it differs in size from the one before it in the file."""
        self.colour = colour_of(frame, self._options.colorspace)
        for warning in self.colour.warnings():
            self._warn(warning)
        try:
            stored = to_rgb(frame, self.colour, self._reformatter)
        except (av.FFmpegError, OSError) as error:
            kind = frame.format.name
            raise VideoError(
                f"{self._name}: {kind} pictures cannot be made into RGB; convert the video first"
            ) from error
        self.orientation = self._orientation_of(frame)
        return self._fit(self.orientation.apply(stored), seconds)

    def _orientation_of(self, frame: VideoFrame) -> Orientation:
        if not self._options.autorotate:
            return UPRIGHT
        # Side data is looked at as seldom as can be: once touched, a frame is in a reference cycle and stays in memory
        # until the garbage collector comes by.
        key = (frame.rotation, frame.width, frame.height)
        if key not in self._orientations:
            self._orientations[key] = orientation_of(frame)
        orientation = self._orientations[key]
        if not orientation.square:
            self._warn(f"the file asks for a turn by {orientation.degrees:.0f} degrees; only quarter turns are made")
        return orientation

    def _fit(self, rgb: RGB, seconds: float) -> tuple[RGB, bool]:
        size = (rgb.shape[1], rgb.shape[0])
        changed = self._latest_size not in (None, size)
        self._latest_size = size
        if self._size is None:
            self._size = size
        if size == self._size:
            return rgb, changed
        if not self.resized:
            self._warn(
                f"the picture changes from {self._size[0]}x{self._size[1]} to {size[0]}x{size[1]} at {seconds:.2f} s; "
                "pictures of another size are fitted into the first"
            )
        self.resized += 1
        return letterbox(rgb, *self._size), changed
