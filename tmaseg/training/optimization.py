"""Optimizer, learning-rate schedule and the moving average of the weights."""

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tmaseg.inference.device import is_accelerator
from tmaseg.training.recipe import Optimizer, Recipe

_MOMENTUM = 0.9
_POLY_POWER = 0.9
_MAX_WARMUP = 0.1  # of a run, so that a short one by a preset for long ones is not over before it is warm


def make_optimizer(net: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over the parameters to train; on GPUs in fused kernels.

    Each parameter group has its factor on the learning rate as `scale`, beside its `lr`.
    """
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
    def update(
        own: tuple[Tensor, ...] | list[Tensor], new: tuple[Tensor, ...] | list[Tensor], count: Tensor | int
    ) -> None:
        steps = float(count)
        weight = 1 - min(decay, (1 + steps) / (10 + steps))
        if own[0].is_floating_point():
            torch._foreach_lerp_(own, new, weight)
        else:  # counters of batch normalisation
            torch._foreach_copy_(own, new)

    return AveragedModel(net, multi_avg_fn=update, use_buffers=True)
