"""Painter: class ids as colours, alone, over the picture or beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tmaseg.arrays import RGB, Labels
from tmaseg.errors import ConfigError, LabelError
from tmaseg.labels import Colour, LabelSet, get_labels, map_by_name, voc_colours

Mode = Literal["overlay", "mask", "side-by-side"]


class Painter:
    """Paints the classes of one label set.

    `missing` names the classes that the palette has no counterpart for: they are not painted.
    """

    def __init__(
        self,
        labels: LabelSet,
        *,
        mode: Mode = "overlay",
        opacity: float = 0.5,
        palette: LabelSet | str | Path | None = None,
        classes: Sequence[str] | None = None,
        legend: bool = False,
    ) -> None:
        """Sets what is painted and how.

        `opacity` is 0 (the picture alone) to 1 (the colours alone). `palette` (a label set, its name or a file) gives
        other colours: a class takes that of the class which `map_by_name` finds there; "voc" goes by class id.
        `classes` names those to paint; all but the void ones where None. Raises LabelError for a class that is not
        known or a palette that fits no class, and ConfigError for another value out of range.
        """
        if mode not in get_args(Mode):
            raise ConfigError(f"--mode is '{mode}'; choose {', '.join(get_args(Mode))}")
        if not 0 <= opacity <= 1:
            raise ConfigError(f"--opacity is {opacity}; it must lie between 0 (the picture) and 1 (the colours)")
        self.mode = mode
        self.opacity = opacity
        colours, self.missing = _colours(labels, palette)
        chosen = range(len(labels)) if classes is None else [labels.index(name) for name in classes]
        painted = [index for index in sorted({*chosen}) if index in colours]
        table = np.zeros((256, 3), np.uint8)
        unpainted = np.full(256, 255, np.uint8)
        for index in painted:
            table[index] = colours[index]
            unpainted[index] = 0
        self._table = table
        self._unpainted = unpainted
        self._legend = _Legend({index: (labels.names[index], colours[index]) for index in painted}) if legend else None

    @property
    def table(self) -> NDArray[np.uint8]:
        """(256, 3) uint8: the RGB colour of each class id, black where it is not painted."""
        return self._table.copy()

    def paint(self, rgb: RGB, labels: Labels) -> RGB:
        """A new picture of `rgb` (H, W, 3) uint8 with the class ids `labels` (H, W) uint8 painted.

        Overlay and mask are (H, W, 3), side by side is (H, 2 W, 3) with the picture on the left and its overlay on the
        right. Pixels that are not painted keep the picture's bytes; in a mask they are black.
        """
        if labels.shape != rgb.shape[:2]:
            raise LabelError(
                f"class ids are {labels.shape} (H, W), but the picture is {rgb.shape[:2]}; give one for each pixel"
            )
        labels = np.ascontiguousarray(labels)
        painted = self._mask(labels) if self.mode == "mask" else self._overlay(rgb, labels)
        if self._legend is not None:
            self._legend.draw(painted, labels)
        return np.hstack([rgb, painted]) if self.mode == "side-by-side" else painted

    def _mask(self, labels: Labels) -> RGB:
        # the fastest table lookup from one channel to three; it keeps the order of the channels
        return np.asarray(cv2.applyColorMap(labels, self._table[:, None]), np.uint8)

    def _overlay(self, rgb: RGB, labels: Labels) -> RGB:
        if self.opacity == 0:
            return rgb.copy()
        rgb = np.ascontiguousarray(rgb)
        colours = self._mask(labels)
        if self.opacity < 1:
            cv2.addWeighted(rgb, 1 - self.opacity, colours, self.opacity, 0, colours)  # in place
        return np.asarray(cv2.copyTo(rgb, cv2.LUT(labels, self._unpainted), colours), np.uint8)


def contact_sheet(rows: Sequence[Sequence[tuple[str, RGB]]], *, width: int) -> RGB:
    """(H, W, 3) uint8: rows of pictures (H, W, 3) uint8 with their titles, each reduced or enlarged to `width` pixels.

    All rows have the same number of pictures.
    """
    font = ImageFont.load_default(14)
    strips = []
    for row in rows:
        strip = []
        for title, rgb in row:
            height = max(1, round(width * rgb.shape[0] / rgb.shape[1]))
            picture = Image.fromarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))
            ImageDraw.Draw(picture).text((6, 4), title, "white", font, stroke_width=2, stroke_fill="black")
            strip.append(np.asarray(picture, np.uint8))
        strips.append(np.concatenate(strip, axis=1))
    return np.concatenate(strips)


def _colours(labels: LabelSet, palette: LabelSet | str | Path | None) -> tuple[dict[int, Colour], tuple[str, ...]]:
    """The colour of every class id that has one, and the names of classes that the palette has none for."""
    if not isinstance(palette, LabelSet | None):
        palette = get_labels(palette)
    painted = [index for index in range(len(labels)) if index not in labels.void]
    if palette is None:
        return {index: labels.colours[index] for index in painted}, ()
    if palette.name == "voc":
        by_id = voc_colours(len(labels))
        return {index: by_id[index] for index in painted}, ()
    found = map_by_name(labels, palette)
    targets = {index: int(found.table[index]) for index in painted if found.table[index] < len(palette)}
    if not targets:
        raise LabelError(
            f"palette '{palette.name}' has none of the classes that are painted ({', '.join(labels.names)}); "
            "choose another, or 'voc', which colours by class id"
        )
    return {index: palette.colours[target] for index, target in targets.items()}, found.missing


class _Legend:
    """Names beside swatches of their colours, in the top left corner.

    All painted classes where the frame has room for them, so that the legend is the same in every frame; else the
    largest ones of the frame, as many as fit. A frame too small for one readable line has no legend.
    """

    def __init__(self, entries: dict[int, tuple[str, Colour]]) -> None:
        self._entries = entries
        self._panels: dict[tuple[tuple[int, int], tuple[int, ...]], RGB] = {}

    def draw(self, rgb: RGB, labels: Labels) -> None:
        """Draw over `rgb` in place."""
        height, width = rgb.shape[:2]
        text = max(10, round(height / 40))  # smaller letters cannot be read
        line = round(1.3 * text)
        room = (height - line) // line  # half a line of margin above and below
        shown = tuple(self._entries)
        if len(shown) > room:
            areas = np.bincount(labels.ravel(), minlength=256)
            largest = sorted((index for index in shown if areas[index]), key=lambda index: -areas[index])
            shown = tuple(sorted(largest[: max(0, room)]))
        if not shown:
            return
        panel = self._panel((height, width), shown, text, line)
        if panel.shape[1] > width:
            return
        corner = rgb[: panel.shape[0], : panel.shape[1]]
        corner[:] = panel

    def _panel(self, size_hw: tuple[int, int], shown: tuple[int, ...], text: int, line: int) -> RGB:
        """Drawn once for each frame size and choice of classes."""
        key = (size_hw, shown)
        if key not in self._panels:
            if len(self._panels) >= 64:  # choices can change with every frame
                self._panels.clear()
            self._panels[key] = _draw_panel([self._entries[index] for index in shown], text, line)
        return self._panels[key]


def _draw_panel(entries: list[tuple[str, Colour]], text: int, line: int) -> RGB:
    """(H, W, 3) uint8: a line with a swatch and a name for each entry, light on dark."""
    font = ImageFont.load_default(text)
    margin = line // 2
    swatch = line + margin
    longest = max(font.getlength(name) for name, _ in entries)
    panel = Image.new("RGB", (int(margin + swatch + longest + margin), line * (len(entries) + 1)), (24, 24, 24))
    pen = ImageDraw.Draw(panel)
    for row, (name, colour) in enumerate(entries):
        top = margin + row * line
        pen.rectangle(
            (margin, top + line // 8, margin + line, top + line - line // 8), fill=colour, outline=(200, 200, 200)
        )
        pen.text((margin + swatch, top + line / 2), name, fill=(240, 240, 240), font=font, anchor="lm")
    return np.asarray(panel, np.uint8)
