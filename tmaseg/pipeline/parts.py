"""Unfinished runs: a video written in segments of about a minute, so that a run that was killed goes on with the next.

A hidden folder beside the first output holds `run.json`, what the run is, and of each complete segment its packets
(`000000.nut`) and, written last, `000000.json`: its frames and what the next segment needs to know. Tables grow in the
same folder, masks are in their place at once. The end joins the packets, without encoding again.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np

import tmaseg
from tmaseg.errors import OutputError, VideoError
from tmaseg.files import output_file, shorten
from tmaseg.options import RunOptions
from tmaseg.pipeline.stages import STAGES, Outcome
from tmaseg.video.image_source import ImageSource
from tmaseg.video.source import Frame, Source

_FREE = {"device", "compile", "timeout", "reconnect", "preview", "output", "overwrite", "skip_existing", "resume"}
"""Options that a run may be resumed with other values of; the output is known by where the parts are."""
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)

Stamp = tuple[int, int, int]  # index, pts and duration of a frame


@dataclass(frozen=True)
class Segment:
    """A complete segment, and the state of the run at its end."""

    frames: list[Stamp]
    order: list[int]  # of the packets of its video: the place of each one's frame in `frames`
    sizes: dict[str, int]  # bytes of each table
    refill: int  # number of the frame from which on the memory is filled again
    detectors: dict[str, Any]  # state of the segmenter's detectors of cuts and gaps
    network_frames: int
    memory_resets: int
    seconds: float
    stages: dict[str, float]
    warnings: list[str]
    damaged_packets: int
    damaged: bool
    last: bool  # whether the source ended here


class UnfinishedRun:
    """The folder of a run's parts, which may not be there yet."""

    def __init__(self, options: RunOptions, source: Source) -> None:
        """Raises OutputError for parts of another input, options or weights, or that cannot be read."""
        self.folder = parts_folder(options)
        self._time_base = source.info.time_base
        self.segments: list[Segment] = []
        self._identity = _identity(options, source)
        self.begun = (self.folder / "run.json").exists()  # whether there was an earlier attempt
        if self.begun:
            try:
                self._check()
                while (file := self._file(".json")).exists():
                    self.segments.append(Segment(**json.loads(file.read_text(encoding="utf-8"))))
            except (OSError, ValueError, TypeError, KeyError) as error:
                text = f"the unfinished run in {self.folder} cannot be read: {error}; remove that folder"
                raise OutputError(text) from error
        self.frames = [stamp for segment in self.segments for stamp in segment.frames]
        self._resumed = len(self.frames)

    def begin(self) -> None:
        """Makes the folder. Raises OutputError."""
        if not self.begun:
            shutil.rmtree(self.folder, ignore_errors=True)  # killed before it held anything
            self._write(self.folder / "run.json", self._identity)

    @property
    def video(self) -> Path:
        """Where the packets of the next segment go."""
        return self._file(".nut")

    def size_of(self, table: str) -> int:
        """Bytes of a table that belong to complete segments."""
        return self.segments[-1].sizes[table] if self.segments else 0

    @property
    def facts(self) -> dict[str, Any]:
        """What the report says of all attempts."""
        last = {name: getattr(self.segments[-1], name) for name in ("warnings", "damaged", "damaged_packets")}
        return last | {"resumed_frames": self._resumed}

    def outcome(self, *, interrupted: bool) -> Outcome:
        """That of all attempts."""
        return Outcome(
            frames=len(self.frames),
            seconds=sum(part.seconds for part in self.segments),
            stages={name: sum(part.stages[name] for part in self.segments) for name in STAGES},
            interrupted=interrupted,
        )

    def recorded(self) -> Iterator[tuple[Path, list[Frame], list[int]]]:
        """Each segment's packets, frames (without pixels) and packet order, as `JoinedSink.join` takes them."""
        for number, part in enumerate(self.segments):
            frames = [
                Frame(_NO_PIXELS, pts, self._time_base, index, False, length) for index, pts, length in part.frames
            ]
            yield self.folder / f"{number:06d}.nut", frames, part.order

    def add(self, segment: Segment) -> None:
        """Makes a segment complete, after all that belongs to it. Raises OutputError."""
        os.sync()  # pictures, tables and packets, before the file that says that they are there
        self._write(self._file(".json"), asdict(segment))
        self.segments.append(segment)
        self.frames += segment.frames

    def remove(self) -> None:
        """Removes the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{len(self.segments):06d}{suffix}"

    def _write(self, path: Path, values: dict[str, Any]) -> None:
        with output_file(path, "the unfinished run") as part, part.open("w", encoding="utf-8") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())

    def _check(self) -> None:
        begun = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        for name, value in self._identity.items():
            if begun.get(name) != value:
                what = f"{name} was {begun.get(name)}, now {value}" if isinstance(value, str) else f"another {name}"
                if name == "options":
                    changed = {key for key in value if value[key] != begun[name].get(key)}
                    what = "another " + ", ".join(f"--{key.replace('_', '-')}" for key in sorted(changed))
                raise OutputError(
                    f"{describe(self.folder)} is another one: {what}; resume it as it was begun, or give --overwrite "
                    "instead of --resume to begin again"
                )


def parts_folder(options: RunOptions) -> Path:
    """Where the parts of a run go: a hidden folder beside its first output."""
    first = options.output.paths[0].absolute()
    return first.with_name(f".{shorten(first.name, 240)}.parts")  # a name has 255 bytes at most


def describe(folder: Path) -> str:
    """The folder of an unfinished run and its age, in words."""
    seconds = time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    amount, unit = next(
        (seconds / size, unit)
        for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
        if seconds >= size or size == 1
    )
    return f"the unfinished run in {folder}, {amount:.0f} {unit} old,"


def check_no_parts(options: RunOptions) -> None:
    """Removes the parts of an unfinished run where outputs may be replaced. Raises OutputError where they may not."""
    folder = parts_folder(options)
    if not folder.is_dir():
        return
    if not options.output.overwrite:
        raise OutputError(
            f"{describe(folder)} has the same output: give --resume to go on with it, or --overwrite to begin again"
        )
    shutil.rmtree(folder, ignore_errors=True)


def _identity(options: RunOptions, source: Source) -> dict[str, Any]:
    """What must be the same when a run is resumed."""
    if source.info.live or not (isinstance(source, ImageSource) or isinstance(source.info.location, str)):
        raise VideoError(f"--resume needs a source that can be read again, and {source.info.name} cannot")
    groups = (options.input, options.model, options.paint, options.output)
    values = {name: value for group in groups for name, value in vars(group).items() if name not in _FREE}
    return {
        "version": f"{tmaseg.__version__} with PyAV {av.__version__}",
        "input": _digest(source),
        "weights": sha256(options.model.weights_info().path.read_bytes()).hexdigest()[:16],
        "options": json.loads(json.dumps(values, default=_plain)),
    }


def _plain(value: object) -> str:
    return str(value.absolute() if isinstance(value, Path) else value)


def _digest(source: Source) -> str:
    """Identifies a source: its name, and a digest of the names and sizes of its files."""
    if isinstance(source, ImageSource):
        files = source.paths
    else:
        location = str(source.info.location)
        files = (Path(location),) if Path(location).exists() else ()
    sizes = [(path.name, path.stat().st_size) for path in files]
    return f"{source.info.name} ({sha256(json.dumps(sizes).encode()).hexdigest()[:8]})"
