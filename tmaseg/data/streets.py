"""Drawn streets as a data set: short films with the class of every pixel, to try things on, or beside real ones."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import yaml

from tmaseg.errors import ConfigError, OutputError
from tmaseg.video.pictures import MaskSink, PictureSink
from tmaseg.video.street import Place, StreetSource
from tmaseg.whole import written_whole


@dataclass(frozen=True, kw_only=True)
class Streets:
    """What is drawn."""

    train: int = 300
    """Streets in the split train."""
    val: int = 30
    frames: int = 4
    """Of each street, all of them labelled."""
    rate: Fraction = Fraction(8)
    """Frames a second."""
    motorways: float = 0.0
    """Share of them that are motorways between open ground; the others are streets of a town."""
    size_hw: tuple[int, int] = (360, 480)
    first_seed: int = 1000
    """Of the first street of train; each has a seed of its own. `tmaseg run --demo` draws the street of seed 0."""

    def __post_init__(self) -> None:
        if self.train < 1 or self.val < 0:
            raise ConfigError(f"{self.train} streets for train and {self.val} for val; at least 1 and 0 are needed")
        if not 0 <= self.motorways <= 1:
            raise ConfigError(f"motorways is {self.motorways}; it must be a share of the streets, 0 to 1")

    @property
    def pictures(self) -> int:
        """How many there are in all."""
        return (self.train + self.val) * self.frames

    def place(self, number: int) -> Place:
        """What the `number`th of them is: motorways come evenly among the streets."""
        return "motorway" if int((number + 1) * self.motorways) > int(number * self.motorways) else "street"


def draw_streets(out: Path, streets: Streets, progress: Callable[[int], None] | None = None) -> Path:
    """Draws them into the folder `out`; returns the YAML that describes them, for `open_dataset`.

    `progress` is told how many pictures are done. The YAML comes last, so that half a data set is none. Raises
    OutputError where the folder is not empty or cannot be written, ConfigError for sizes that cannot be drawn.
    """
    about = out / "streets.yaml"
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty; give a folder that is new, for {streets.pictures} pictures")
    done = 0
    splits = {"train": range(streets.train), "val": range(streets.train, streets.train + streets.val)}
    for split, numbers in splits.items():
        for number in numbers:
            for _ in _draw(out, split, number, streets):
                done += 1
                if progress:
                    progress(done)
    text = yaml.safe_dump(_describe([split for split, numbers in splits.items() if numbers], streets), sort_keys=False)
    try:
        with written_whole(about) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{about} cannot be written: {error.strerror}; check the disk and the folder") from error
    return about


def _draw(out: Path, split: str, number: int, streets: Streets) -> Iterator[None]:
    seed, place = streets.first_seed + number, streets.place(number)
    with ExitStack() as stack:
        source = StreetSource(size_hw=streets.size_hw, rate=streets.rate, frames=streets.frames, seed=seed, place=place)
        pictures = stack.enter_context(PictureSink(out / "images" / split / f"street{seed}"))
        masks = stack.enter_context(MaskSink(out / "masks" / split / f"street{seed}"))
        for frame in stack.enter_context(source):
            pictures.write(frame)
            masks.write(frame, source.labels(frame.index))
            yield


def _describe(splits: list[str], streets: Streets) -> dict[str, object]:
    labels = StreetSource.label_set
    return {
        "name": "streets",
        "names": labels.name,
        "id_map": {number: number for number in range(len(labels))},  # masks hold class ids, not Cityscapes' file ids
        "rate": float(streets.rate),
        **{split: {"images": f"images/{split}", "masks": f"masks/{split}"} for split in splits},
    }
