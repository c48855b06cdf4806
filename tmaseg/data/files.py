"""Finding files: images by stem, masks beside them, lists of names, and a layout one folder further down."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tmaseg.data.clip import ClipFrame, split_number
from tmaseg.errors import DataError
from tmaseg.video.images import list_folders, list_images

_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def images_in(folder: Path, problems: list[str], *, ending: str = "") -> dict[str, Path]:
    """Stem -> file of the images in a folder, in natural order; `ending` must end the stem and is taken off.

    {} for a folder that does not exist. Two images of one stem are added to `problems`; the first one is taken.
    """
    found: dict[str, Path] = {}
    twice = []
    for path in _read(list_images, folder):
        if path.stem.endswith(ending):
            first = found.setdefault(path.stem.removesuffix(ending), path)
            twice += [f"{first.name} and {path.name}"] if first is not path else []
    if twice:
        problems.append(f"{folder}: {few(twice, 'pair')} of one name but for the suffix: remove one of each")
    return found


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder in natural order, links followed, hidden ones left out; [] where there is none."""
    return _read(list_folders, folder)


def _read(list_: Callable[[Path], list[Path]], folder: Path) -> list[Path]:
    try:
        return list_(folder) if folder.is_dir() else []
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}): check its permissions") from error


def read_list(path: Path, exists: Callable[[str], bool] | None = None) -> list[list[str]]:
    """The fields of each line that is not empty, parted by a tab, comma, semicolon or blanks. Raises DataError.

    Names may be quoted, or hold such signs where something of that name `exists`: by default a file beside the list.
    """
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
        if encoding == "utf-8" and b"\0" in data[:200]:
            encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
        lines = data.decode(encoding).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list cannot be read ({error}): write one name a line as text") from error
    known = exists or (lambda name: (path.parent / name).is_file())
    return [_fields(line.strip(), known) for line in lines if line.strip() and not line.startswith("#")]


def read_names(
    path: Path, known: Collection[str], problems: list[str], *, where: str, noun: str = "picture"
) -> list[str]:
    """The first name of each line of a list, or its stem, where it is known; the others are added to `problems`."""
    names = [fields[0] for fields in read_list(path, known.__contains__)]
    names = [name if name in known else Path(name).stem for name in names]
    missing = [name for name in names if name not in known]
    if missing:
        problems.append(f"{path.name}: {few(missing, noun)} listed but not in {where}: add them or remove the lines")
    return [name for name in names if name in known]


def _fields(line: str, exists: Callable[[str], bool]) -> list[str]:
    """The first way to part a line by which every name exists, else the most likely one."""
    ways = [way for way in _partings(line) if all(way)]
    for way in ways:
        for names in (way, [name.replace("\\", "/") for name in way]):  # as lists made on Windows have them
            if all(exists(name) for name in names):
                return names
    return ways[-1]


def _partings(line: str) -> Iterator[list[str]]:
    yield [line]
    for mark in "\t,;":
        if mark in line:
            yield [part.strip().strip("\"'") for part in line.strip(mark).split(mark)]
    if '"' in line or "'" in line:
        yield ["".join(found) for found in re.findall(r'"([^"]+)"|\'([^\']+)\'|([^\s,;]+)', line)]
    for sign in re.finditer(r"\s*[,;]\s*|\s+", line):
        yield [line[: sign.start()], line[sign.end() :]]
    yield re.split(r"[\s,;]+", line.strip(",; \t"))


def frame_names(images: Sequence[Path], base: Path) -> list[str]:
    """A name for each image, all different: its path below `base`, or else below the folder that holds all of them."""
    folder = base
    if not all(image.is_relative_to(base) and ".." not in image.parts for image in images):
        images = [Path(os.path.abspath(image)) for image in images]  # noqa: PTH100  (links are kept)
        folder = Path(os.path.commonpath([image.parent for image in images]))
    paths = [image.relative_to(folder) for image in images]  # without suffix, but where two images share the rest
    names = Counter(path.with_suffix("") for path in paths)
    return [(path.with_suffix("") if names[path.with_suffix("")] == 1 else path).as_posix() for path in paths]


def paired(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    problems: list[str],
    *,
    where: str,
    folder: str = "",
    between: bool = False,
) -> list[ClipFrame]:
    """A frame for every image, with the mask of the same stem; `folder` goes before its name.

    What is missing on either side is added to `problems`, but images may go without masks where they lie `between`
    labelled ones.
    """
    lone_images = [] if between else [stem for stem in images if stem not in masks]
    lone_masks = [stem for stem in masks if stem not in images]
    if lone_images:
        remedy = "without a mask of that name: add the masks or remove the pictures"
        problems.append(f"{where}: {few(lone_images)} {remedy}")
    if lone_masks:
        problems.append(f"{where}: {few(lone_masks, 'mask')} without a picture of that name: add the pictures")
    return [
        ClipFrame(f"{folder}{stem}", image, split_number(stem)[1] or 0, masks.get(stem), wanted=stem in masks)
        for stem, image in images.items()
    ]


def few(names: Iterable[str], noun: str = "picture") -> str:
    """ "3 pictures (a, b, c)", at most three names."""
    names = list(names)
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{len(names)} {noun}{'s' if len(names) != 1 else ''} ({shown})"


def find_root(root: Path, has_layout: Callable[[Path], object]) -> Path | None:
    """The folder, or the first directly below, in which a layout is found: archives unpack into one of their own."""
    return next((folder for folder in [root, *folders_in(root)] if has_layout(folder)), None)


def require_root(root: Path, has_layout: Callable[[Path], object], *, name: str, expected: str) -> Path:
    """`find_root`. Raises DataError that says what was expected where there is none."""
    found = find_root(root, has_layout)
    if found is None:
        raise DataError(f"no {name} in {root}, {listing(root)}; expected {expected}")
    return found


def listing(root: Path) -> str:
    """What a folder holds, for messages."""
    if not root.exists():
        return "which does not exist"
    if not root.is_dir():
        return "which is a file"
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    return f"which holds {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else "which is empty"
