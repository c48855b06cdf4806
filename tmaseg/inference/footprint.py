"""Footprint: how much memory one frame takes on its way through a network, worked out without computing anything."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tmaseg.inference.engine import Engine, full_step
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet


def step_megabytes(config: TMANetConfig, size_hw: tuple[int, int], frames: int, dtype: torch.dtype) -> float:
    """Most memory that tensors of one streaming step take at once beside the weights, in MB of 2**20 bytes.

    size_hw: (height, width) of the network's input; `frames`: T, at least 1. The ring is counted, what a library takes
    for itself inside a convolution is not.
    """
    with torch.device("meta"), torch.inference_mode():
        engine = Engine(TMANet(config).eval().to(dtype))
        with _Live() as live:
            pixels = torch.zeros(1, *size_hw, 3, dtype=torch.uint8)
            x = (pixels.permute(0, 3, 1, 2).float() - 1.0).to(dtype)  # as `Preprocess` makes it
            full_step(engine, x, max(frames, config.slots))
    return float(live.most / 2**20)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that are alive; `most` is the largest sum."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._count(each.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self._now += size
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size
