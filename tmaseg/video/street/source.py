"""StreetSource: a drawn drive as a source of frames, with the truth about every pixel."""

from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tmaseg.errors import ConfigError
from tmaseg.labels import CITYSCAPES, LabelSet
from tmaseg.video.facts import Damage, StreamInfo
from tmaseg.video.frame import Frame
from tmaseg.video.street.plan import Place
from tmaseg.video.street.scene import Picture, Street

_KEPT = 64  # label maps of recent frames; more than a pipeline has under way


class StreetSource:
    """A drive down a street that no camera has seen, for any number of frames.

    Equal arguments give equal frames. Every frame is drawn on its own, so `render(1000)` takes no longer than
    `render(0)`; at other rates the same drive is seen at other moments.
    """

    label_set: LabelSet = CITYSCAPES
    """What the class ids of `labels` mean."""

    def __init__(
        self,
        *,
        size_hw: tuple[int, int] = (360, 480),
        rate: Fraction = Fraction(25),
        frames: int = 250,
        seed: int = 0,
        place: Place = "street",
    ) -> None:
        """Lay out a street of a town, or a motorway. Raises ConfigError where a value cannot work."""
        if min(size_hw) < 1 or max(size_hw) > 8192:
            raise ConfigError(f"street size is {size_hw[0]}x{size_hw[1]} (H, W); sides must be 1 to 8192 pixels")
        if not rate > 0:
            raise ConfigError(f"street rate is {rate}; it must be more than 0 frames a second")
        if frames < 1:
            raise ConfigError(f"street has {frames} frames; it must have 1 or more")
        if seed < 0:
            raise ConfigError(f"street seed is {seed}; it must be 0 or more")
        self.street = Street(size_hw=size_hw, seed=seed, place=place)
        self._rate = Fraction(rate)
        self._frames = frames
        self._recent: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    @property
    def info(self) -> StreamInfo:
        """The facts; nothing in them is an estimate."""
        height, width = self.street.size_hw
        return StreamInfo(
            name=f"{self.street.place} {self.street.seed}",
            width=width,
            height=height,
            rate=self._rate,
            time_base=1 / self._rate,
            frames=self._frames,
            seconds=float(self._frames / self._rate),
            colour="rgb",
        )

    @property
    def damage(self) -> Damage:
        """Nothing is ever wrong."""
        return Damage()

    @property
    def warnings(self) -> tuple[str, ...]:
        """None."""
        return ()

    def render(self, index: int) -> Picture:
        """Frame `index` with its class ids, whether or not it lies within `frames`. Raises ConfigError below 0."""
        if index < 0:
            raise ConfigError(f"street frame {index} was asked for; frames are counted from 0")
        picture = self.street.render(float(index / self._rate), noise=index)
        with self._lock:
            self._recent[index] = picture.labels
            while len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        return picture

    def labels(self, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8: the true class ids of frame `index`; costs nothing for the last frames drawn."""
        with self._lock:
            known = self._recent.get(index)
        return self.render(index).labels if known is None else known

    def __iter__(self) -> Iterator[Frame]:
        """`frames` frames from the start of the drive, one tick of the time base apart."""
        for index in range(self._frames):
            yield Frame(self.render(index).rgb, index, 1 / self._rate, index)

    def close(self) -> None:
        """Forget the label maps; nothing else is held."""
        with self._lock:
            self._recent.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
