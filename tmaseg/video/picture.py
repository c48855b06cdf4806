"""Decoded frames made into pictures: right colours, right way up, one size."""

from collections.abc import Callable

import av
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tmaseg.errors import VideoError
from tmaseg.video.colour import Colour, colour_of, to_rgb
from tmaseg.video.facts import ReadOptions
from tmaseg.video.fit import letterbox
from tmaseg.video.frame import RGB
from tmaseg.video.orientation import UPRIGHT, Orientation, orientation_of


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
