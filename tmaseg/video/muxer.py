"""Output containers: which there are, what unit of time each has, and with which options each is written."""

from fractions import Fraction
from pathlib import Path

from tmaseg.errors import OutputError

SUFFIXES = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""What a video file may end in, and FFmpeg's name of the format."""
_LARGEST_TIMESCALE = 2_000_000  # with a finer one, a pause of a few minutes does not fit into MP4's fields
_LONGEST_GAP_TICKS = 2**28  # MP4 sums the gaps of frames that are coded out of order in 31 bits
_CONTAINER_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "duration"})
_PLAIN_KEYS = frozenset(
    {
        *("album", "album_artist", "artist", "author", "comment", "composer", "copyright", "creation_time", "date"),
        *("description", "genre", "grouping", "keywords", "location", "lyrics", "synopsis", "title", "track"),
    }
)


def kind_of(path: Path, *, lossless: bool) -> str:
    """FFmpeg's name of the container that the suffix of `path` stands for. Raises OutputError for any other suffix."""
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        came = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        raise OutputError(f"the output {path} {came}; end it in one of {', '.join(SUFFIXES)}")
    if lossless and kind != "matroska":
        raise OutputError(f"--lossless writes FFV1, which {path.suffix} cannot hold; name the output {path.stem}.mkv")
    return kind


def time_base_of(kind: str, time_base: Fraction) -> Fraction:
    """The unit of time that holds stamps in `time_base` without rounding, where the container has one.

    Matroska has milliseconds only; in MP4 units finer than half a microsecond become microseconds.
    """
    if kind in ("matroska", "webm"):
        return Fraction(1, 1000)
    return time_base if _timescale(time_base) <= _LARGEST_TIMESCALE else Fraction(1, 1_000_000)


def longest_gap(kind: str, time_base: Fraction) -> Fraction:
    """How many seconds may lie between two frames."""
    return Fraction(_LONGEST_GAP_TICKS, _timescale(time_base)) if kind in ("mp4", "mov") else Fraction(10**9)


def holds_aspect(kind: str, encoder: str) -> bool:
    """Whether the sample aspect is kept: PyAV cannot set Matroska's own field, some codecs have one themselves."""
    return kind in ("mp4", "mov") or any(codec in encoder for codec in ("264", "265", "hevc", "mpeg4"))


def muxer_options(kind: str, time_base: Fraction, metadata: dict[str, str]) -> dict[str, str]:
    """FFmpeg's options for writing a container of this kind."""
    # The pictures' time must not be moved to make room for the run-in of a sound coder.
    options = {"avoid_negative_ts": "disabled"}
    if kind in ("mp4", "mov"):
        # An edit list holds the start in units of the movie: any other unit than the video's would round it.
        options["movie_timescale"] = str(_timescale(time_base))
        # MP4 has names for the common keys; others need another table, which fewer players read.
        other = {key.lower() for key in metadata} - _PLAIN_KEYS
        options["movflags"] = "+faststart" + ("+use_metadata_tags" if other else "")
    return options


def content_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """The metadata of the content, without those of the container itself."""
    return {
        key: text for key, text in metadata.items() if key.lower() not in _CONTAINER_KEYS and not key.startswith("_")
    }


def _timescale(time_base: Fraction) -> int:
    """Units a second of an MP4 track: the muxer doubles a coarse one until it is at least 10000."""
    scale = time_base.denominator
    while scale < 10_000:
        scale *= 2
    return scale
