"""What waits for what, on a CUDA device that only keeps account: each piece of work knows all that it comes after."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from tmaseg.inference.device import Transfer


class FakeStream:
    """Work in order: each piece after all before it on this stream, and after what the stream was told to wait for."""

    def __init__(self, *_device):
        self.before = set()

    def do(self, work, after):
        after[work] = frozenset(self.before)
        self.before.add(work)

    def wait_stream(self, other):
        self.before |= other.before


class FakeCuda:
    """Stands in for torch.cuda and for what tensors do there. Copies to the host are made when one is waited for."""

    def __init__(self, monkeypatch):
        self.compute = self.now = FakeStream()
        self.after = {}  # work -> all work that it waits for
        self.kept = []  # (tensor, stream) of record_stream
        self.synchronised = []  # for every wait on the host, the work that was waited for
        self._copies = []
        self._ups = 0
        plain_to, plain_empty = torch.Tensor.to, torch.empty
        for name, value in (
            ("Stream", FakeStream),
            ("Event", lambda: FakeEvent(self)),
            ("stream", self._inside),
            ("current_stream", lambda device=None: self.now),
        ):
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory, **kind: plain_empty(*shape, **kind).zero_())
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: plain_to(tensor, copy=True))
        monkeypatch.setattr(torch.Tensor, "to", lambda tensor, _, non_blocking: self._up(tensor))
        monkeypatch.setattr(torch.Tensor, "copy_", lambda to, labels, non_blocking: self._down(to, labels))
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: self.kept.append((tensor, stream)))

    @contextmanager
    def _inside(self, stream):
        before, self.now = self.now, stream
        yield
        self.now = before

    def _up(self, tensor):
        self.now.do(f"up {self._ups}", self.after)
        self._ups += 1
        return tensor

    def _down(self, there, labels):
        self.now.do(f"down {len(self._copies)}", self.after)
        self._copies.append((there, labels))
        return there

    def land(self):
        for there, labels in self._copies:
            there.numpy()[...] = labels.numpy()


class FakeEvent:
    def __init__(self, cuda):
        self._cuda, self._before = cuda, set()

    def record(self, stream):
        self._before = set(stream.before)

    def synchronize(self):
        self._cuda.synchronised.append(self._before)
        self._cuda.land()


def test_frames_go_up_and_labels_down_without_waiting_for_more_than_they_must(monkeypatch):
    cuda = FakeCuda(monkeypatch)
    transfer = Transfer(torch.device("cuda"))
    arrivals, used = [], []
    for number in range(3):
        there = transfer.up(np.full((2, 3, 3), number, np.uint8))
        assert (there == number).all()
        cuda.compute.do(f"network {number}", cuda.after)
        labels = there[..., 0] + 10
        arrivals.append(transfer.down(labels))
        used += [there, labels]
        assert not cuda.synchronised  # nobody waits on the host
    for number in range(3):
        earlier = range(number)
        ups, networks = ({f"{kind} {each}" for each in earlier} for kind in ("up", "network"))
        assert cuda.after[f"up {number}"] == ups  # neither for the network nor for labels on their way down
        assert cuda.after[f"network {number}"] == ups | {f"up {number}"} | networks
        assert cuda.after[f"down {number}"] >= {f"network {number}"}
        assert f"up {number + 1}" not in cuda.after[f"down {number}"]

    # What the allocator is told: pixels are read by the network's stream, labels by the one that takes them down.
    assert [id(tensor) for tensor, _ in cuda.kept] == [id(tensor) for tensor in used]
    assert all(stream is cuda.compute for _, stream in cuda.kept[::2])
    assert all("down 2" in stream.before for _, stream in cuda.kept[1::2])

    for number, arrival in enumerate(arrivals):
        np.testing.assert_array_equal(arrival.wait(), np.full((2, 3), number + 10, np.uint8))
        assert f"down {number}" in cuda.synchronised[number]
    arrivals[0].wait()
    assert len(cuda.synchronised) == 3  # a second look does not wait again


@pytest.mark.parametrize("writeable", [True, False])
def test_on_a_cpu_the_labels_are_those_of_the_network(writeable):
    transfer, pixels = Transfer(torch.device("cpu")), np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    pixels.flags.writeable = writeable
    labels = transfer.up(pixels)[..., 0]
    np.testing.assert_array_equal(transfer.down(labels).wait(), pixels[..., 0])
