"""How a source is read."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tmaseg.options.panels import INPUT, option

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

    start: Annotated[float | None, option(INPUT, help="Time of the first frame to segment.", metavar="SECONDS")] = None
    end: Annotated[float | None, option(INPUT, help="Time at which to stop.", metavar="SECONDS")] = None
    duration: Annotated[
        float | None,
        option(INPUT, help="Time after which to stop, such as 90, 10m or 1h.", metavar="TIME", parser=parse_seconds),
    ] = None
    every: Annotated[int, option(INPUT, help="Segment every N-th frame only.", metavar="N")] = 1
    rate: Annotated[
        Fraction | None,
        option(
            INPUT,
            help="Frame rate of images (default 25) and of raw streams (default their own), such as 30000/1001.",
            metavar="RATE",
            parser=parse_rate,
        ),
    ] = None
    colorspace: Annotated[
        Literal["bt601", "bt709", "bt2020"] | None, option(INPUT, help="Override the input's colour matrix.")
    ] = None
    no_autorotate: Annotated[bool, option(INPUT, "--no-autorotate", help="Ignore the input's rotation.")] = False
    deinterlace: Annotated[bool, option(INPUT, "--deinterlace", help="Deinterlace the input (bwdif).")] = False
    timeout: Annotated[
        float, option(INPUT, help="Longest wait for data of a URL, camera or pipe.", metavar="SECONDS")
    ] = 10.0
    live: Annotated[
        bool | None,
        option(
            INPUT,
            "--live/--no-live",
            help="A live source is never waited for: where the network is slower, the newest frame is taken and the "
            "others are dropped and counted. Detected by default.",
            show_default=False,
        ),
    ] = None
    keep_all: Annotated[
        bool,
        option(
            INPUT,
            "--keep-all",
            help="Record every frame of a live source; those that the network has no time for take the labels of the "
            "frame before, moved along.",
        ),
    ] = False
    reconnect: Annotated[
        float, option(INPUT, help="Longest time to try a lost live source again; 0 never.", metavar="SECONDS")
    ] = 60.0
    hardware: Annotated[
        bool, option(INPUT, "--hardware", help="Decode and encode on a GPU or media engine if one is available.")
    ] = False

    def read_options(self) -> "ReadOptions":
        """As `tmaseg.video` takes them. Raises ConfigError for a value out of range."""
        from tmaseg.video.source import ReadOptions

        values = vars(self).copy()
        del values["keep_all"]
        return ReadOptions(autorotate=not values.pop("no_autorotate"), **values)
