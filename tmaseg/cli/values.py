"""What the text of options means."""

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tmaseg.pipeline import PictureFormat


def listed(values: Iterable[str] | None) -> tuple[str, ...]:
    """The parts of an option that takes commas, may be repeated, or both; once each."""
    return tuple(dict.fromkeys(part.strip() for value in values or () for part in value.split(",") if part.strip()))


def formats(values: Iterable[str] | None, flag: str) -> "tuple[PictureFormat, ...]":
    """Formats of pictures; "ids" where none is named. Raises typer.BadParameter for an unknown one."""
    known: dict[str, PictureFormat] = {"ids": "ids", "indexed": "indexed", "color": "color", "overlay": "overlay"}
    names = listed(values) or ("ids",)
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=flag)
    return tuple(known[name] for name in names)


def fraction(text: str, flag: str) -> Fraction:
    """A number such as 25, 29.97 or 30000/1001. Raises typer.BadParameter for anything else."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text!r} is no number such as 25 or 30000/1001", param_hint=flag) from error


def sides(text: str, flag: str) -> tuple[int, int]:
    """(H, W) of a size such as 480x360. Raises typer.BadParameter for anything else."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{text!r}; write WIDTHxHEIGHT, such as 480x360", param_hint=flag)
    return int(height), int(width)
