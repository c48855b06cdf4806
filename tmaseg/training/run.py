"""Run: a network, its data and its optimiser; one step of it, and what is written down of it.

What happens in a step depends on the seed and the step's number alone, and on the learning rate. So a run that goes on
repeats what an unbroken one would have done, bit for bit; but for a run by minutes, whose rate falls with the clock.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from tmaseg.errors import ConfigError, TrainingError
from tmaseg.evaluation import Shard, Weights
from tmaseg.inference.device import Precision, choose_device, choose_precision, dtype_of
from tmaseg.inference.engine import prepare
from tmaseg.model.checkpoint import Checkpoint, View, save_checkpoint
from tmaseg.model.tmanet import TMANet
from tmaseg.training.average import moving_average
from tmaseg.training.batch import Batch, BatchMaker
from tmaseg.training.build import build_net, compiles, open_sets, provenance
from tmaseg.training.crops import Crops, HostCrops
from tmaseg.training.devicecrops import DeviceCrops
from tmaseg.training.job import Job
from tmaseg.training.learner import Learner, freeze, make_optimiser, parameter_groups, set_dropout, train_mode
from tmaseg.training.listener import Listener, Scores, StepReport
from tmaseg.training.objective import Objective
from tmaseg.training.parallel import from_first, joined, share_statistics, summed
from tmaseg.training.schedule import Clock
from tmaseg.training.state import load_state, save_state


class Run:
    """Built from a job; where the job says so, it goes on from the state on disk."""

    def __init__(self, job: Job, share: Shard, listener: Listener) -> None:
        """Raises ConfigError, DataError, CheckpointError and LabelError for what cannot work."""
        self.job, self.share = job, share
        recipe, descent = job.recipe, job.recipe.descent
        self.device = choose_device(share.device(job.device))
        state = from_first(share, lambda: load_state(job.state)) if job.resume else {}
        self.precision = self._precision(state.get("precision", "auto"))
        self._dtype = dtype_of(self.precision)
        parts = share.count * descent.accumulate
        if descent.batch % parts:
            raise ConfigError(
                f"batch is {descent.batch}; it must be a multiple of {share.count} processes times "
                f"{descent.accumulate} parts (accumulate)"
            )
        self.sets = open_sets(job, share, listener)
        torch.manual_seed(recipe.running.seed)  # every process starts from the same weights
        net = build_net(recipe, self.sets.labels, listener, state.get("config"))
        self.maker = BatchMaker(self.sets.train, recipe, net.config, self._crops(), parts=parts)
        self._objective = Objective(self.sets.train, recipe.loss).to(self.device)
        self.clock = Clock(descent)
        self._build(net)
        if recipe.running.compile and compiles(listener):
            self._learner.compile()
        self.step = 0
        self.seconds = 0.0
        self.best: float | None = None
        self.scored = 0
        """The step of the last whole validation."""
        if job.resume:
            self._restore(state)
        self._begun = time.monotonic() - self.seconds
        self._since = (self.step, self.seconds)

    def _precision(self, saved: str) -> Precision:
        """As the recipe says; "auto" is measured once in a run and is the same in all processes."""
        wanted = self.job.recipe.running.precision
        name = saved if wanted == "auto" else wanted
        if name != "auto":
            return choose_precision(name, self.device)
        return from_first(self.share, lambda: choose_precision("auto", self.device))

    def _crops(self) -> Crops:
        recipe = self.job.recipe
        wanted, most = recipe.running.augment_on, int(recipe.running.cache_gb * 2**30)
        if wanted == "cpu" or (wanted == "auto" and self.device.type != "cuda"):
            return HostCrops(recipe.augment.crop_hw)
        if self.device.type == "cuda":
            most = min(most, torch.cuda.mem_get_info(self.device)[0] // 4)
        return DeviceCrops(recipe.augment.crop_hw, self.device, most_bytes=most)

    def _build(self, net: TMANet) -> None:
        recipe, descent = self.job.recipe, self.job.recipe.descent
        set_dropout(net, recipe.loss.dropout)
        freeze(net, descent.freeze, norms=descent.freeze_norms, auxiliary=recipe.loss.auxiliary > 0)
        self.net = net.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.share.count > 1 and recipe.running.norms != "own":
            share_statistics(self.net, self.device)
        self.average = moving_average(self.net, descent.average) if descent.average else None
        groups = parameter_groups(
            self.net,
            lr=descent.lr,
            decay=descent.weight_decay,
            decay_all=descent.decay_all,
            backbone=descent.backbone_lr,
        )
        self._optimiser = make_optimiser(self.net, descent.optimiser, groups, momentum=descent.momentum)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._dtype == torch.float16)
        learner = Learner(self.net, stride=recipe.loss.stride, auxiliary=recipe.loss.auxiliary > 0).to(self.device)
        self._learner = joined(learner, self.share, self.device)

    def parts(self, step: int) -> list[Batch]:
        """The batches of a step that this process goes through; called by the loader's threads."""
        each = self.job.recipe.descent.accumulate
        first = self.share.rank * each
        made = [self.maker.make(step, first + part, self.share.count * each) for part in range(each)]
        return [part.pinned() for part in made] if self.device.type == "cuda" else made

    @property
    def last(self) -> bool:
        """Whether the step just done was the last; of a run by time nobody knows."""
        descent = self.job.recipe.descent
        return not descent.minutes and self.step >= descent.steps

    @property
    def due(self) -> bool:
        """Whether the weights are to be scored after the step just done. The last ones are anyway."""
        every = self.job.recipe.running.validate_every
        return bool(every and self.step) and self.step % every == 0 and not self.last

    def agree(self, stop: bool) -> tuple[float, bool]:
        """How far the run is by the first process's clock, and whether any process was asked to stop."""
        self.seconds = time.monotonic() - self._begun
        here = self.clock.progress(self.step, self.seconds) if self.share.first else 0.0
        progress, stops = summed(self.share, [here, float(stop)])
        return progress, stops > 0

    def learn(self, parts: Sequence[Batch], progress: float) -> StepReport:
        """One step. Raises TrainingError, naming the files, when the loss or its gradient is no number.

        The weights are as before then; the statistics of batch normalisation are not.
        """
        rate = self.clock.rate(self.step, progress)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        descent = self.job.recipe.descent
        train_mode(self.net, descent.freeze, norms=descent.freeze_norms)
        torch.manual_seed(self._seed())
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._backward(parts)
        self._scaler.unscale_(self._optimiser)
        self._check_and_clip(parts)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self.average:
            self.average.update_parameters(self.net)
        self.step += 1
        self.seconds = time.monotonic() - self._begun
        left = self.clock.seconds_left(self.step, self.seconds, self._since)
        return StepReport(self.step, loss, rate, progress, self.seconds, left)

    def _backward(self, parts: Sequence[Batch]) -> float:
        """Gradients of the whole step's loss, over all parts and processes; returns the loss."""
        here = torch.stack([self._objective.totals(part) for part in parts]).sum(0)
        totals = torch.tensor(summed(self.share, here.tolist()), dtype=torch.float64)
        losses = []
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with (
                nullcontext()
                if last or not isinstance(self._learner, DistributedDataParallel)
                else self._learner.no_sync()
            ):
                value = self._loss(part.to(self.device), totals)
                # Gradients are averaged over the processes, but the parts of the loss add up.
                self._scaler.scale(value * self.share.count).backward()  # type: ignore[no-untyped-call]
            losses.append(float(value.detach()))
        bad = [
            name for value, part in zip(losses, parts, strict=True) if not math.isfinite(value) for name in part.files
        ]
        whole, trouble = summed(self.share, [sum(losses), float(bool(bad))])
        if trouble:
            raise self._trouble("loss", f" on {', '.join(bad)}" if bad else ", in another process")
        return whole

    def _check_and_clip(self, parts: Sequence[Batch]) -> None:
        """Shortens the gradient where it is too long. Raises TrainingError where it is no number.

        With fp16 it does not: the scaler leaves such steps out.
        """
        gradients = [value.grad for value in self.net.parameters() if value.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not self._scaler.is_enabled() and not norm.isfinite():
            raise self._trouble("gradient", f" on {', '.join(name for part in parts for name in part.files)}")
        if self.job.recipe.descent.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(self.net.parameters(), self.job.recipe.descent.clip_norm, norm)

    def _trouble(self, what: str, where: str) -> TrainingError:
        return TrainingError(
            f"the {what} of step {self.step + 1} is no finite number{where}: look at these files, lower lr, or set "
            "clip_norm=5 or precision=fp32"
        )

    def _loss(self, batch: Batch, totals: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            logits, auxiliary = self._learner(batch.pictures, batch.remembered, batch.memory, batch.hidden)
        loss: Tensor = self._objective(logits.float(), batch, totals)
        if auxiliary is not None:
            loss = loss + self.job.recipe.loss.auxiliary * self._objective(auxiliary.float(), batch, totals)
        return loss

    def _seed(self) -> int:
        """Of what the network draws (dropout) in this step in this process."""
        words = np.random.SeedSequence((self.job.recipe.running.seed, 4, self.step, self.share.rank)).generate_state(2)
        return int(words[0]) << 31 ^ int(words[1])

    def checkpoint(self, scores: Scores | None = None) -> Checkpoint:
        """The weights as they are scored and shipped: averaged where there is an average."""
        net = self.average.module if self.average else self.net
        about = {**provenance(self.job, self.sets), "steps": self.step, "minutes": round(self.seconds / 60, 1)}
        about |= self.scores_card(scores) if scores else {}
        state = {name: value.detach().to("cpu", copy=True) for name, value in net.state_dict().items()}
        augment = self.job.recipe.augment
        view = View(size=augment.view or augment.size or None)
        return Checkpoint(self.net.config, self.sets.labels, state, view, about)

    def scores_card(self, scores: Scores) -> dict[str, object]:
        """Scores as a checkpoint's description has them."""
        split = self.job.recipe.running.val_split
        return {
            "miou": {name: round(value, 4) for name, value in scores.miou.items()},
            "scored": f"{scores.frames} frames of {split}",
        }

    def weights(self, checkpoint: Checkpoint | None = None) -> Weights:
        """A copy of these weights, or of others of this run, ready to stream."""
        checkpoint = checkpoint or self.checkpoint()
        net = prepare(checkpoint.build(), self.device, self.precision)
        return Weights("these weights", net, checkpoint.labels, checkpoint.view, self.precision)

    def export(self, scores: Scores | None, *, best: bool) -> None:
        """Writes last.safetensors, and best.safetensors too. Raises CheckpointError when they cannot be written."""
        for path in [self.job.last] + [self.job.best] * best:
            save_checkpoint(path, self.checkpoint(scores), half=True)

    def save(self) -> None:
        """Writes down everything that going on needs. Raises OutputError; the state before stays then."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "scored": self.scored,
            "precision": self.precision,
            "config": self.net.config.to_dict(),
            "classes": list(self.sets.labels.names),
            "net": self.net.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        save_state(self.job.state, state)

    def _restore(self, state: dict[str, Any]) -> None:
        names = list(self.sets.labels.names)
        if state.get("classes", names) != names:
            raise ConfigError(
                f"the run began with the classes {', '.join(state['classes'])}, its data sets now have "
                f"{', '.join(names)}: give it the data sets and labels that it began with"
            )
        self.net.load_state_dict(state["net"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        if state["scaler"]:  # empty after steps in another precision
            self._scaler.load_state_dict(state["scaler"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
        self.scored = state.get("scored", self.step)
