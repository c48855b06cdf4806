"""Several processes under `torchrun`: sums, gradients and batch statistics over all. One process needs none."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tmaseg.evaluation import Shard
from tmaseg.inference.device import has_streams

T = TypeVar("T")


def all_sum(shard: Shard, values: Sequence[float]) -> list[float]:
    """Each value summed over all processes."""
    if shard.count == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(total)
    return [float(value) for value in total]


def broadcast(shard: Shard, make: Callable[[], T]) -> T:
    """What `make` returns in the first process, for all: others may be on machines that do not have its files."""
    if shard.count == 1:
        return make()
    made: list[Any] = [make() if shard.first else None]
    distributed.broadcast_object_list(made)
    value: T = made[0]
    return value


def data_parallel(module: nn.Module, shard: Shard, device: torch.device) -> nn.Module:
    """The module, its gradients averaged over the processes where there are several."""
    if shard.count == 1:
        return module
    return DistributedDataParallel(module, device_ids=[device] if has_streams(device) else None)


def convert_sync_batch_norm(net: nn.Module, device: torch.device) -> None:
    """Makes every batch normalisation take its statistics from the batches of all processes; parameters stay."""
    if has_streams(device):
        nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
        return
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _CpuSyncBatchNorm


class _CpuSyncBatchNorm(nn.BatchNorm2d):
    """What torch's SyncBatchNorm is on CUDA, for CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w); the processes may have different B."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        from torch.distributed.nn.functional import all_reduce  # absent where torch is built without processes

        wide = x.float()
        here = wide.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), here])
        sums = all_reduce(sums)  # type: ignore[no-untyped-call]
        first, second, count = torch.split(sums, [x.shape[1], x.shape[1], 1])
        mean = first / count
        variance = (second / count - mean.square()).clamp_min(0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        factor = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * factor
        normal: Tensor = wide * factor.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
        return normal.to(x.dtype)
