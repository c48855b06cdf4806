import pytest

from tmaseg.inference.macs import clip_macs, step_macs
from tmaseg.model.config import TMANetConfig


@pytest.mark.parametrize("kind", ["shared", "per-slot"])
def test_the_papers_gflops_come_out_of_the_clip_form(kind):
    """754 at 769x769 with T = 2 (paper, table 4): three backbone passes, attention not counted."""
    config = TMANetConfig(classes=19, memory_frames=2, memory_encoder=kind, align_corners=True)
    clip, step = clip_macs(config, (769, 769)), step_macs(config, (769, 769))
    assert clip.convolutions == pytest.approx(754, abs=1)
    assert clip.total == pytest.approx(810.1, abs=0.1)
    assert clip.attention == pytest.approx(56.7, abs=0.1)
    if kind == "per-slot":
        assert step.convolutions == pytest.approx(290, abs=1)
        assert step.total == pytest.approx(347, abs=1)


def test_each_memory_frame_costs_its_attention_only():
    config = TMANetConfig(classes=19, backbone="resnet18")
    works = [step_macs(config, (96, 96), frames) for frames in (0, 1, 2, 4)]
    assert len({work.convolutions for work in works}) == 1
    one = works[1].attention
    assert [work.attention / one for work in works] == pytest.approx([1, 1, 2, 4])


def test_a_frame_in_its_own_memory_costs_one_more():
    plain, own = (TMANetConfig(classes=19, backbone="resnet18", self_in_memory=each) for each in (False, True))
    for count in (step_macs, clip_macs):
        assert 4 * count(own, (96, 96)).attention == pytest.approx(5 * count(plain, (96, 96)).attention)
