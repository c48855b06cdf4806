"""MaskReader: a data set's own label files -> class ids, in memory; and what is wrong with a file that will not do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tmaseg.arrays import Labels
from tmaseg.errors import DataError
from tmaseg.labels import Colour, LabelSet, generic_labels

Values = NDArray[np.generic]  # (H, W) or (H, W, channels), as a file has them

_MOST_FOREIGN = 0.01  # share of pixels in colours of no class that a colour mask may have: resampled edges
_JPEG = "it is a JPEG file, whose compression changes ids: export the masks as PNG"
_THREADS = 4
BLACK_AND_WHITE = "say what white means with `id_map: {255: 1}` in a YAML"
FROM_ONE = "ids begin at 1: give `ignore: 0` in a YAML, or shift them down by one"


@dataclass(frozen=True, eq=False)
class MaskReader:
    """How a layout stores labels, and how they become the class ids of a label set."""

    labels: LabelSet  # what the ids mean once read; its ignore_index marks void
    table: Labels  # (256,) value in the file -> class id or ignore_index
    known: NDArray[np.bool_]  # (256,) whether a value may occur in a file
    colours: Mapping[Colour, int] | None = None  # colour in the file -> class id or ignore_index; None: files hold ids
    channel: int | None = None  # the channel of RGB files that holds the ids; None: files of one channel
    expected: str = ""  # what the files must hold, for messages

    @classmethod
    def of_ids(
        cls, labels: LabelSet, ids: Mapping[int, int], *, void: Iterable[int] = (), channel: int | None = None
    ) -> "MaskReader":
        """Files of ids: `ids` sends a file's value to a class id; values in `void` are allowed and no class."""
        table = np.full(256, labels.ignore_index, np.uint8)
        table[list(ids)] = list(ids.values())
        known = np.zeros(256, np.bool_)
        void = sorted(set(void) - set(ids))
        known[[*ids, *void]] = True
        expected = f"class ids {_ranges(sorted(ids))}" + (f", void {_ranges(void)}" if void else "")
        return cls(labels, table, known, channel=channel, expected=expected)

    @classmethod
    def of_label_set(cls, labels: LabelSet) -> "MaskReader":
        """Files of the set's own ids; its ignore_index and 255 are void."""
        ids = labels.ids if labels.ids is not None else range(len(labels))
        return cls.of_ids(labels, {value: index for index, value in enumerate(ids)}, void=(labels.ignore_index, 255))

    @classmethod
    def of_colours(cls, labels: LabelSet, colours: Mapping[Colour, int]) -> "MaskReader":
        """RGB files: `colours` sends a colour to a class id or to ignore_index. Other colours are void, if few."""
        nothing = np.full(256, labels.ignore_index, np.uint8)
        expected = f"an RGB picture in the {len(colours)} colours of the classes"
        return cls(labels, nothing, np.zeros(256, np.bool_), colours=dict(colours), expected=expected)

    def mapped(self, labels: LabelSet, table: Labels) -> "MaskReader":
        """The same files read as classes of `labels`; `table` (256,): class id -> class id of `labels`."""
        colours = self.colours and {colour: int(table[index]) for colour, index in self.colours.items()}
        return replace(self, labels=labels, table=table[self.table], colours=colours)

    def read(self, path: Path) -> Labels:
        """(H, W) uint8 class ids, ignore_index where void. Raises DataError: file, fault and remedy."""
        values = read_values(path)
        fault = self.fault(values, path)
        if fault:
            raise DataError(f"{path}: {fault}")
        if self.colours is not None:
            return self._from_colours(values)[0]
        return np.asarray(self.table[self.single_channel(values)], np.uint8)

    def read_raw(self, path: Path) -> Labels:
        """(H, W) uint8, the file's own values, kinds of void kept apart; as `read` for colour files."""
        if self.colours is not None:
            return self.read(path)
        return np.asarray(self.single_channel(read_values(path)), np.uint8)

    def fault(self, values: Values, path: Path) -> str | None:
        """What is wrong with the values of the file `path` and how to mend it; None for a good one."""
        return self._id_fault(values, path) if self.colours is None else self._colour_fault(values, path)

    def single_channel(self, values: Values) -> NDArray[np.integer]:
        """(H, W) where the file holds ids: its channel, or any one of three equal ones."""
        if values.ndim == 3 and self.channel is not None and values.shape[2] > self.channel:
            values = values[..., self.channel]
        elif values.ndim == 3 and values.shape[2] >= 3:
            equal = all(np.array_equal(values[..., 0], values[..., index]) for index in (1, 2))
            values = values[..., 0] if equal else values
        return np.asarray(values)

    def _id_fault(self, values: Values, path: Path) -> str | None:
        single = self.single_channel(values)
        if single.ndim != 2:
            return (
                f"a colour picture ({single.shape[2]} channels), but expected {self.expected} in one channel: use the "
                "data set's id masks, or say what each colour means in a YAML (`colours: true` with a palette)"
            )
        # Counting bytes takes a fifth of the time that sorting them does.
        used = np.flatnonzero(np.bincount(single.ravel())) if single.dtype == np.uint8 else np.unique(single)
        if used.size and (used[0] < 0 or used[-1] > 255):
            return f"16-bit values up to {used[-1]}, but expected {self.expected}: is this an instance or depth map?"
        unknown = [int(value) for value in used if not self.known[value]]
        if not unknown:
            return None
        if set(used.tolist()) <= {0, 255}:
            return f"a black-and-white mask (only 0 and 255), but expected {self.expected}: {BLACK_AND_WHITE}"
        strange = f"ids {_ranges(unknown)} are none of the expected ({self.expected})"
        if is_jpeg(path):
            return f"{strange}: {_JPEG}"
        if unknown == [len(self.labels)] and 0 not in used:
            return f"{strange}; {FROM_ONE}"
        return f"{strange}: give the right label set, or say what they mean with `id_map` in a YAML"

    def _colour_fault(self, values: Values, path: Path) -> str | None:
        if values.ndim != 3:
            return f"one channel, but expected {self.expected}: these masks may already be ids, use another layout"
        foreign = self._from_colours(values)[1]
        if foreign <= _MOST_FOREIGN:
            return None
        strange = f"{foreign:.0%} of the pixels have none of the class colours"
        if is_jpeg(path):
            return f"{strange}: {_JPEG}"
        return (
            f"{strange}: a resampled or re-compressed mask? "
            "Use the original PNG files, or add the colours to the palette"
        )

    def _from_colours(self, values: Values) -> tuple[Labels, float]:
        """Class ids, and the share of pixels in no known colour."""
        assert self.colours is not None
        rgb = np.asarray(values[..., :3], np.int64)
        codes = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        known = np.array([r << 16 | g << 8 | b for r, g, b in self.colours])
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
        hit = known[order][place] == codes
        classes = np.array(list(self.colours.values()), np.uint8)[order][place]
        return np.where(hit, classes, np.uint8(self.labels.ignore_index)), float(1 - hit.mean())


def read_values(path: Path) -> Values:
    """A mask file as it is: palette pictures give their indices. Raises DataError when it cannot be read."""
    with _open(path) as picture:
        plain = picture.mode in ("P", "L", "RGB", "RGBA", "1", "F") or picture.mode.startswith("I")
        values = np.asarray(picture if plain else picture.convert("RGB"))
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if np.issubdtype(values.dtype, np.floating):
        if not np.array_equal(values.astype(np.int64), values):
            raise DataError(f"{path}: the mask holds fractions, which are no class ids: is this a map of scores?")
        return values.astype(np.int64)
    return values


def mask_size(path: Path) -> tuple[int, int]:
    """(width, height) of a mask, from its header alone. Raises DataError."""
    with _open(path) as picture:
        return picture.size


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            yield picture
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such mask; run `tmaseg data check` to see what is missing") from error
    except Exception as error:  # decoders raise anything at files that are damaged or of another kind
        raise DataError(f"{path}: the mask cannot be read ({error}): get the file again") from error


def is_jpeg(path: Path) -> bool:
    """Whether a mask file's suffix says that it is compressed with loss."""
    return path.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif")


def _ranges(values: Iterable[int]) -> str:
    """[0, 1, 2, 7] -> "0-2, 7"."""
    parts: list[list[int]] = []
    for value in values:
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    shown = [str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts]
    return ", ".join(shown[:8]) + (" ..." if len(shown) > 8 else "")


# Masks of classes that nothing names ----------------------------------------------------------------------------------


def guess_reader(masks: Sequence[Path], root: Path) -> tuple[MaskReader, str]:
    """A reader of as many nameless classes as the masks have, and a note on it.

    Raises DataError where they hold nothing but void, are black and white, or one of them cannot hold class ids.
    """
    reader = MaskReader.of_label_set(generic_labels(255))

    def values_of(path: Path) -> NDArray[np.integer]:
        values = read_values(path)
        fault = _JPEG if is_jpeg(path) else reader.fault(values, path)
        if fault:
            raise DataError(f"{path}: {fault}")
        return np.unique(reader.single_channel(values))

    with ThreadPoolExecutor(_THREADS) as pool:
        values = sorted({int(value) for found in pool.map(values_of, masks) for value in found})
    classes = [value for value in values if value != 255]
    if not classes:
        raise DataError(f"every pixel of the masks in {root} is 255, which is void: there is nothing to learn or score")
    if values == [0, 255]:
        raise DataError(f"the masks in {root} are black and white (only 0 and 255): {BLACK_AND_WHITE}")
    note = f"no labels.yaml: {classes[-1] + 1} nameless classes, as the masks have ids"
    note += f"; {FROM_ONE}" if classes[0] else ""
    return MaskReader.of_label_set(generic_labels(classes[-1] + 1)), note
