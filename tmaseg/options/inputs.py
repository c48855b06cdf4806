"""How a source is read."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import typer

from tmaseg.options.option import INPUT, option

if TYPE_CHECKING:
    from tmaseg.video.source import ReadOptions


def parse_rate(text: str | Fraction) -> Fraction:
    """A frame rate such as 25, 29.97 or 30000/1001. Raises typer.BadParameter."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text!r} is no number such as 25 or 30000/1001") from error


def parse_seconds(text: str | float) -> float:
    """A time such as 90, 90s, 10m or 1.5h. Raises typer.BadParameter."""
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+) *([smh]?)", str(text))
    if match is None or not float(match[1]):
        raise typer.BadParameter(f"{text!r} is no time such as 90, 90s, 10m or 1h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How the input is read."""

    start: float | None = option(INPUT, "Time of the first frame to segment.", "SECONDS")
    end: float | None = option(INPUT, "Time at which to stop.", "SECONDS")
    duration: float | None = option(
        INPUT, "Time after which to stop, such as 90, 10m or 1h.", "TIME", parser=parse_seconds
    )
    every: int = option(INPUT, "Segment every N-th frame only.", "N", default=1)
    rate: Fraction | None = option(
        INPUT,
        "Frame rate of images (default 25) and of raw streams (default their own), such as 30000/1001.",
        "RATE",
        parser=parse_rate,
    )
    colorspace: Literal["bt601", "bt709", "bt2020"] | None = option(INPUT, "Override the input's colour matrix.")
    no_autorotate: bool = option(INPUT, "Ignore the input's rotation.", default=False)
    deinterlace: bool = option(INPUT, "Deinterlace the input (bwdif).", default=False)
    timeout: float = option(INPUT, "Longest wait for data of a URL, camera or pipe.", "SECONDS", default=10.0)
    live: bool | None = option(
        INPUT,
        "A live source is never waited for: where the network is slower, the newest frame is taken and the others are "
        "dropped and counted. Detected by default.",
        None,
        "--live/--no-live",
    )
    keep_all: bool = option(
        INPUT,
        "Record every frame of a live source; those that the network has no time for take the labels of the frame "
        "before, moved along.",
        default=False,
    )
    reconnect: float = option(INPUT, "Longest time to try a lost live source again; 0 never.", "SECONDS", default=60.0)
    hardware: bool = option(INPUT, "Decode and encode on a GPU or media engine if one is available.", default=False)

    def read_options(self) -> "ReadOptions":
        """As `tmaseg.video` takes them. Raises ConfigError for a value out of range."""
        from tmaseg.video.source import ReadOptions

        values = vars(self).copy()
        del values["keep_all"]
        return ReadOptions(autorotate=not values.pop("no_autorotate"), **values)
