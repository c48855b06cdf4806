import cv2
import pytest
from tiny import tiny_config

from tmaseg.benchmark.report import MEMORIES, draw_curves, measure_curves
from tmaseg.inference.device import choose_device


@pytest.mark.parametrize("kind", ["shared", "per-slot"])
def test_curves_run_over_memory_length_and_size(kind, tmp_path):
    config = tiny_config(memory_encoder=kind, memory_frames=2)
    curves = measure_curves(config, (48, 64), choose_device("cpu"), "fp32", repeats=1)
    assert [point.memory_frames for point in curves.against_memory] == list(MEMORIES)
    assert [point.size_hw for point in curves.against_size] == [(32, 32), (32, 43), (48, 64), (64, 85), (96, 128)]
    assert {point.memory_frames for point in curves.against_size} == {2}
    backbones = [point.clip.macs.convolutions for point in curves.against_memory]
    assert backbones == sorted(set(backbones))  # T + 1 of them
    first, *rest = curves.against_memory
    assert first.clip is first.stream
    assert all(point.clip.macs.total > point.stream.macs.total for point in rest)
    draw_curves(curves, "a network", tmp_path / "curves.png")
    assert cv2.imread(str(tmp_path / "curves.png")).shape[1] > 1000
