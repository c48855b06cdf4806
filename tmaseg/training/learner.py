"""Learner: the network as training runs it: one pass of the backbone over all pictures of a batch, memory by index.

Notation: B labelled rows, N pictures, M remembered pictures, T memory frames, P = h w positions, C, Ck, Cv channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tmaseg.model.layers import Features
from tmaseg.model.preprocess import Preprocess
from tmaseg.model.tmanet import TMANet


class Learner(nn.Module):
    """Wraps the network so that data parallelism and compilation see one `forward`."""

    def __init__(self, net: TMANet, *, stride: int, auxiliary: bool) -> None:
        """`stride`: the resolution of the answers against the crop; `auxiliary`: whether that head answers as well."""
        super().__init__()
        self.net = net
        self._preprocess = Preprocess(net.config)
        self._stride = stride
        self._auxiliary = auxiliary

    def forward(
        self, pictures: Tensor, remembered: Tensor, memory: Tensor, hidden: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """pictures (N, H, W, 3) uint8, remembered (M,) and memory (B, T) int64, hidden (B,) bool as in `Batch`.

        Returns logits (B, K, H/s, W/s) of the head and, if wanted, of the auxiliary head.
        """
        crop_hw = (pictures.shape[1], pictures.shape[2])
        size_hw = (crop_hw[0] // self._stride, crop_hw[1] // self._stride)
        x = self._preprocess(pictures, crop_hw)
        features = self.net.features(x)
        asked = Features(*(part[: len(memory)] for part in features))
        recalled = _pick(features.stage4, remembered).contiguous(memory_format=torch.channels_last)
        keys, values = self._recall(recalled, memory) if memory.shape[1] else (None, None)
        logits = self.net.resize(self.net.answer(asked, keys, values, hidden), size_hw)
        if not self._auxiliary:
            return logits, None
        return logits, self.net.resize(self.net.auxiliary(asked.stage3), size_hw)

    def _recall(self, stage4: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """stage4 (M, C, h, w), memory (B, T) -> keys (B, T P, Ck), values (B, T P, Cv)."""
        if self.net.config.slots > 1:  # a frame's key depends on its age: each is encoded where it stands
            return self.net.encode_clip(_pick(stage4, memory))  # (B, T, C, h, w)
        keys, values = self.net.encode_memory(stage4)  # (M, 1, P, Ck), (M, 1, P, Cv)
        return _pick(keys[:, 0], memory).flatten(1, 2), _pick(values[:, 0], memory).flatten(1, 2)


def _pick(parts: Tensor, places: Tensor) -> Tensor:
    """`parts[places]`, whose gradient adds in a fixed order: indexing adds by whichever thread comes first, on CPUs."""
    return parts.index_select(0, places.flatten()).view(*places.shape, *parts.shape[1:])


def freeze(net: TMANet, stages: Sequence[str], *, norms: bool, auxiliary: bool) -> None:
    """Takes stages ("stem", "layer1" ...) out of training; the auxiliary head too where it has no loss."""
    for module in _frozen(net, stages):
        module.requires_grad_(False)
    net.auxiliary.requires_grad_(auxiliary)
    if norms:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.requires_grad_(False)


def train_mode(net: TMANet, stages: Sequence[str], *, norms: bool) -> None:
    """Training mode, but for the batch normalisation of frozen stages: their statistics stay."""
    net.train()
    for module in _frozen(net, stages):
        module.eval()
    if norms:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def set_dropout(net: nn.Module, share: float) -> None:
    """The share of channels that the heads drop while training."""
    for module in net.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = share


def _frozen(net: TMANet, stages: Sequence[str]) -> list[nn.Module]:
    names = [name for stage in stages for name in (("stem", "conv1", "bn1") if stage == "stem" else (stage,))]
    return [module for name, module in net.backbone.named_children() if name in names]


def parameter_groups(
    net: TMANet, *, lr: float, decay: float, decay_all: bool, backbone: float
) -> list[dict[str, object]]:
    """Parameters to train, by what they decay and how fast they learn; `scale` stays beside each group's `lr`."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, value in net.named_parameters():
        if value.requires_grad:
            scale = backbone if name.startswith("backbone.") else 1.0
            decays = decay if decay_all or value.ndim > 1 else 0.0
            groups.setdefault((scale, decays), []).append(value)
    return [
        {"params": values, "lr": lr * scale, "scale": scale, "weight_decay": decays}
        for (scale, decays), values in groups.items()
    ]


def make_optimiser(
    net: TMANet, kind: str, groups: list[dict[str, object]], *, momentum: float
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW; on CUDA in fused kernels."""
    fused = next(net.parameters()).is_cuda
    if kind == "sgd":
        return torch.optim.SGD(groups, momentum=momentum, fused=fused)
    return torch.optim.AdamW(groups, fused=fused)
