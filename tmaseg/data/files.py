"""Finding files: pictures by stem, masks beside them, lists of names, and a layout one folder further down."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tmaseg.data.clip import ClipFrame, split_number
from tmaseg.errors import DataError
from tmaseg.video.images import IMAGE_SUFFIXES


def pictures(folder: Path, *, ending: str = "") -> dict[str, Path]:
    """Stem -> file of the pictures in a folder, in natural order; `ending` must end the stem and is taken off.

    {} for a folder that does not exist. Hidden files (macOS leaves "._name") are passed over.
    """
    if not folder.is_dir():
        return {}
    found = {}
    for path in folder.iterdir():
        if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.endswith(ending) and not path.stem.startswith("."):
            found[path.stem.removesuffix(ending) if ending else path.stem] = path
    return {stem: found[stem] for stem in sorted(found, key=natural)}


def natural(name: str) -> tuple[list[int | str], str]:
    """A sort key by which frame 9 comes before frame 10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdigit() else part.casefold() for part in parts], name


def read_list(path: Path) -> list[list[str]]:
    """The fields of each line that is not empty. Raises DataError when the list cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list cannot be read ({error}): write one name a line as text") from error
    return [line.replace(";", " ").split() for line in lines if line.strip() and not line.startswith("#")]


def frame_names(images: Sequence[Path], base: Path) -> list[str]:
    """A name for each image, all different: its path below `base`, or else below the folder that holds all of them.

    Without suffix, but where two images share the rest.
    """
    folder = base
    if not all(image.is_relative_to(base) and ".." not in image.parts for image in images):
        images = [Path(os.path.abspath(image)) for image in images]  # noqa: PTH100  (links are kept)
        folder = Path(os.path.commonpath([image.parent for image in images]))
    paths = [image.relative_to(folder) for image in images]
    names = Counter(path.with_suffix("") for path in paths)
    return [(path.with_suffix("") if names[path.with_suffix("")] == 1 else path).as_posix() for path in paths]


def paired(images: Mapping[str, Path], masks: Mapping[str, Path], *, prefix: str = "") -> list[ClipFrame]:
    """Labelled frames for every picture that has a mask of the same stem."""
    return [
        ClipFrame(f"{prefix}{stem}", image, split_number(stem)[1] or 0, masks[stem], wanted=True)
        for stem, image in images.items()
        if stem in masks
    ]


def pair_problems(
    images: Mapping[str, Path], masks: Mapping[str, Path], *, where: str, image_only_ok: bool = False
) -> list[str]:
    """What is missing on either side, with a remedy."""
    problems = []
    lone_images = [stem for stem in images if stem not in masks]
    lone_masks = [stem for stem in masks if stem not in images]
    if lone_images and not image_only_ok:
        problems.append(
            f"{where}: {few(lone_images)} without a mask of that name: add the masks or remove the pictures"
        )
    if lone_masks:
        problems.append(f"{where}: {few(lone_masks, 'mask')} without a picture of that name: add the pictures")
    return problems


def few(names: Iterable[str], noun: str = "picture") -> str:
    """ "3 pictures (a, b, c)", at most three names."""
    names = list(names)
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{len(names)} {noun}{'s' if len(names) != 1 else ''} ({shown})"


def find_root(root: Path, looks_right: Callable[[Path], object]) -> Path | None:
    """The folder, or the first directly below, in which a layout is found: archives unpack into one of their own."""
    below = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return next((folder for folder in [root, *below] if looks_right(folder)), None)


def listing(root: Path) -> str:
    """What a folder holds, for messages."""
    if not root.exists():
        return "which does not exist"
    if not root.is_dir():
        return "which is a file"
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    return f"which holds {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else "which is empty"
