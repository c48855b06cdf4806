"""The exported step against a Segmenter, and exported files."""

import json

import numpy as np
import pytest
import torch
from tiny import noise_frames, tiny_checkpoint, tiny_net

from tmaseg.errors import CheckpointError, ConfigError, OutputError
from tmaseg.inference import onnx_export, onnx_runtime
from tmaseg.inference.device import onnx_place, onnx_providers
from tmaseg.inference.engine import fold_batch_norm
from tmaseg.inference.onnx_runtime import OnnxNetwork
from tmaseg.inference.onnx_step import StreamingStep
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels
from tmaseg.model.checkpoint import read_weights_info
from tmaseg.model.config import InputGeometry, OnnxSpec
from tmaseg.model.efficientnet_lite import SameConv2d


def export(path, checkpoint, **values):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    calibration = values.pop("calibration", ())
    spec = OnnxSpec(**{"memory_frames": checkpoint.config.memory_frames, "size": None, "frame_hw": (48, 64), **values})
    return onnx_export.export_onnx(checkpoint, path, spec, calibration=calibration)


@pytest.mark.parametrize(
    ("changes", "memory", "size"),
    [
        ({}, None, None),
        ({}, 5, None),
        ({}, 0, 40),
        ({"memory_encoder": "per-slot", "align_corners": True}, None, None),
        ({"memory_encoder": "per-slot"}, 0, None),
        ({"self_in_memory": True, "reach": 0.3, "aggregation": "decoder"}, None, 40),
        ({"memory_frames": 0}, None, None),
        ({"backbone": "efficientnet-lite0", "separable": True}, 1, None),
    ],
)
def test_a_step_gives_the_logits_of_a_segmenter(changes, memory, size):
    """From the first frame on, and after the count was set to 0 again; whatever keys and values hold then."""
    net = tiny_net(**changes)
    segmenter = Segmenter(net, generic_labels(5), geometry=InputGeometry(size), memory_frames=memory, detect_cuts=False)
    folded = tiny_net(**changes)
    fold_batch_norm(folded)
    spec = OnnxSpec(memory_frames=segmenter.memory_frames, size=size, frame_hw=(48, 64), logits=True)
    step = StreamingStep(folded, spec)
    state = step.state(1)
    with torch.inference_mode():
        for index, rgb in enumerate(noise_frames(9, (48, 64))):
            if index == 6:
                segmenter.reset()
                state = (*state[:2], torch.tensor(0)) if state else ()
            labels, logits, *state = step(torch.from_numpy(rgb)[None], *state)
            expected = segmenter.step(rgb, logits=True)
            # Resizing, a pixel in ten thousand is rounded to the next level.
            torch.testing.assert_close(logits[0], expected.logits, atol=0.05 if size else 1e-4, rtol=1e-3)
            assert labels.dtype == torch.uint8
            assert (labels[0].numpy() != expected.labels).mean() < 0.01


def test_the_file_says_what_it_is(onnx_file):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_file)
    shapes = {each.name: each.shape for each in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {
        "frame": [1, 48, 64, 3],
        "keys": [4, 1, 12, 4],
        "values": [4, 1, 12, 16],
        "count": [],
        "labels": [1, 48, 64],
        "next_keys": [4, 1, 12, 4],
        "next_values": [4, 1, 12, 16],
        "next_count": [],
    }
    said = session.get_modelmeta().custom_metadata_map
    network = OnnxNetwork.load(onnx_file, "cpu")
    assert json.loads(said["classes"]) == list(network.labels.names)
    assert json.loads(said["colours"])[0] == [128, 64, 128]
    assert (said["size"], said["memory_frames"], said["frame"], said["precision"]) == ("48", "3", "64x48", "fp32")
    assert read_weights_info(onnx_file).parameters > 1000


def test_a_frame_too_late_for_the_memory_empties_it(onnx_file):
    segmenter = OnnxNetwork.load(onnx_file, "cpu").segmenter(detect_cuts=False)
    frames = zip(noise_frames(4, (48, 64)), (0.0, 0.2, 0.5, 0.7), strict=True)
    assert [segmenter.step(rgb, seconds=at).reset for rgb, at in frames] == [False, False, True, False]


def test_half_precision_with_an_encoder_for_each_slot(tmp_path):
    path = tmp_path / "half.onnx"
    parity = export(path, tiny_checkpoint(memory_encoder="per-slot"), precision="fp16", logits=True)
    assert parity.differing < 0.01
    segmenter = OnnxNetwork.load(path, "cpu").segmenter()
    out = segmenter.step(noise_frames(1, (48, 64))[0], logits=True)
    assert out.logits.shape == (5, 48, 64)
    np.testing.assert_array_equal(out.logits.max(0).indices.numpy(), out.labels)


def test_int8_is_close_and_smaller(tmp_path, onnx_file):
    path = tmp_path / "int8.onnx"
    pictures = onnx_export.read_calibration(onnx_export.DEMO, (48, 64))
    assert len(pictures) >= 40
    parity = export(path, tiny_checkpoint(), precision="int8", calibration=pictures[:6])
    assert 0 < parity.differing < 0.1
    with pytest.raises(ConfigError, match="--calibrate"):
        export(path, tiny_checkpoint(), precision="int8")


def test_frames_of_any_size(tmp_path):
    path = tmp_path / "any.onnx"
    checkpoint = tiny_checkpoint(geometry=InputGeometry(40), reach=0.35)
    assert export(path, checkpoint, size=40, frame_hw=None).differing < 0.001
    segmenter = OnnxNetwork.load(path, "cpu").segmenter()
    reference = Segmenter(checkpoint.build(), checkpoint.labels, geometry=checkpoint.geometry)
    for size_hw in ((48, 64), (48, 64), (70, 50), (70, 50)):
        rgb = noise_frames(1, size_hw)[0]
        labels, expected = segmenter.step(rgb), reference.step(rgb)
        assert labels.reset == expected.reset
        assert (labels.labels != expected.labels).mean() < 0.01


@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (5, 4)])
def test_a_strided_convolution_with_same_padding_takes_any_size_in_a_file(tmp_path, kernel, groups):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime

    conv = SameConv2d(4, 8, kernel, stride=2, dilation=1, groups=groups).eval()
    sides = {
        0: torch.export.Dim.STATIC,
        1: torch.export.Dim.STATIC,
        2: torch.export.Dim.DYNAMIC,
        3: torch.export.Dim.DYNAMIC,
    }
    with torch.no_grad():
        torch.onnx.export(
            conv,
            (torch.randn(1, 4, 20, 31),),
            tmp_path / "conv.onnx",
            dynamo=True,
            dynamic_shapes=(sides,),
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / "conv.onnx")
    for height, width in ((20, 31), (17, 24), (18, 22)):
        x = torch.randn(1, 4, height, width)
        found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
        torch.testing.assert_close(found, conv(x).detach(), rtol=1e-4, atol=1e-5)


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    bad = onnx_export.Parity(12, 2, 0.02, 0.06)
    assert bad.holds("fp16")
    assert not bad.holds("fp32")
    assert onnx_export.Parity(12, 2, 0.01, 0.01).holds("fp32")  # ties
    monkeypatch.setattr(onnx_export, "check_parity", lambda *_: bad)
    for name in ("_write", "_describe"):
        monkeypatch.setattr(onnx_export, name, lambda *_: None)
    with pytest.raises(OutputError, match=r"was not kept: 2\.0000 % of the pixels"):
        export(tmp_path / "bad.onnx", tiny_checkpoint())
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"need onnx, onnxscript, onnxruntime: pip install tmaseg\[onnx\]"):
        onnx_export.export_onnx(tiny_checkpoint(), tmp_path / "o.onnx", OnnxSpec(memory_frames=3, size=None))


def test_what_runs_it_follows_the_device():
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert onnx_providers(torch.device("cpu"), available) == [("CPUExecutionProvider", {})]
    assert onnx_providers(torch.device("cuda:1"), available) == [("CUDAExecutionProvider", {"device_id": 1})]
    assert onnx_place(torch.device("cuda:1")) == ("cuda", 1)
    assert onnx_place(torch.device("xpu")) == ("cpu", 0)
    assert onnx_providers(torch.device("cpu"), ["OpenVINOExecutionProvider", *available])[0][0].startswith("OpenVINO")
    with pytest.raises(ConfigError, match="'mps', for which this onnxruntime has no provider"):
        onnx_providers(torch.device("mps"), available)


def test_openvino_gives_the_same(onnx_file):
    pytest.importorskip("openvino")
    ort = OnnxNetwork.load(onnx_file, "cpu").session
    other = onnx_runtime.OpenVinoSession(onnx_file)
    state, others = ort.empty_state(), other.empty_state()
    for rgb in noise_frames(5, (48, 64)):
        labels, _, state = ort.step(rgb, state)
        same, _, others = other.step(rgb, others)
        assert (labels != same).mean() < 0.01


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x07\x3a\xff\xff\xff\x7fcut", b"\x08\x07"])
def test_what_is_no_file_of_ours_is_one_line(tmp_path, content):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.onnx: (no ONNX file|a file of another program)"):
        OnnxNetwork.load(path, "cpu")
