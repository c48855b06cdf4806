"""run_frames: a folder of images, and of folders of images, through the network into PNGs."""

from collections.abc import Callable
from pathlib import Path

from tmaseg.errors import OutputError, VideoError
from tmaseg.files import peak_memory_mb
from tmaseg.inference.segmenter import Segmenter
from tmaseg.pipeline.options import FramesOptions
from tmaseg.pipeline.outputs import PictureWriter, folders_of
from tmaseg.pipeline.report import FramesReport
from tmaseg.pipeline.sequences import ImageSequence, blocks_to_do, find_sequences
from tmaseg.pipeline.stages import Outcome, Output, segment
from tmaseg.video.facts import Damage
from tmaseg.video.frame import RGB, Frame
from tmaseg.video.image_source import ImageSource

# What a Segmenter knows besides its memory, scene cuts and gaps in time, comes from fewer past frames than this.
_SETTLING_FRAMES = 24

Progress = Callable[[int, int], None]


def run_frames(
    folder: Path,
    out: Path,
    options: FramesOptions,
    *,
    segmenter: Segmenter | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> FramesReport:
    """Segments every image under `folder`; its PNGs go to the same place and name under `out`.

    `segmenter` replaces the one that the options name. Each folder is a sequence of its own: the memory starts empty.
    With `skip_existing`, frames before the first one that lacks a picture are shown to the network again, so the
    pictures are those of one pass. `progress` is told how many images of how many are done. Raises TmasegError.
    """
    sequences, problems = find_sequences(folder, folders_of(out, options.formats))
    _check_not_inputs(sequences)
    done = _done_already(sequences, options)
    segmenter = segmenter or options.model.load()
    job = _Job(segmenter, stop)
    total = sum(each.count(False) for each in done)
    if progress:
        job.progress = lambda frames: progress(frames, total)
    for sequence, there in zip(sequences, done, strict=True):
        job.run(sequence, there, _writer(sequence, segmenter, options))
    unreadable = tuple(str(path.relative_to(folder)) for path in job.unreadable)
    missing = sum(sequence.missing for sequence in sequences)
    damage = Damage(missing=missing, unreadable=unreadable)
    peak = peak_memory_mb(segmenter.device)
    return FramesReport(
        input=str(folder),
        output=str(out),
        formats=options.formats,
        frames=job.written,
        seconds=job.seconds,
        stages=job.stages,
        weights=options.model.weights,
        device=str(segmenter.device),
        precision=segmenter.precision,
        memory_frames=segmenter.memory_frames,
        memory_resets=job.resets,
        peak_rss_mb=peak["peak_rss_mb"],
        peak_device_mb=peak.get("peak_device_mb"),
        compiled=segmenter.engine.compiled,
        classes=segmenter.labels.names,
        warnings=(*problems, *damage.lines(), *job.warnings, *options.paint.warnings(segmenter.labels)),
        damaged=bool(problems or damage),
        interrupted=job.interrupted,
        sequences=len(sequences),
        skipped=sum(sum(each) for each in done),
        missing=missing,
        unreadable=unreadable,
    )


def _check_not_inputs(sequences: list[ImageSequence]) -> None:
    """Raises OutputError when a picture would lie among the images: names follow names, so it might replace one."""
    inputs = {sequence.folder.resolve() for sequence in sequences}
    for sequence in sequences:
        for folder in sequence.outputs:
            if folder.resolve() in inputs:
                raise OutputError(f"{folder} holds images that are read; write the masks to another folder")


def _done_already(sequences: list[ImageSequence], options: FramesOptions) -> list[list[bool]]:
    """For every image whether it need not be done. Raises OutputError where a picture is in the way."""
    if options.skip_existing:
        return [sequence.existing() for sequence in sequences]
    if not options.overwrite:
        for sequence in sequences:
            sequence.check_nothing_exists()
    return [[False] * len(sequence.paths) for sequence in sequences]


def _writer(sequence: ImageSequence, segmenter: Segmenter, options: FramesOptions) -> PictureWriter:
    return PictureWriter(
        sequence.outputs,
        options.formats,
        paint=options.paint,
        labels=segmenter.labels,
        name=sequence.name_of,
        existing="replace" if options.overwrite else "keep" if options.skip_existing else "refuse",
    )


class _Job:
    """Runs blocks of sequences one after the other and adds up what they did."""

    def __init__(self, segmenter: Segmenter, stop: Callable[[], bool]) -> None:
        self._segmenter, self._stop = segmenter, stop
        remembers = segmenter.memory_frames > 0
        self._run_up = segmenter.memory_frames + _SETTLING_FRAMES if remembers else 0
        self.progress: Callable[[int], None] | None = None
        self.written = self.resets = 0
        self.seconds = 0.0
        self.stages = dict.fromkeys(("decode", "model", "render", "encode"), 0.0)
        self.unreadable: list[Path] = []
        self.warnings: tuple[str, ...] = ()
        self.interrupted = False

    def run(self, sequence: ImageSequence, done: list[bool], writer: PictureWriter) -> None:
        """The images of one sequence that are not done."""
        for first, last in blocks_to_do(done, self._run_up):
            if self._stop():
                self.interrupted = True
                return
            try:
                source = sequence.open(first, last)
            except VideoError:  # none of this block can be read
                self.unreadable += sequence.paths[first : last + 1]
                continue
            with source:
                self._run_block(source, done, writer)
            self.unreadable += [sequence.folder / name for name in source.damage.unreadable]

    def _run_block(self, source: ImageSource, done: list[bool], writer: PictureWriter) -> None:
        def count(frame: Frame, _: RGB) -> None:
            self.written += not done[frame.index]

        self._segmenter.reset()
        self._segmenter.expect(source.info.frames)
        outcome = segment(
            source, self._segmenter, [*writer.outputs, Output(count)], progress=self._tell, stop=self._stop
        )
        self._add(outcome)
        self.warnings = tuple(dict.fromkeys((*self.warnings, *self._segmenter.warnings)))

    def _tell(self, _: int) -> None:
        if self.progress:
            self.progress(self.written)

    def _add(self, outcome: Outcome) -> None:
        self.seconds += outcome.seconds
        self.resets += outcome.memory_resets
        for stage, busy in outcome.stages.items():
            self.stages[stage] += busy
        self.interrupted |= outcome.interrupted
