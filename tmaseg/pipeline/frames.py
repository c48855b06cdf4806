"""run_frames: a folder of images, and of folders of images, through the network into PNGs."""

import itertools
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tmaseg.arrays import Labels
from tmaseg.errors import OutputError, VideoError
from tmaseg.files import output_names
from tmaseg.options import FramesOutputOptions, ModelOptions, PaintOptions
from tmaseg.pipeline.outputs import check_no_images, folders_of, picture_outputs
from tmaseg.pipeline.report import FramesReport, network_facts
from tmaseg.pipeline.stages import STAGES, Outcome, Output, segment
from tmaseg.video.image_source import ImageSource
from tmaseg.video.images import Existing, list_images, walk_folders
from tmaseg.video.source import Damage, Frame, ReadOptions

# What a Segmenter carries besides its memory (scene cuts, gaps in time) depends on fewer past frames than this.
_SETTLING_FRAMES = 24


def run_frames(
    folder: Path,
    output: FramesOutputOptions,
    model: ModelOptions,
    paint: PaintOptions,
    *,
    devices: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> FramesReport:
    """Segments every image under `folder`; its PNGs go to the same place and name under `output.output`.

    Each folder is a sequence of its own: the memory starts empty. With `skip_existing`, the images before the first
    one without PNGs go through the network again, so that the PNGs are those of one pass. Several `devices` take equal
    shares of the images, each in a process of its own, without `progress`. `progress` is called with the number of
    images done and of all. Raises TmasegError.
    """
    sequences, problems = find_sequences(folder, folders_of(output.output, output.formats))
    check_no_images([target for each in sequences for target in each.outputs], [each.folder for each in sequences])
    done = [sequence.done(output) for sequence in sequences]
    total = sum(each.count(False) for each in done)
    show = (lambda frames: progress(frames, total)) if progress else None
    if len(devices) > 1:
        with ProcessPoolExecutor(len(devices), multiprocessing.get_context("spawn")) as pool:
            models = [replace(model, device=device) for device in devices]
            tasks = zip(models, shares(done, len(devices)), strict=True)
            begun = [pool.submit(_run_share, sequences, share, output, each, paint) for each, share in tasks]
            parts = [each.result() for each in begun]
    else:
        parts = [_run_share(sequences, done, output, model, paint, progress=show, stop=stop)]
    unreadable = tuple(dict.fromkeys(str(path.relative_to(folder)) for part in parts for path in part.unreadable))
    missing = sum(sequence.missing for sequence in sequences)
    damage = Damage(missing=missing, unreadable=unreadable)
    warnings = dict.fromkeys(line for part in parts for line in part.warnings)
    facts = parts[0].network | {
        "device": ", ".join(dict.fromkeys(part.network["device"] for part in parts)),
        "memory_resets": sum(part.resets for part in parts),
        "peak_rss_mb": max(part.network["peak_rss_mb"] for part in parts),
    }
    return FramesReport(
        **facts,
        input=str(folder),
        output=str(output.output),
        formats=output.formats,
        frames=sum(part.written for part in parts),
        seconds=max(sum(each.seconds for each in part.outcomes) for part in parts),
        stages={name: sum(each.stages[name] for part in parts for each in part.outcomes) for name in STAGES},
        warnings=(*problems, *damage.lines(), *warnings, *paint.warnings(model.weights_info().labels)),
        damaged=bool(problems or damage),
        interrupted=any(part.interrupted for part in parts),
        sequences=len(sequences),
        skipped=sum(sum(each) for each in done),
        missing=missing,
        unreadable=unreadable,
    )


def shares(done: Sequence[Sequence[bool]], count: int) -> list[list[list[bool]]]:
    """`done`, for each sequence and image, as `count` workers see it: what is another's to do is done."""
    total, number = sum(each.count(False) for each in done), itertools.count()
    owners = [[None if there else next(number) * count // total for there in each] for each in done]
    return [[[owner != worker for owner in each] for each in owners] for worker in range(count)]


@dataclass
class _Part:
    """What was done with a part of the images."""

    written: int = 0
    resets: int = 0
    outcomes: list[Outcome] = field(default_factory=list)  # of each block
    unreadable: list[Path] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    interrupted: bool = False
    network: dict[str, Any] = field(default_factory=dict)  # as of `network_facts`


def _run_share(
    sequences: "list[ImageSequence]",
    done: list[list[bool]],
    output: FramesOutputOptions,
    model: ModelOptions,
    paint: PaintOptions,
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> _Part:
    """Writes the images that are not done."""
    labels, relabel = paint.classes_of(model.weights_info().labels)
    painter = paint.painter(labels, "overlay")
    segmenter = model.load()
    part = _Part()
    existing: Existing = "replace" if output.overwrite else "keep" if output.skip_existing else "refuse"
    run_up = segmenter.past_frames + _SETTLING_FRAMES if segmenter.memory_frames else 0
    for sequence, there in zip(sequences, done, strict=True):
        outputs = picture_outputs(sequence.outputs, output.formats, painter, name=sequence.name_of, existing=existing)
        for first, last in blocks_to_do(there, run_up):
            if stop():
                part.interrupted = True
                break
            try:
                source = sequence.open(first, last)
            except VideoError:  # none of this block can be read
                part.unreadable += sequence.paths[first : last + 1]
                continue
            with source:
                segmenter.reset()
                segmenter.expect(source.info.frames)
                outcome = segment(
                    source,
                    segmenter.step,
                    _missing_only(outputs, there, part),
                    progress=lambda _: progress(part.written) if progress else None,
                    stop=stop,
                    relabel=relabel,
                )
                part.warnings |= dict.fromkeys((*segmenter.warnings, *source.warnings))
            part.outcomes.append(outcome)
            part.resets += segmenter.memory_resets
            part.interrupted |= outcome.interrupted
            part.unreadable += [sequence.folder / name for name in source.damage.unreadable]
    part.network = network_facts(segmenter, model.weights, labels)
    return part


def _missing_only(outputs: Sequence[Output], done: Sequence[bool], part: _Part) -> list[Output]:
    """The outputs of the images that are not done, which are counted; the others only fill the memory."""

    def write(inner: Callable[[Frame, Labels], None], frame: Frame, labels: Labels) -> None:
        if not done[frame.index]:
            inner(frame, labels)

    def count(_: Frame, __: Labels) -> None:
        part.written += 1

    return [replace(output, write=partial(write, output.write)) for output in (*outputs, Output(count))]


@dataclass(frozen=True)
class ImageSequence:
    """The images of one folder, in order, and where their pictures go."""

    folder: Path
    paths: tuple[Path, ...]  # in natural order; of a file with several pictures, once for each
    names: tuple[str, ...]  # what each image is called, all different
    missing: int  # numbers that the file names lack
    outputs: tuple[Path, ...]  # folders that each get one picture for every image

    def name_of(self, frame: Frame) -> str:
        """The stem of a frame's pictures."""
        return self._names[frame.index]

    @cached_property
    def _names(self) -> list[str]:
        return [path.name.removesuffix(".png") for path in output_names(self.names, ".png")]

    def done(self, output: FramesOutputOptions) -> list[bool]:
        """For each image whether it is kept as it is. Raises OutputError where one exists that may not be replaced."""
        there = [set(os.listdir(folder)) if folder.is_dir() else set() for folder in self.outputs]  # noqa: PTH208
        names = [f"{name}.png" for name in self._names]
        for folder, existing in zip(self.outputs, there, strict=True):
            found = sorted(existing.intersection(names))
            if found and not (output.skip_existing or output.overwrite):
                raise OutputError(
                    f"{folder / found[0]} exists already; give --skip-existing to go on, --overwrite to replace, "
                    "or another folder"
                )
        return [output.skip_existing and all(name in existing for existing in there) for name in names]

    def open(self, first: int, last: int) -> ImageSource:
        """The images from position `first` to `last`, each in its own size. Raises VideoError when none is readable."""
        rate = ReadOptions().image_rate
        # Half a frame to each side of the images: no rounding can lose or add one.
        start, end = max(0.0, float((first - 0.5) / rate)), float((last + 0.5) / rate)
        return ImageSource(self.folder, ReadOptions(start=start, end=end), one_size=False)


def find_sequences(folder: Path, targets: Sequence[Path]) -> tuple[list[ImageSequence], list[str]]:
    """Every folder with images at or under `folder`, in natural order, and the problems of those left out.

    A sequence's pictures go to the same place under each of `targets`. Links are followed. Targets inside `folder` and
    hidden folders are left out. Raises VideoError when `folder` is missing, or holds no image that can be read.
    """
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "does not exist"
        raise VideoError(f"{folder} {came}; give a folder of images (or use `tmaseg run` for a video)")
    found: list[ImageSequence] = []
    problems: list[str] = []
    own = {target.resolve() for target in targets}
    for here in walk_folders(folder, problems, leave_out=own):
        if not list_images(here):
            continue
        try:
            source = ImageSource(here, one_size=False)
        except VideoError as error:
            problems.append(str(error))
            continue
        outputs = tuple(target / here.relative_to(folder) for target in targets)
        found.append(ImageSequence(here, source.paths, source.names, source.damage.missing, outputs))
    if not found:
        none = f"{folder} holds no images, nor do its sub-folders; give a folder of PNG, JPEG, TIFF ... files"
        raise VideoError(problems[0] if problems else none)
    return found, problems


def blocks_to_do(done: Sequence[bool], run_up: int) -> list[tuple[int, int]]:
    """(first, last) positions to process, so that every image not done is, each after `run_up` images before it.

    An unreadable image never has a picture, so it is always to be done, and has its own images before it: those that
    follow never miss it in their run-up.
    """
    blocks: list[tuple[int, int]] = []
    for position, there in enumerate(done):
        if there:
            continue
        first = max(0, position - run_up)
        if blocks and first <= blocks[-1][1] + 1:
            blocks[-1] = (blocks[-1][0], position)
        else:
            blocks.append((first, position))
    return blocks
