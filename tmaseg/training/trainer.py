"""Trainer: the network, its optimizer and its moving average; one step of them."""

# What happens in a step depends on the seed and the step's number alone, and on the learning rate. So a run that is
# resumed repeats what an unbroken one would have done, bit for bit; but for a run by minutes, whose rate falls with
# time.

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from tmaseg.errors import TrainingError
from tmaseg.evaluation import Shard
from tmaseg.inference.device import Precision, dtype_of, has_streams, is_accelerator
from tmaseg.inference.engine import can_compile
from tmaseg.model.tmanet import TMANet
from tmaseg.training.batches import Batch
from tmaseg.training.datasets import TrainSet
from tmaseg.training.losses import SegmentationLoss
from tmaseg.training.module import TrainingModule, convert_sync_batch_norm, freeze, set_dropout, set_train_mode
from tmaseg.training.recipe import Optimizer, Recipe

_Tensors = tuple[Tensor, ...] | list[Tensor]
_MOMENTUM = 0.9
_POLY_POWER = 0.9
_MAX_WARMUP = 0.1  # of a run, so that a short one by a preset for long ones is not over before it is warm


class Trainer:
    """Takes steps; `net` holds the weights as they are, `averaged` those that are scored and written."""

    def __init__(
        self,
        net: TMANet,
        sets: Sequence[TrainSet],
        recipe: Recipe,
        *,
        shard: Shard,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.step = 0  # steps done
        self._recipe, self._shard = recipe, shard
        self._device, self._dtype = device, dtype_of(precision)
        auxiliary = recipe.loss.auxiliary > 0
        set_dropout(net, recipe.loss.dropout)
        freeze(net, recipe.optimizer.freeze, norms=recipe.optimizer.freeze_norms, auxiliary=auxiliary)
        self.net: TMANet = net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if shard.count > 1 and recipe.run.sync_bn:
            convert_sync_batch_norm(self.net, device)
        self._ema = moving_average(self.net, recipe.optimizer.ema_decay) if recipe.optimizer.ema_decay else None
        self._loss = SegmentationLoss(sets, recipe.loss).to(device)
        self._optimizer = make_optimizer(self.net, recipe.optimizer)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)
        module = TrainingModule(self.net, stride=recipe.loss.stride, auxiliary=auxiliary).to(device)
        self._module: nn.Module = module
        if shard.count > 1:  # gradients are averaged over the processes
            self._module = DistributedDataParallel(module, device_ids=[device] if has_streams(device) else None)
        if recipe.run.compile and can_compile():
            self._module.compile()

    @property
    def averaged(self) -> TMANet:
        """The moving average of the network where there is one, else the network."""
        net = self._ema.module if self._ema else self.net
        assert isinstance(net, TMANet)
        return net

    def train_step(self, parts: Sequence[Batch], lr: float) -> float:
        """One step over this process's parts; returns the loss over all processes.

        Raises TrainingError, naming the files, when the loss or its gradient is not finite. The weights are as before
        then; the statistics of batch normalisation are not.
        """
        settings = self._recipe.optimizer
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        set_train_mode(self.net, settings.freeze, norms=settings.freeze_norms)
        seed = np.random.SeedSequence((self._recipe.run.seed, 4, self.step, self._shard.rank)).generate_state(2)
        torch.manual_seed(int(seed[0]) << 31 ^ int(seed[1]))  # of dropout
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._backward(parts)
        self._scaler.unscale_(self._optimizer)
        self._check_and_clip(parts)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._ema:
            self._ema.update_parameters(self.net)
        self.step += 1
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to continue exactly."""
        return {
            "step": self.step,
            "net": self.net.state_dict(),
            "ema": self._ema.state_dict() if self._ema else None,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what `state_dict` returned."""
        self.step = state["step"]
        self.net.load_state_dict(state["net"])
        if self._ema:
            self._ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty after steps in another precision
            self._scaler.load_state_dict(state["scaler"])

    def _backward(self, parts: Sequence[Batch]) -> float:
        """Gradients of the loss over all parts and processes; returns that loss."""
        here = torch.stack([self._loss.totals(part) for part in parts]).sum(0)
        totals = torch.tensor(self._shard.sum(here.tolist()), dtype=torch.float64)
        to_device = partial(Tensor.to, device=self._device, non_blocking=True)
        losses = []
        for number, part in enumerate(parts):
            ddp = self._module if isinstance(self._module, DistributedDataParallel) else None
            with ddp.no_sync() if ddp and number < len(parts) - 1 else nullcontext():
                loss = self._forward(part.map(to_device), totals)
                # Gradients are averaged over the processes, but the parts of the loss add up.
                self._scaler.scale(loss * self._shard.count).backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
        bad = [part for loss, part in zip(losses, parts, strict=True) if not math.isfinite(loss)]
        total, bad_processes = self._shard.sum([sum(losses), float(bool(bad))])
        if bad_processes:
            raise self._not_finite("loss", bad)
        return total

    def _forward(self, batch: Batch, totals: Tensor) -> Tensor:
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            logits, auxiliary = self._module(batch.pictures, batch.memory_pictures, batch.memory, batch.hidden)
        loss: Tensor = self._loss(logits.float(), batch, totals)
        if auxiliary is not None:
            loss = loss + self._recipe.loss.auxiliary * self._loss(auxiliary.float(), batch, totals)
        return loss

    def _check_and_clip(self, parts: Sequence[Batch]) -> None:
        """Shortens the gradient where it is too long. Raises TrainingError where it is not finite."""
        norm = torch.nn.utils.get_total_norm([each.grad for each in self.net.parameters() if each.grad is not None])
        if not self._scaler.is_enabled() and not norm.isfinite():  # with fp16 the scaler leaves such steps out
            raise self._not_finite("gradient", parts)
        if self._recipe.optimizer.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(self.net.parameters(), self._recipe.optimizer.clip_norm, norm)

    def _not_finite(self, what: str, parts: Sequence[Batch]) -> TrainingError:
        files = ", ".join(name for part in parts for name in part.files)
        where = f" on {files}" if files else ", in another process"
        return TrainingError(
            f"the {what} of step {self.step + 1} is not a finite number{where}: check these files, lower lr, or set "
            "clip_norm=5 or precision=fp32"
        )


def make_optimizer(net: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over the parameters to train; each group has its factor on the rate as `scale`."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, value in net.named_parameters():
        if value.requires_grad:
            scale = settings.backbone_lr if name.startswith("backbone.") else 1.0
            decays = settings.algorithm == "sgd" or value.ndim > 1  # AdamW: not batch norms and biases
            groups.setdefault((scale, settings.weight_decay if decays else 0.0), []).append(value)
    parameters = [
        {"params": values, "lr": settings.lr * scale, "scale": scale, "weight_decay": decay}
        for (scale, decay), values in groups.items()
    ]
    fused = is_accelerator(next(net.parameters()).device)
    if settings.algorithm == "sgd":
        return torch.optim.SGD(parameters, momentum=_MOMENTUM, fused=fused)
    return torch.optim.AdamW(parameters, fused=fused)


class Schedule:
    """How far a run is, by steps or by time, and the learning rate that goes with it."""

    def __init__(self, recipe: Recipe) -> None:
        self._optimizer, self._run = recipe.optimizer, recipe.run

    def progress(self, step: int, seconds: float) -> float:
        """From 0 to 1, before the `step`th step (from 0), after that many seconds. At 1 the run is over."""
        if self._run.minutes:
            return min(1.0, seconds / (60 * self._run.minutes))
        return min(1.0, step / self._run.steps)

    def lr(self, step: int, progress: float) -> float:
        """Learning rate of a step."""
        left = 1 - progress
        factors = {"poly": float(left**_POLY_POWER), "cosine": (1 + math.cos(math.pi * progress)) / 2, "constant": 1.0}
        lr = self._optimizer.lr * factors[self._optimizer.lr_schedule]
        if not self._optimizer.warmup:
            return lr
        return lr * min(1.0, max((step + 1) / self._optimizer.warmup, progress / _MAX_WARMUP))

    def seconds_left(self, step: int, seconds: float, since: tuple[int, float]) -> float | None:
        """Time until the end; `since`: a step and its time from which the speed is taken. None before it is known."""
        if self._run.minutes:
            return max(0.0, 60 * self._run.minutes - seconds)
        if step <= since[0]:
            return None
        return (self._run.steps - step) * (seconds - since[1]) / (step - since[0])


def moving_average(net: nn.Module, decay: float) -> AveragedModel:
    """An average that keeps `decay` of itself each step, less at first, so that the beginning is soon forgotten."""

    @torch.no_grad()
    def update(own: _Tensors, new: _Tensors, count: Tensor | int) -> None:
        steps = float(count)
        if own[0].is_floating_point():
            torch._foreach_lerp_(own, new, 1 - min(decay, (1 + steps) / (10 + steps)))
        else:  # counters of batch normalisation
            torch._foreach_copy_(own, new)

    return AveragedModel(net, multi_avg_fn=update, use_buffers=True)
