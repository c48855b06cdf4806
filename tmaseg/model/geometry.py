"""InputGeometry: how frames are fed to a network: at which size, at once or in windows. Without torch."""

from dataclasses import dataclass, replace

from tmaseg.errors import ConfigError

_LEAST_SIDE = 16
_LEAST_WINDOW = 32
_LONGEST = 8  # times the short side; beyond it, `size` would make an input of any number of pixels


@dataclass(frozen=True)
class InputGeometry:
    """All in pixels; None: as it comes."""

    size: int | None = None
    """Short side of the network's input; None: the frame's own."""
    window: int | None = None
    """Side of square windows, in pixels of the network's input; None: the entire frame at once."""
    stride: int | None = None
    """Step between windows; None: their side."""

    def overridden_by(self, other: "InputGeometry") -> "InputGeometry":
        """This one, but for what `other` sets."""
        return replace(self, **{name: value for name, value in vars(other).items() if value is not None})

    def check(self) -> None:
        """Raises ConfigError for values that are too small or do not go together."""
        if self.size is not None and self.size < _LEAST_SIDE:
            raise ConfigError(f"--size is {self.size}; the network needs a short side of at least {_LEAST_SIDE} pixels")
        if self.stride is not None and self.window is None:
            raise ConfigError("--stride came without --window: say how large the windows are")
        if self.window is None:
            return
        if self.window < _LEAST_WINDOW:
            raise ConfigError(
                f"--window is {self.window}; the network needs windows of at least {_LEAST_WINDOW} pixels"
            )
        if self.stride is not None and not 0 < self.stride <= self.window:
            raise ConfigError(f"--stride is {self.stride}; with windows of {self.window} it must be 1 to {self.window}")

    def input_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the network's input for a frame of `size_hw`, whose proportions stay.

        Where its sides differ more than 8 to 1, `size` is that of a frame of 8 to 1 with as many pixels.
        """
        if self.size is None or (min(size_hw) == self.size and not self.is_bounded(size_hw)):
            return size_hw
        short, long = sorted(size_hw)
        scale = self.size / short * min(1.0, (_LONGEST * short / long) ** 0.5)
        height, width = (max(1, round(side * scale)) for side in size_hw)
        return height, width

    def is_bounded(self, size_hw: tuple[int, int]) -> bool:
        """Whether a frame's sides differ so much that its short side is fed to the network smaller than `size`."""
        return self.size is not None and max(size_hw) > _LONGEST * min(size_hw)

    def window_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """How much of the input for a frame of `size_hw` passes the network at once: a window, or all of it."""
        height, width = self.input_hw(size_hw)
        return min(self.window or height, height), min(self.window or width, width)
