"""train: the loop. Batches come from threads; every so often the weights are scored and the run is written down."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch

from tmaseg.errors import CheckpointError, OutputError
from tmaseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tmaseg.training.job import Job
from tmaseg.training.listener import Listener, Outcome, Scores, mean_of
from tmaseg.training.loader import Loader
from tmaseg.training.parallel import from_first, team
from tmaseg.training.record import Record, draw_curves, draw_samples, read_record
from tmaseg.training.run import Run
from tmaseg.training.validate import validate

_SETTLED = 100  # steps, after which the share of waiting means something
_STARVED = 0.2


def train(job: Job, listener: Listener | None = None, *, stop: Callable[[], bool] = lambda: False) -> Outcome:
    """Trains as the job says, and writes weights, log and pictures into its folder.

    `stop` is asked before every step: once true, the run is written down and ends; `resumed` goes on with it. Under
    torchrun every process calls this; listeners of all but the first should be silent.
    Raises ConfigError, DataError, CheckpointError, OutputError, and TrainingError when a loss or gradient is no
    number.
    """
    listener = listener or Listener()
    with ExitStack() as stack:
        share = stack.enter_context(team())
        stack.enter_context(_deterministic(job.recipe.run.deterministic))
        if share.first:
            job.prepare()
        share.barrier()
        run = Run(job, share, listener)
        names = [each.name for each in run.sets.val]
        record = stack.enter_context(Record(job.log, names, after=run.step)) if share.first else None
        batches = stack.enter_context(Loader(run.parts, first=run.step, threads=job.recipe.run.threads))
        stopped = loop(run, batches, record, listener, stop)
        _save(run, listener, record)
        if stopped and record:
            _tried(listener, lambda: run.export(None, best=False))
        scores = None if stopped else _finish(run, listener, record, stop)
        if scores:
            _save(run, listener, record)
        return Outcome(job.output, run.step, run.seconds, scores is None, scores, run.best)


def loop(run: Run, batches: Loader, record: Record | None, listener: Listener, stop: Callable[[], bool]) -> bool:
    """Steps until the end or until it is stopped in any process: whether it was.

    `record` is None in all processes but the first.
    """
    run, first = run.job.recipe.run, run.step
    if run.due and run.scored != run.step:  # it was stopped while it was scored
        _score(run, listener, record, stop, limit=run.validate_limit)
        _save(run, listener, record)
    while True:
        progress, stopped = run.agree(stop())
        if progress >= 1 or stopped:
            return stopped
        report = run.learn(batches.take(), progress)
        if record:
            record.step(report)
        listener.stepped(report)
        if run.step == first + _SETTLED and batches.starved > _STARVED:
            listener.note(f"{batches.starved:.0%} of the time goes into waiting for pictures: set threads higher")
        if run.due:
            _score(run, listener, record, stop, limit=run.validate_limit)
        if run.due or run.step % run.save_every == 0:
            _save(run, listener, record)


def _score(
    run: Run, listener: Listener, record: Record | None, stop: Callable[[], bool], *, limit: int
) -> Scores | None:
    """Scores the weights, keeps them if they are the best so far, and draws. None if it was stopped in between."""
    found = validate(run.weights(), run.sets.val, run.share, limit=limit, stop=stop, progress=listener.validating)
    if found is None:
        return None
    run.scored = run.step
    mean = mean_of(found.miou)
    best = not found.miou or run.best is None or mean > run.best
    run.best = mean if best and found.miou else run.best
    scores = Scores(run.step, found.miou, best, found.frames)
    if record:
        record.scores(scores)
        _tried(listener, lambda: run.export(scores, best=best))
        _tried(listener, lambda: draw_curves(read_record(record.path), run.job.output / "curves.png"))
        _tried(listener, lambda: draw_samples(found.seen, run.job.predictions / f"{run.step:06}.png"))
        listener.validated(scores)
    return scores


def _finish(run: Run, listener: Listener, record: Record | None, stop: Callable[[], bool]) -> Scores | None:
    """The last validation. Where each saw a few frames only, the best weights are scored on all of them at the end."""
    limit = run.job.recipe.run.validate_limit
    scores = _score(run, listener, record, stop, limit=limit)
    if scores is None or not limit or all(each.count <= limit for each in run.sets.val):
        return scores
    kept = from_first(run.share, lambda: _best(run, listener))
    if not kept:
        return scores
    best = kept[0]
    found = validate(run.weights(best), run.sets.val, run.share, stop=stop, progress=listener.validating)
    if found is None:
        return None
    scores = Scores(best.provenance["steps"], found.miou, True, found.frames, final=True)
    card = {**best.provenance, **run.scores_card(scores)}
    if record:
        _tried(listener, lambda: save_checkpoint(run.job.best, replace(best, provenance=card), half=True))
        listener.validated(scores)
    return scores


def _best(run: Run, listener: Listener) -> list[Checkpoint]:
    """The best weights; none where the disk was too full to keep them."""
    try:
        return [load_checkpoint(run.job.best)]
    except CheckpointError as error:
        listener.note(f"the best weights are not scored on every frame: {error}")
        return []


def _save(run: Run, listener: Listener, record: Record | None) -> None:
    if record:
        record.flush()
        _tried(listener, run.save)


def _tried(listener: Listener, write: Callable[[], None]) -> None:
    """A full disk loses only the newest: the run goes on, and what was written before is still there."""
    try:
        write()
    except (OutputError, CheckpointError) as error:
        listener.note(str(error))


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
