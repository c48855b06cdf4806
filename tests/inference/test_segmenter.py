"""The law of the memory: a stream gives what the clip form gives."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import noise_frames, tiny_net

from tmaseg.errors import ConfigError
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.segmenter import Segmenter
from tmaseg.inference.sliding_window import window_grid
from tmaseg.labels import generic_labels
from tmaseg.model.config import InputGeometry

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


def segmenter_of(net, **options):
    options = {"detect_cuts": False, **options}
    config = net.net.config if isinstance(net, Engine) else net.config
    return Segmenter(net, generic_labels(config.classes), **options)


def normalised(frame):
    return (torch.from_numpy(frame).permute(2, 0, 1).float() - MEAN) / STD


def clip_logits(net, frames, index, *, first=0, memory_frames=None, crop=None):
    """The clip form for frame `index`: query and memory recomputed from pixels; slots before `first` repeat it."""
    rows, columns = crop or (slice(None), slice(None))
    pick = lambda i: normalised(frames[i])[:, rows, columns]  # noqa: E731
    count = net.config.memory_frames if memory_frames is None else memory_frames
    past = [max(i, first) for i in range(index - count, index)] if index > first else [first] * count
    memory = torch.stack([pick(i) for i in past])[None] if past else None
    with torch.no_grad():
        return net(pick(index)[None], memory)[0]


def assert_same(got, want):
    """Equal but for float32's rounding, at the scale of the logits."""
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5 * float(want.abs().max()))


def check_stream(net, frames, *, first=0, **options):
    segmenter = segmenter_of(net, **options)
    for index in range(first, len(frames)):
        got = segmenter.step(frames[index], logits=True)
        want = clip_logits(net, frames, index, first=first, memory_frames=options.get("memory_frames"))
        assert_same(got.logits, want)
        assert got.labels.shape == frames[index].shape[:2]
        assert (got.labels == want.argmax(0).numpy()).mean() > 0.999


CONFIGURATIONS = [
    *({"memory_frames": frames, "memory_encoder": kind} for frames in (1, 2, 4, 6) for kind in ("shared", "per-slot")),
    *({"memory_frames": frames, "self_in_memory": True} for frames in (0, 1, 2, 4)),
    {"memory_frames": 0},
    {"aggregation": "sum"},
    {"aggregation": "decoder", "memory_encoder": "per-slot"},
    {"encoder": "1x1"},
    {"encoder": "3x3", "memory_encoder": "per-slot"},
    {"align_corners": True},
    {"reach": 0.4, "memory_encoder": "per-slot"},
    {"reach": 0.4, "self_in_memory": True},
    {"output_stride": 8, "backbone": "resnet50", "memory_encoder": "per-slot"},
    {"stem": "plain", "key_channels": 8},
]


@pytest.mark.parametrize("changes", CONFIGURATIONS, ids=str)
def test_the_stream_equals_the_clip(changes):
    """From the first frame (start-up) to well after the ring has wrapped, at an odd size."""
    check_stream(tiny_net(**changes), noise_frames(8, (47, 61)))


@pytest.mark.parametrize("size", [(32, 32), (33, 64), (64, 33), (97, 129), (50, 31)])
def test_the_stream_equals_the_clip_at_any_size(size):
    check_stream(tiny_net(aggregation="decoder"), noise_frames(5, size))


KINDS = [{}, {"memory_encoder": "per-slot"}, {"self_in_memory": True}]


@pytest.mark.parametrize("changes", [{}, {"self_in_memory": True}], ids=str)
def test_a_shared_encoder_takes_any_number_of_frames(changes):
    check_stream(tiny_net(memory_frames=2, **changes), noise_frames(7, (40, 40)), memory_frames=5)


@pytest.mark.parametrize("changes", [*CONFIGURATIONS[2:4], *KINDS], ids=str)
def test_the_prepared_network_keeps_the_law(changes):
    """Folded and joined, and reading memory in the way of CPUs."""
    net, frames = tiny_net(**changes), noise_frames(8, (47, 61))
    segmenter = segmenter_of(prepare(tiny_net(**changes), torch.device("cpu"), "fp32"))
    for index, frame in enumerate(frames):
        assert_same(segmenter.step(frame, logits=True).logits, clip_logits(net, frames, index))


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_no_memory_is_each_frame_alone(changes):
    net = tiny_net(**changes)
    frames = noise_frames(4, (40, 56))
    segmenter = segmenter_of(net, memory_frames=0)
    for index, frame in enumerate(frames):
        want = clip_logits(net, frames, index, first=index)
        assert_same(segmenter.step(frame, logits=True).logits, want)


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_every_window_has_its_own_memory(changes):
    net = tiny_net(**changes)
    frames = noise_frames(6, (70, 101))
    geometry = InputGeometry(window=48, stride=32)
    segmenter = segmenter_of(net, geometry=geometry)
    grid = window_grid((70, 101), geometry)
    assert grid == [(top, left) for top in (0, 22) for left in (0, 32, 53)]
    for index, frame in enumerate(frames):
        total, count = torch.zeros(5, 70, 101), torch.zeros(70, 101)
        for top, left in grid:
            crop = (slice(top, top + 48), slice(left, left + 48))
            total[:, crop[0], crop[1]] += clip_logits(net, frames, index, crop=crop)
            count[crop] += 1
        assert_same(segmenter.step(frame, logits=True).logits, total / count)


def test_windows_larger_than_the_frame_change_nothing():
    net, frames = tiny_net(), noise_frames(3, (40, 56))
    whole, windowed = segmenter_of(net), segmenter_of(net, geometry=InputGeometry(window=64, stride=32))
    for frame in frames:
        assert torch.equal(whole.step(frame, logits=True).logits, windowed.step(frame, logits=True).logits)


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_two_videos_interleaved_on_one_network_do_not_mix(changes):
    net = tiny_net(**changes)
    videos = [noise_frames(6, (40, 56), seed=1), noise_frames(6, (48, 40), seed=2)]
    engine = Engine(net)
    segmenters = [segmenter_of(engine), segmenter_of(engine)]
    for index in range(6):
        for frames, segmenter in zip(videos, segmenters, strict=True):
            got = segmenter.step(frames[index], logits=True).logits
            assert_same(got, clip_logits(net, frames, index))


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_reset_is_a_new_segmenter(changes):
    net, frames = tiny_net(**changes), noise_frames(9, (40, 56))
    segmenter = segmenter_of(net)
    for frame in frames[:5]:
        segmenter.step(frame)
    segmenter.reset()
    assert segmenter.memory_resets == 0
    for index in range(5, 9):
        got = segmenter.step(frames[index], logits=True).logits
        assert_same(got, clip_logits(net, frames, index, first=5))


def test_a_change_of_size_starts_the_memory_again_and_is_counted():
    net = tiny_net()
    small, large = noise_frames(3, (40, 56), seed=1), noise_frames(4, (48, 64), seed=2)
    segmenter = segmenter_of(net)
    resets = [segmenter.step(frame).reset for frame in small]
    for index, frame in enumerate(large):
        got = segmenter.step(frame, logits=True)
        resets.append(got.reset)
        assert_same(got.logits, clip_logits(net, large, index))
    assert resets == [False] * 3 + [True] + [False] * 3
    assert segmenter.memory_resets == 1


@pytest.mark.parametrize(
    ("seconds", "at", "changes"),
    [
        ([0.0, 0.04, 0.08, 0.12, 3.0, 3.04, 3.08], [4], {}),
        ([0.0, 0.04, 0.08, 0.12, 0.02, 0.06, 0.1], [4], {}),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [], {}),
        ([0.0, 0.04, 0.08, 0.4, 0.44, 0.5, 0.9], [], {}),
        ([5.0, 6.0, 8.0, 9.0, 13.0, 14.0, 40.0], [6], {}),
        ([0.0, 0.2, 0.4, 0.7, 0.9, 1.9, 2.9], [3, 5, 6], {"self_in_memory": True}),
    ],
)
def test_a_gap_in_time_starts_the_memory_again(seconds, at, changes):
    """Where the network finds the frame itself, any quarter of a second is one, unless the camera stands still."""
    net, frames = tiny_net(**changes), noise_frames(7, (40, 56))
    segmenter = segmenter_of(net)
    first = 0
    for index, (frame, moment) in enumerate(zip(frames, seconds, strict=True)):
        got = segmenter.step(frame, seconds=moment, logits=True)
        assert got.reset == (index in at)
        first = index if index in at else first
        assert_same(got.logits, clip_logits(net, frames, index, first=first))
    assert segmenter.memory_resets == len(at)


def test_a_source_may_say_that_a_frame_does_not_go_on():
    net, frames = tiny_net(), noise_frames(4, (40, 56))
    segmenter = segmenter_of(net)
    assert [segmenter.step(frame, discontinuity=index in (0, 2)).reset for index, frame in enumerate(frames)] == [
        False,
        False,
        True,
        False,
    ]
    assert segmenter.memory_resets == 1


def test_a_scene_cut_starts_the_memory_again():
    net = tiny_net()
    scenes = noise_frames(2, (72, 96))
    video = [scenes[0]] * 4 + [scenes[1]] * 4
    segmenter = segmenter_of(net, detect_cuts=True)
    assert [segmenter.step(frame).reset for frame in video] == [False] * 4 + [True] + [False] * 3
    assert segmenter.memory_resets == 1


def test_size_is_the_networks_and_labels_keep_the_frames():
    net, frame = tiny_net(), noise_frames(1, (90, 120))[0]
    small = segmenter_of(net, geometry=InputGeometry(size=48)).step(frame, logits=True)
    assert small.labels.shape == (90, 120)
    assert small.logits.shape == (5, 90, 120)
    seen = []
    net.backbone.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
    segmenter_of(net, geometry=InputGeometry(size=48)).step(frame)
    assert seen == [(1, 3, 48, 64)]


def test_a_strip_is_fed_at_a_bounded_number_of_pixels_and_that_is_said():
    segmenter = segmenter_of(tiny_net(), geometry=InputGeometry(size=48))
    assert segmenter.step(noise_frames(1, (24, 400))[0]).labels.shape == (24, 400)
    assert segmenter.warnings == (
        "frames whose sides differ more than 8 to 1 are fed to the network at a short side of 33 instead of 48",
    )
    segmenter.step(noise_frames(1, (48, 64))[0])
    assert segmenter.warnings == ()


def test_a_read_only_view_of_a_picture_is_a_frame():
    """As Pillow gives it; torch would warn."""
    frame = np.flip(noise_frames(1, (40, 56))[0], axis=1)
    frame.setflags(write=False)
    assert segmenter_of(tiny_net()).step(frame).labels.shape == (40, 56)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_sees_the_same_picture(precision):
    net, frames = tiny_net(aggregation="decoder"), noise_frames(4, (64, 80))
    segmenter = segmenter_of(tiny_net(aggregation="decoder").to(precision))
    for index, frame in enumerate(frames):
        got = segmenter.step(frame, logits=True).logits
        want = clip_logits(net, frames, index)
        assert (got - want).abs().max() < 0.1 * want.abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_frames": -1}, "--memory is -1"),
        ({"geometry": InputGeometry(size=0)}, "--size is 0; .* at least 16"),
        ({"geometry": InputGeometry(stride=5)}, "--stride came without --window"),
        ({"geometry": InputGeometry(window=16)}, "at least 32"),
        ({"geometry": InputGeometry(window=64, stride=65)}, "must be 1 to 64"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        segmenter_of(tiny_net(), **options)


def test_memory_that_the_weights_do_not_have_is_refused():
    with pytest.raises(ConfigError, match="have no memory"):
        segmenter_of(tiny_net(memory_frames=0), memory_frames=2)
    with pytest.raises(ConfigError, match="give 3 or 0"):
        segmenter_of(tiny_net(memory_encoder="per-slot"), memory_frames=2)
    with pytest.raises(ConfigError, match="5 outputs"):
        Segmenter(tiny_net(), generic_labels(4))
    for rgb in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), [[[1, 2, 3]]], None, Image.new("RGB", (40, 40))):
        with pytest.raises(ConfigError, match=r"must be .*\(H, W, 3\) uint8"):
            segmenter_of(tiny_net()).step(rgb)
