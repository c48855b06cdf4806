"""train: the loop. Batches come from workers; every so often the weights are scored and the run's state is written."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tmaseg.errors import CheckpointError, ConfigError
from tmaseg.evaluation import Shard, open_shard
from tmaseg.files import check_not_read
from tmaseg.inference.device import Precision, choose_device, choose_precision, has_streams, use_device_of_process
from tmaseg.inference.engine import can_compile
from tmaseg.inference.segmenter import load_network
from tmaseg.model.checkpoint import Checkpoint, load_checkpoint
from tmaseg.training.batches import Batch, BatchMaker, check_batches
from tmaseg.training.datasets import open_sources, read_labels
from tmaseg.training.job import Callback, StepReport, TrainJob, TrainResult, ValidationScores, load_state
from tmaseg.training.loader import load_batches
from tmaseg.training.module import build_net
from tmaseg.training.record import Record, describe_scores, make_checkpoint
from tmaseg.training.trainer import Schedule, Trainer
from tmaseg.training.validation import validate

_SETTLED_STEPS = 100  # after which the fraction of waiting means something
_MAX_WAITING = 0.2


def train(job: TrainJob, callback: Callback | None = None, *, stop: Callable[[], bool] = lambda: False) -> TrainResult:
    """Trains as the job says, and writes weights, log and pictures into its folder.

    `stop` is called before every step: once true, the run's state is written and it ends; `resumed` continues it. Under
    torchrun every process calls this; callbacks of all but the first should be silent.
    Raises ConfigError, DataError, CheckpointError, OutputError; TrainingError when a loss or gradient is not finite.
    """
    with ExitStack() as stack:
        shard = stack.enter_context(open_shard(use_device_of_process, hours=2))
        if shard.first:
            job.prepare()
        shard.barrier()
        loop = _Loop(job, shard, callback or Callback(), stop)
        if shard.first:
            loop.record = stack.enter_context(Record(job, loop.callback, loop.data, after=loop.trainer.step))
        maker = BatchMaker(loop.data.train, job.recipe, loop.trainer.net.config, shard)
        workers, to_gpu = job.recipe.run.threads, has_streams(loop.device)
        if to_gpu:
            past = job.recipe.memory.frames_max or loop.trainer.net.config.memory_frames
            loop.data.read_pictures(past, threads=workers)
        batches = load_batches(maker.parts, first=loop.trainer.step, workers=workers, to_gpu=to_gpu)
        return loop.run(stack.enter_context(closing(batches)))


class _Loop:
    """A run: the trainer and its data, the time, the scores, and what is written of them."""

    def __init__(self, job: TrainJob, shard: Shard, callback: Callback, stop: Callable[[], bool]) -> None:
        """Raises ConfigError, DataError, CheckpointError and LabelError for what cannot work."""
        self.job, self.recipe, self.shard, self.callback, self.stop = job, job.recipe, shard, callback, stop
        self.record: Record | None = None  # in the first process
        state = shard.broadcast(lambda: load_state(job.state)) if job.resume else {}
        self.device = choose_device(shard.device(job.device))
        self.precision = self._choose_precision(state.get("precision", "auto"))
        datasets, labels = open_sources(job.sources, self.recipe.labels)
        read = [path for dataset in datasets.values() for path in dataset.paths()]
        init = [] if job.resume else [Path(self.recipe.init), Path(self.recipe.labels)]
        check_not_read(job.outputs, [*read, *init])
        torch.manual_seed(self.recipe.run.seed)  # every process starts from the same weights
        net = build_net(self.recipe, labels, callback, state.get("config"))  # reading labels takes longer: errors first
        check_batches(self.recipe, net.config, shard.count)
        cache_bytes = int(self.recipe.run.cache_gb * 2**30 / shard.count)
        self.data = read_labels(datasets, labels, self.recipe, callback, cache_bytes=cache_bytes)
        self.trainer = Trainer(
            net, self.data.train, self.recipe, shard=shard, device=self.device, precision=self.precision
        )
        if self.recipe.run.compile and not can_compile():
            callback.note("torch.compile needs a C++ compiler, such as g++, and there is none: nothing is compiled")
        self.schedule = Schedule(self.recipe)
        self.seconds, self.scored_step = 0.0, 0  # the latter of the last complete validation
        self.best: float | None = None
        if job.resume:
            self._restore(state)
        self.begun = time.monotonic() - self.seconds
        self.since, self.waited = (self.trainer.step, self.seconds), 0.0

    def _choose_precision(self, saved: str) -> Precision:
        """As the recipe says; "auto" is measured once in a run and is the same in all processes."""
        setting = self.recipe.run.precision
        name = saved if setting == "auto" else setting
        if name != "auto":
            return choose_precision(name, self.device)
        return self.shard.broadcast(lambda: choose_precision("auto", self.device))

    def run(self, batches: Iterator[list[Batch]]) -> TrainResult:
        """Steps until the end or until any process is stopped, then the last validation."""
        settings, trainer, first = self.recipe.run, self.trainer, self.trainer.step
        if self._validation_due and self.scored_step != first:  # it was stopped during a validation
            self._validate()
            self._save()
        while True:
            progress, stopped = self._agree()
            if progress >= 1 or stopped:
                break
            lr = self.schedule.lr(trainer.step, progress)
            self._report(trainer.train_step(self._take(batches), lr), lr, progress)
            if self._validation_due:
                self._validate()
            if self._validation_due or trainer.step % settings.save_every == 0:
                self._save()
        self._save()
        if stopped and self.record:
            self.record.write_weights(self._checkpoint(), self.job.last)
        scores = None if stopped else self._finish()
        if scores:
            self._save()
        return TrainResult(self.job.output, trainer.step, self.seconds, scores is None, scores, self.best)

    def _take(self, batches: Iterator[list[Batch]]) -> list[Batch]:
        """The next step's parts; says once if the run waits for them too much."""
        begun = time.monotonic()
        parts = next(batches)
        done = self.trainer.step - self.since[0]
        self.waited += time.monotonic() - begun if done else 0.0  # nothing is ready for the first one yet
        waiting = self.waited / max(self.seconds - self.since[1], 1e-9)
        if done == _SETTLED_STEPS and waiting > _MAX_WAITING:
            self.callback.note(f"{waiting:.0%} of the time is spent waiting for batches: set threads higher")
        return parts

    def _agree(self) -> tuple[float, bool]:
        """How far the run is by the first process's clock, and whether any process is to stop."""
        self.seconds = time.monotonic() - self.begun
        here = self.schedule.progress(self.trainer.step, self.seconds) if self.shard.first else 0.0
        progress, stops = self.shard.sum([here, float(self.stop())])
        return progress, stops > 0

    def _report(self, loss: float, lr: float, progress: float) -> None:
        self.seconds = time.monotonic() - self.begun
        left = self.schedule.seconds_left(self.trainer.step, self.seconds, self.since)
        report = StepReport(self.trainer.step, loss, lr, progress, self.seconds, left)
        if self.record:
            self.record.write_step(report)
        self.callback.step_done(report)

    @property
    def _validation_due(self) -> bool:
        """Whether the weights are to be scored after the step just done; the last ones are scored in any case."""
        every, step = self.recipe.run.validate_every, self.trainer.step
        last = not self.recipe.run.minutes and step >= self.recipe.run.steps  # unknown for a run by time
        return bool(every and step) and step % every == 0 and not last

    def _validate(self) -> ValidationScores | None:
        """Scores the weights, writes them if they are the best so far, and draws. None if it was stopped on the way."""
        found = self._score(self._checkpoint(), self.recipe.run.validate_limit)
        if found is None:
            return None
        self.scored_step = self.trainer.step
        best = not found.miou or self.best is None or found.mean > self.best
        self.best = found.mean if best and found.miou else self.best
        scores = replace(found, step=self.scored_step, best=best)
        if self.record:
            self.record.write_scores(scores, self.seconds)
            self.record.write_weights(self._checkpoint(scores), self.job.last, *[self.job.best] * scores.best)
            self.record.draw(scores)
            self.callback.validation_done(scores)
        return scores

    def _finish(self) -> ValidationScores | None:
        """The last validation. Where each had a few frames only, the best weights are scored on all of them."""
        limit, split = self.recipe.run.validate_limit, self.recipe.run.val_split
        scores = self._validate()
        if scores is None or not limit or all(len(each.samples(split)) <= limit for each in self.data.val.values()):
            return scores
        best = self.shard.broadcast(self._read_best)
        if best is None:
            return scores
        found = self._score(best, limit=0)
        if found is None:
            return None
        scores = replace(found, step=best.provenance["steps"], best=True, final=True)
        if self.record:
            provenance = {**best.provenance, **describe_scores(scores, self.recipe)}
            self.record.write_weights(replace(best, provenance=provenance), self.job.best)
            self.callback.validation_done(scores)
        return scores

    def _score(self, checkpoint: Checkpoint, limit: int) -> ValidationScores | None:
        weights = load_network(checkpoint, device=self.device, precision=self.precision)
        split, progress = self.recipe.run.val_split, self.callback.frames_validated
        return validate(weights, self.data.val, split, self.shard, limit=limit, stop=self.stop, progress=progress)

    def _read_best(self) -> Checkpoint | None:
        """The best weights; None where the disk was too full to keep them."""
        try:
            return load_checkpoint(self.job.best)
        except CheckpointError as error:
            self.callback.note(f"the best weights are not scored on every frame: {error}")
            return None

    def _checkpoint(self, scores: ValidationScores | None = None) -> Checkpoint:
        return make_checkpoint(self.trainer, self.data, self.recipe, self.seconds, scores)

    def _save(self) -> None:
        """Writes everything that resuming needs."""
        if self.record:
            values = {"seconds": self.seconds, "best": self.best, "scored_step": self.scored_step}
            network = {"config": self.trainer.net.config.to_dict(), "classes": list(self.data.labels.names)}
            self.record.write_state({**self.trainer.state_dict(), **values, **network, "precision": self.precision})

    def _restore(self, state: dict[str, Any]) -> None:
        names = list(self.data.labels.names)
        if state.get("classes", names) != names:
            raise ConfigError(
                f"the run began with the classes {', '.join(state['classes'])}, its data sets now have "
                f"{', '.join(names)}: give it the data sets and labels that it began with"
            )
        self.trainer.load_state_dict(state)
        self.seconds, self.best, self.scored_step = state["seconds"], state["best"], state["scored_step"]
