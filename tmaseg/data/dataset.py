"""Dataset: clips of labelled frames by split, whatever their layout on disk."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tmaseg.arrays import RGB, Labels
from tmaseg.data.clip import Clip, ClipFrame, trim
from tmaseg.data.masks import MaskReader, mask_size
from tmaseg.errors import DataError, VideoError
from tmaseg.labels import LabelSet, map_to_groups
from tmaseg.video import images


@dataclass(frozen=True)
class Sample:
    """A labelled frame and the clip it stands in: what training draws."""

    frame: ClipFrame
    clip: Clip


@dataclass(frozen=True)
class Dataset:
    """Clips of labelled frames, by split."""

    name: str  # as on the command line: "camvid"
    layout: str  # which of the layouts in the wild was found, in words
    root: Path  # the folder it was found in
    masks: MaskReader = field(repr=False)  # how its label files are read
    splits: Mapping[str, tuple[Clip, ...]] = field(repr=False)
    default_split: str = "val"  # what evaluation takes by default
    problems: tuple[str, ...] = ()  # pairs and listed files that are missing, each with a remedy
    notes: tuple[str, ...] = ()  # facts that matter to the user, such as that there are no past frames
    stretch: float = field(default=1.0, kw_only=True)  # by how much pictures must be widened for square pixels
    void_class: int | None = field(default=None, kw_only=True)  # the class of void where void is scored as a class
    descriptions: tuple[Path, ...] = field(default=(), kw_only=True)  # YAML and list files that it was read from

    @property
    def labels(self) -> LabelSet:
        """What class ids mean."""
        return self.masks.labels

    def split(self, name: str | None = None) -> tuple[Clip, ...]:
        """The clips of a split. Raises DataError when there is no such split or it holds no frame."""
        name = name or self.default_split
        if name not in self.splits:
            raise DataError(f"{self.name} in {self.root} has no split {name!r}: choose from {', '.join(self.splits)}")
        if not self.splits[name]:
            raise DataError(
                f"split {name!r} of {self.name} in {self.root} holds no labelled frame: "
                f"run `tmaseg data check {self.name} {self.root}` to see why"
            )
        return self.splits[name]

    def samples(self, split: str | None = None) -> list[Sample]:
        """Every labelled frame of a split, in order, with its clip to take past frames from."""
        return [Sample(frame, clip) for clip in self.split(split) for frame in clip.frames if frame.mask]

    def streams(self, split: str | None = None, *, past: int) -> Iterator[Clip]:
        """The clips of a split cut down to what a memory of `past` frames needs; see `trim`."""
        for clip in self.split(split):
            yield from trim(clip, past)

    def paths(self) -> Iterator[Path]:
        """Every file that it may read."""
        yield from self.descriptions
        for frame in (frame for clips in self.splits.values() for clip in clips for frame in clip.frames):
            yield frame.image
            if frame.mask:
                yield frame.mask

    def image(self, frame: ClipFrame) -> RGB:
        """(H, W, 3) uint8; see `read_frame`."""
        return read_frame(frame)

    def truth(self, frame: ClipFrame) -> Labels:
        """(H, W) uint8 class ids of a labelled frame; `labels.ignore_index` where void.

        Raises DataError for a file that cannot be read, holds other ids, or has not its picture's size.
        """
        assert frame.mask is not None
        labels, (width, height) = self.masks.read(frame.mask), frame_size(frame)
        if labels.shape != (height, width):
            raise DataError(
                f"{frame.mask}: the mask is {labels.shape[1]}x{labels.shape[0]} but its picture {width}x{height}: "
                "resize the masks with nearest neighbour"
            )
        return labels

    def raw_truth(self, frame: ClipFrame) -> Labels:
        """(H, W) uint8, the values in the file itself, for metrics that are defined on them."""
        assert frame.mask is not None
        return self.masks.read_raw(frame.mask)

    def scoring_void(self) -> "Dataset":
        """The same data with void as one more class, the last: 12 classes on CamVid, as the authors' code scores.

        Where void is a class of the label set already, that class is scored.
        """
        labels, void = self.labels, self.labels.ignore_index
        if labels.void:
            scored, void_class = replace(labels, void=()), labels.void[0]
        else:
            void_class = len(labels)
            scored = replace(
                labels,
                name=f"{labels.name}+void",
                names=(*labels.names, "void"),
                colours=(*labels.colours, (0, 0, 0)),
                ids=None,
                ignore_index=void if void > void_class else 255,
            )
        table = np.arange(256, dtype=np.uint8)
        table[void] = void_class
        return replace(self, masks=self.masks.mapped(scored, table), void_class=void_class)

    def grouped(self, groups: LabelSet) -> "Dataset":
        """The same data with the classes of `groups`, which says what each is made of. Raises LabelError."""
        return replace(self, masks=self.masks.mapped(groups, map_to_groups(self.labels, groups).table))


def read_frame(frame: ClipFrame, *, warn: Callable[[str], None] | None = None) -> RGB:
    """(H, W, 3) uint8, red first, upright, or as stored where only that fits its mask.

    `warn` receives a sentence about a file that can be read but is odd. Raises DataError.
    """
    with _data_errors():
        return images.read_image(frame.image, mask_size=_mask_size(frame), warn=warn)


def frame_size(frame: ClipFrame) -> tuple[int, int]:
    """(width, height) of what `read_frame` gives, from the file's header. Raises DataError."""
    with _data_errors():
        return images.image_size(frame.image, mask_size=_mask_size(frame))


def _mask_size(frame: ClipFrame) -> Callable[[], tuple[int, int]] | None:
    mask = frame.mask
    return None if mask is None else lambda: mask_size(mask)


@contextmanager
def _data_errors() -> Iterator[None]:
    try:
        yield
    except VideoError as error:
        raise DataError(f"{error}, or take it out of the data set") from error
