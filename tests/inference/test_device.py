"""Which device, and what waits for what on a CUDA device that only keeps account of all that work comes after."""

import ast
import re
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tmaseg
from tmaseg.errors import ConfigError
from tmaseg.inference import device as device_module
from tmaseg.inference.device import (
    Transfer,
    accelerators,
    attention_for,
    choose_device,
    choose_precision,
    describe_device,
    device_of_process,
    free_cached_memory,
    seconds_of,
    tried_precisions,
    use_device_of_process,
)
from tmaseg.model.memory import chunked, fused

PACKAGE = Path(tmaseg.__file__).parent


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
        there = transfer.to_device(np.full((2, 3, 3), number, np.uint8))
        assert (there == number).all()
        cuda.compute.do(f"network {number}", cuda.after)
        labels = there[..., 0] + 10
        arrivals.append(transfer.to_host(labels))
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
    labels = transfer.to_device(pixels)[..., 0]
    np.testing.assert_array_equal(transfer.to_host(labels).wait(), pixels[..., 0])


class FakeModule:
    """As torch.cuda or torch.xpu, with two devices."""

    def __init__(self, bf16):
        self.current = None
        if bf16 is not None:
            self.is_bf16_supported = lambda: bf16

    def device_count(self):
        return 2

    def set_device(self, index):
        self.current = index

    def get_device_properties(self, _device):
        return SimpleNamespace(name="Fake Arc", total_memory=16 * 2**30)

    def empty_cache(self):
        self.current = "emptied"


@pytest.fixture
def fake(monkeypatch):
    """`fake("xpu", bf16=True)`: that kind of accelerator is here; bf16 None: it does not say."""

    def install(kind, *, bf16=True):
        module = FakeModule(bf16)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
        monkeypatch.setattr(torch, "get_device_module", lambda device: module)
        return module

    return install


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_any_kind_of_accelerator_is_found_and_asked_what_it_can(fake, kind):
    module = fake(kind)
    assert choose_device() == torch.device(kind)
    assert choose_device(f"{kind}:1") == torch.device(kind, 1)
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=f"'{kind}:2' but this machine has 2 usable {kind.upper()} devices"):
        choose_device(f"{kind}:2")
    other = "xpu" if kind == "cuda" else "cuda"
    with pytest.raises(ConfigError, match=f"'{other}' but this machine has 0 usable"):
        choose_device(other)
    for name in ("meta", "gpu", "vulkan"):
        with pytest.raises(ConfigError, match="must be auto, cpu, cuda"):
            choose_device(name)
    assert choose_precision("auto", torch.device(kind)) == "bf16"
    assert choose_precision("fp32", torch.device(kind)) == "fp32"
    assert device_of_process("auto", 3) == f"{kind}:1"
    assert device_of_process("cpu", 3) == "cpu"
    backends = {"cuda": "cpu:gloo,cuda:nccl", "xpu": "cpu:gloo,xpu:xccl", "mps": "gloo"}
    assert use_device_of_process(3) == backends[kind]
    assert module.current == (None if kind == "mps" else 1)
    assert describe_device(torch.device(kind)) == ("MPS" if kind == "mps" else "Fake Arc, 16 GiB")
    free_cached_memory(torch.device(kind))
    assert module.current == "emptied"
    assert attention_for(torch.device(kind), torch.float32) is fused


def test_a_device_without_bfloat16_computes_in_half_precision(fake):
    fake("cuda", bf16=False)
    assert choose_precision("auto", torch.device("cuda")) == "fp16"
    fake("mps", bf16=None)  # it is tried; there is no such device here
    assert choose_precision("auto", torch.device("mps")) == "fp16"


def test_what_a_device_lacks_is_found_by_trying(monkeypatch):
    monkeypatch.setattr(device_module, "is_accelerator", lambda device: True)
    found = tried_precisions(torch.device("cuda", 99))  # there is no such device
    assert set(found) == {"fp32", "bf16", "fp16"}
    assert all(text.startswith("fails: ") for text in found.values())


def test_without_an_accelerator_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    assert accelerators() == []
    assert device_of_process("auto", 1) == "auto"
    assert use_device_of_process(1) == "gloo"
    assert seconds_of(lambda: None, torch.device("cpu")) >= 0


@pytest.mark.parametrize(
    ("flags", "dtype", "form"),
    [
        ({"amx_bf16"}, torch.bfloat16, fused),
        ({"amx_bf16"}, torch.float32, chunked),
        (set(), torch.bfloat16, chunked),
        (set(), torch.float16, fused),
    ],
)
def test_the_form_of_attention_follows_the_cpu(monkeypatch, flags, dtype, form):
    monkeypatch.setattr(device_module, "cpu_flags", lambda: frozenset(flags))
    assert attention_for(torch.device("cpu"), dtype) is form


def test_kinds_of_devices_are_named_in_one_module_only():
    """FFmpeg's hardware decoders, in video/, are others."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name == "inference/device.py" or name.startswith("video/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Constant) and re.fullmatch(r"(cuda|xpu|mps)(:.*)?", str(node.value))
            called = isinstance(node, ast.Attribute) and node.attr in ("cuda", "is_cuda", "xpu", "mps")
            imported = isinstance(node, ast.ImportFrom) and str(node.module).startswith("torch.cuda")
            if named or called or imported:
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong
