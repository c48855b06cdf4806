"""Clock: how far a run is, by steps or by time, and the learning rate that goes with it."""

import math
from dataclasses import dataclass

from tmaseg.training.recipe import Descent

_WARMUP_MOST = 0.1  # of a run, so that a short one by a preset for long ones is not over before it is warm


@dataclass(frozen=True)
class Clock:
    """Says how far a run is, in [0, 1]."""

    descent: Descent

    def progress(self, step: int, seconds: float) -> float:
        """Before the `step`th step (from 0), after that many seconds. At 1 the run is over."""
        if self.descent.minutes:
            return min(1.0, seconds / (60 * self.descent.minutes))
        return min(1.0, step / self.descent.steps)

    def rate(self, step: int, progress: float) -> float:
        """Learning rate of a step."""
        descent = self.descent
        left = 1 - progress
        fall = {"poly": float(left**descent.power), "cosine": (1 + math.cos(math.pi * progress)) / 2, "constant": 1.0}
        rate = descent.lr_end + (descent.lr - descent.lr_end) * fall[descent.decline]
        if not descent.warmup:
            return rate
        return rate * min(1.0, max((step + 1) / descent.warmup, progress / _WARMUP_MOST))

    def seconds_left(self, step: int, seconds: float, since: tuple[int, float]) -> float | None:
        """Time until the end; `since`: a step and its time from which the speed is taken. None before it is known."""
        if self.descent.minutes:
            return max(0.0, 60 * self.descent.minutes - seconds)
        if step <= since[0]:
            return None
        return (self.descent.steps - step) * (seconds - since[1]) / (step - since[0])
