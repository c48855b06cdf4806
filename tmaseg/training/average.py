"""The moving average of the weights, which is what is scored and shipped."""

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from tmaseg.model.tmanet import TMANet


def moving_average(net: TMANet, keep: float) -> AveragedModel:
    """An average that keeps `keep` of itself each step, less at first, so that the beginning is soon forgotten."""

    @torch.no_grad()
    def average(
        own: tuple[Tensor, ...] | list[Tensor], new: tuple[Tensor, ...] | list[Tensor], count: Tensor | int
    ) -> None:
        steps = float(count)
        share = 1 - min(keep, (1 + steps) / (10 + steps))
        if own[0].is_floating_point():
            torch._foreach_lerp_(own, new, share)
        else:  # counters of batch normalisation
            torch._foreach_copy_(own, new)

    return AveragedModel(net, multi_avg_fn=average, use_buffers=True)
