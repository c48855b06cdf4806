"""The network of a run: how it is initialised, and its forward pass, with memory by index.

Notation: B labelled rows, N pictures, M memory pictures, T memory frames, P = h w positions, C, Ck, Cv channels.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tmaseg.errors import LabelError
from tmaseg.inference.device import has_streams
from tmaseg.labels import LabelSet, map_by_name
from tmaseg.model.checkpoint import Checkpoint, load_checkpoint
from tmaseg.model.config import TMANetConfig
from tmaseg.model.preprocess import Preprocess
from tmaseg.model.resnet import Features
from tmaseg.model.tmanet import TMANet
from tmaseg.training.job import Callback
from tmaseg.training.recipe import Recipe


class TrainingModule(nn.Module):
    """Wraps the network so that data parallelism and compilation have one `forward`."""

    def __init__(self, net: TMANet, *, stride: int, auxiliary: bool) -> None:
        """`stride`: of the logits against the crop; `auxiliary`: whether that head's logits are wanted as well."""
        super().__init__()
        self.net = net
        self._preprocess = Preprocess(net.config)
        self._stride = stride
        self._auxiliary = auxiliary

    def forward(
        self, pictures: Tensor, memory_pictures: Tensor, memory: Tensor, hidden: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """pictures (N, H, W, 3) uint8, memory_pictures (M,) and memory (B, T) int64, hidden (B,) bool as in `Batch`.

        Returns logits (B, K, H/s, W/s) of the head and, if wanted, of the auxiliary head.
        """
        crop_hw = (pictures.shape[1], pictures.shape[2])
        size_hw = (crop_hw[0] // self._stride, crop_hw[1] // self._stride)
        stage1, stage3, stage4 = self.net.encode_frame(self._preprocess(pictures, crop_hw))
        assert stage3 is not None
        rows = len(memory)
        query = Features(stage1[:rows], stage3[:rows], stage4[:rows])
        past = _pick(stage4, memory_pictures)
        keys, values = self._encode_memory(past, memory, query) if memory.shape[1] else (None, None)
        logits = self.net.resize(self.net.decode(query, keys, values, hidden), size_hw)
        if not self._auxiliary:
            return logits, None
        return logits, self.net.resize(self.net.auxiliary(query.stage3), size_hw)

    def _encode_memory(self, stage4: Tensor, memory: Tensor, query: Features) -> tuple[Tensor, Tensor]:
        """stage4 (M, C, h, w), memory (B, T) -> keys (B, N, Ck), values (B, N, Cv) of what each row reads."""
        if self.net.config.slots > 1:  # a frame's key depends on its age: each is encoded where it stands
            return self.net.encode_clip(_pick(stage4, memory), query)  # (B, T, C, h, w)
        if self.net.config.self_in_memory:  # the rows' own frames follow the M pictures
            own = torch.arange(len(memory), device=memory.device)[:, None] + len(stage4)
            stage4 = torch.cat([stage4, query.stage4])  # M + B pictures
            memory = torch.cat([memory, own], 1)  # T + 1 read
        keys, values = self.net.encode_memory(stage4.contiguous(memory_format=torch.channels_last))  # (M, 1, P, C)
        return _pick(keys[:, 0], memory).flatten(1, 2), _pick(values[:, 0], memory).flatten(1, 2)


def _pick(parts: Tensor, indices: Tensor) -> Tensor:
    """`parts[indices]`, its gradient summed in a fixed order: that of indexing depends on the threads of a CPU."""
    return parts.index_select(0, indices.flatten()).view(*indices.shape, *parts.shape[1:])


def freeze(net: TMANet, stages: Sequence[str], *, norms: bool, auxiliary: bool) -> None:
    """Takes stages ("stem", "layer1" ...) out of training; the auxiliary head too where it has no loss."""
    for module in _frozen(net, stages, norms):
        module.requires_grad_(False)
    net.auxiliary.requires_grad_(auxiliary)


def set_train_mode(net: TMANet, stages: Sequence[str], *, norms: bool) -> None:
    """Training mode, but for the batch normalisation of frozen `stages`, and with `norms` all: statistics stay."""
    net.train()
    for module in _frozen(net, stages, norms):
        module.eval()


def set_dropout(net: nn.Module, probability: float) -> None:
    """The probability that the heads drop a channel while training."""
    for module in net.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = probability


def _frozen(net: TMANet, stages: Sequence[str], norms: bool) -> list[nn.Module]:
    names = {name for stage in stages for name in (("stem", "conv1", "bn1") if stage == "stem" else (stage,))}
    return [module for name, module in net.backbone.named_children() if name in names] + [
        module for module in net.modules() if norms and isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]


def build_net(recipe: Recipe, labels: LabelSet, callback: Callback, saved: dict[str, Any] | None = None) -> TMANet:
    """The network with the weights it starts from. Raises ConfigError, CheckpointError and LabelError."""
    if saved:  # the configuration of a run that is resumed: what it started from may be gone, its state has the weights
        return TMANet(TMANetConfig.from_dict(saved))
    if recipe.init in ("none", "imagenet"):
        config = TMANetConfig.from_dict({"classes": len(labels), **recipe.network})
        return TMANet(config, pretrained_backbone=recipe.init == "imagenet")
    checkpoint = load_checkpoint(recipe.init)
    net = TMANet(replace(checkpoint.config, classes=len(labels), **recipe.network))
    random = load_by_class(net, labels, checkpoint)
    if random:
        callback.note(f"classes without a counterpart in {recipe.init} start from random weights: {', '.join(random)}")
    return net


def load_by_class(net: TMANet, labels: LabelSet, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Fills the network with a checkpoint's weights; its classifiers class by class where the label sets differ.

    A class takes the row of its counterpart by name, and stays as it was initialised without one: those are returned.
    Raises LabelError when a tensor other than the classifiers' has another shape.
    """
    state, own = dict(checkpoint.state), net.state_dict()
    rows = {index: index for index in range(len(labels))}  # class -> its row in the checkpoint
    if labels.names != checkpoint.labels.names:
        table = map_by_name(labels, checkpoint.labels).table
        rows = {index: int(table[index]) for index in rows if table[index] < len(checkpoint.labels)}
    for name in (f"{head}.classifier.{part}" for head in ("head", "auxiliary") for part in ("weight", "bias")):
        new = own[name].clone()
        if state[name].shape[1:] == new.shape[1:]:
            new[list(rows)] = state[name][list(rows.values())].to(new.dtype)
            state[name] = new
    shapes, wanted = ({name: value.shape for name, value in each.items()} for each in (state, own))
    wrong = [name for name in {**wanted, **shapes} if wanted.get(name) != shapes.get(name)]
    if wrong:
        raise LabelError(
            f"the weights do not fit the network of the recipe ({wrong[0]} and {len(wrong) - 1} more): leave the "
            "network's settings out, so that it is built as the weights want it"
        )
    net.load_state_dict(state)
    return tuple(name for index, name in enumerate(labels.names) if index not in rows and index not in labels.void)


# Several processes ---------------------------------------------------------------------------------------------------


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
