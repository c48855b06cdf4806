"""Transfer: pixels to the network's device and labels back, beside its work rather than in its way."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Arrival:
    """An array on its way from the device."""

    def __init__(self, there: Tensor, event: torch.cuda.Event | None = None) -> None:
        """`there` is in host memory; it is complete once `event` has happened, or now where there is none."""
        self._there = there
        self._event = event

    def wait(self) -> NDArray[np.uint8]:
        """The array, complete."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return np.asarray(self._there.numpy(), np.uint8)


class Transfer:
    """Copies for one device. On a CPU nothing is copied.

    To CUDA: through pinned memory, up on one stream and down on another. Labels wait for the network of their frame, so
    that pixels queued behind them on the same stream would wait for it as well; on a stream of its own the next frame
    goes up while this one is computed. Nobody waits on the host until the labels are looked at. Not measured: no GPU
    was at hand.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams = (_stream_of(device), _stream_of(device)) if device.type == "cuda" else None

    def up(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The array on the device; kernels launched from now on find it complete. The copy waits for nothing."""
        host = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        if self._streams is None:
            return host
        stream, _ = self._streams
        with torch.cuda.stream(stream):
            there = host.pin_memory().to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(stream)
        there.record_stream(current)  # its memory is not given away before the network has read it
        return there

    def down(self, labels: Tensor) -> Arrival:
        """Starts the way back of uint8 `labels`; kernels launched before are waited for by the copy, not by us."""
        if self._streams is None:
            return Arrival(labels)
        _, stream = self._streams
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            there = torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
            there.copy_(labels, non_blocking=True)
            labels.record_stream(stream)  # nor that of the labels before they are copied
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(stream)
        return Arrival(there, event)


def _stream_of(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
