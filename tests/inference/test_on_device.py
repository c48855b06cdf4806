"""What must hold on every device: run on the CPU here, on a GPU by scripts/gpu_check (TMASEG_TEST_DEVICE=cuda)."""

import os

import pytest
import torch
from tiny import noise_frames, pan, tiny_checkpoint, tiny_net

from tmaseg.inference.device import Transfer, choose_device, dtype_of
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.segmenter import Segmenter
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.inference.smoothing import TemporalSmoothing
from tmaseg.labels import generic_labels
from tmaseg.model.config import InputGeometry, OnnxSpec

DEVICE = choose_device(os.environ.get("TMASEG_TEST_DEVICE", "cpu"))
PRECISIONS = ("fp32", "bf16", "fp16")
CONFIGS = ({}, {"memory_encoder": "per-slot"}, {"reach": 0.3, "aggregation": "decoder"})
TOLERANCES = {"fp32": 5e-3, "bf16": 0.5, "fp16": 5e-2}  # of logits of about 3; a GPU's fp32 convolutions have 10 bits


def frames(count, size_hw=(48, 64)):
    """(count, 3, H, W), normalised."""
    return torch.randn(count, 3, *size_hw, generator=torch.Generator().manual_seed(1))


def assert_same(labels, expected):
    """A GPU may choose another algorithm from call to call."""
    assert (labels != expected).mean() <= (0 if DEVICE.type == "cpu" else 0.01)


def segmenter(precision="fp32", geometry=None, **changes):
    return Segmenter(prepare(tiny_net(**changes), DEVICE, precision), generic_labels(5), geometry=geometry)


@pytest.mark.parametrize("changes", CONFIGS)
@pytest.mark.parametrize("precision", PRECISIONS)
@torch.inference_mode()
def test_a_stream_gives_the_logits_of_the_clip_form(precision, changes):
    net = prepare(tiny_net(**changes), DEVICE, precision)
    clip = frames(6).to(DEVICE, dtype_of(precision))
    window = SlidingWindow(Engine(net), InputGeometry(), net.config.memory_frames)
    for index in range(len(clip)):
        streamed = window.step(clip[index : index + 1]).float()
        past = [max(0, index - age) for age in (3, 2, 1)]
        clip_form = net.head_logits(clip[index : index + 1], clip[None, past]).float()
        torch.testing.assert_close(streamed, clip_form, atol=TOLERANCES[precision], rtol=0.05)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_gives_nearly_the_labels_of_float32_on_a_cpu(precision):
    reference = Segmenter(prepare(tiny_net(), torch.device("cpu"), "fp32"), generic_labels(5))
    there = segmenter(precision)
    for rgb in noise_frames(6, (48, 64)):
        assert (there.step(rgb).labels != reference.step(rgb).labels).mean() < 0.1


@pytest.mark.parametrize("geometry", [None, InputGeometry(window=32, stride=24)])
def test_resets_and_two_videos_at_once(geometry):
    """Each video's labels are those that it has alone; a reset begins it anew."""
    engine = Engine(prepare(tiny_net(), DEVICE, "fp32"))
    videos = [noise_frames(6, (48, 64), seed) for seed in (1, 2)]

    def new():
        return Segmenter(engine, generic_labels(5), geometry=geometry)

    alone = [[each.step(rgb).labels for rgb in video] for video, each in zip(videos, (new(), new()), strict=True)]
    together = [new(), new()]
    for index in range(6):
        for number, each in enumerate(together):
            assert_same(each.step(videos[number][index]).labels, alone[number][index])
    together[0].reset()
    assert_same(together[0].step(videos[1][0]).labels, alone[1][0])


def test_smoothing_on_the_device_gives_what_it_gives_on_a_cpu():
    """The motion is found on the CPU, the classes are moved on the device."""
    video, _ = pan(3, 5, step_px=2, size_hw=(96, 128))
    logits = [torch.randn(1, 4, 24, 32, generator=torch.Generator().manual_seed(index)) for index in range(5)]
    here, there = (TemporalSmoothing(3, Transfer(device)) for device in (torch.device("cpu"), DEVICE))
    here.step(video[0], logits[0])
    there.step(video[0], logits[0].to(DEVICE))
    for rgb, each in zip(video[1:], logits[1:], strict=True):
        torch.testing.assert_close(there.step(rgb, each.to(DEVICE)).cpu(), here.step(rgb, each), atol=1e-4, rtol=1e-4)


def test_frames_wait_for_their_own_labels_only():
    """Labels that are read late are those of their frame, whatever ran since."""
    now, later = segmenter(), segmenter()
    video = noise_frames(8, (48, 64))
    kept = [later.step(rgb) for rgb in video]
    for rgb, result in zip(video, kept, strict=True):
        assert_same(result.labels, now.step(rgb).labels)


def test_an_exported_file_on_the_device(tmp_path):
    for package in ("av", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime

    from tmaseg.inference.onnx_export import export_onnx
    from tmaseg.inference.onnx_runtime import OnnxNetwork

    if DEVICE.type == "cpu":
        pytest.skip("as in test_onnx.py")
    if not any(DEVICE.type.upper() in name.upper() for name in onnxruntime.get_available_providers()):
        pytest.skip(f"this onnxruntime has no provider for {DEVICE.type}")
    path = tmp_path / "step.onnx"
    export_onnx(tiny_checkpoint(), path, OnnxSpec(memory_frames=3, size=None, frame_hw=(48, 64)))
    there, here = (OnnxNetwork.load(path, name).segmenter() for name in (str(DEVICE), "cpu"))
    for rgb in noise_frames(6, (48, 64)):
        assert (there.step(rgb).labels != here.step(rgb).labels).mean() < 0.01
