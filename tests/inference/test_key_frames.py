"""Key frames: the network sees every k-th frame, and labels between follow the picture."""

import cv2
import numpy as np
import pytest
from tiny import noise_frames, pan, panorama, tiny_net

from tmaseg.errors import ConfigError
from tmaseg.inference.key_frames import KeyFrames
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels


def segmenter_of(net, **options):
    return Segmenter(net, generic_labels(net.config.classes), **options)


@pytest.mark.parametrize("shift", [(0, 0), (3, 5), (-4, 2), (6, -12)])
@pytest.mark.parametrize("scale", [1, 3])
def test_labels_move_as_the_picture_does(shift, scale):
    """A pure translation, at the size at which motion is found and at one beyond it, over two steps."""
    down, right = shift
    large = (500 * scale, 260 * scale)
    picture = np.asarray(cv2.resize(panorama(1), large, interpolation=cv2.INTER_LINEAR), np.uint8)
    ids = np.asarray(cv2.resize(panorama(2)[..., 0] // 64, large, interpolation=cv2.INTER_NEAREST), np.uint8)

    def window(of, steps):
        top, left = scale * (30 - steps * down), scale * (60 - steps * right)
        return of[top : top + scale * 220, left : left + scale * 300].copy()

    keys = KeyFrames(3)
    assert keys.carry(window(picture, 0)) is None
    keys.keep(window(ids, 0))
    inner = (slice(40 * scale, -40 * scale), slice(40 * scale, -40 * scale))
    for step in (1, 2):
        carried = keys.carry(window(picture, step))
        assert carried is not None
        want = window(ids, step)
        assert (carried == want)[inner].mean() > 0.985  # but for the outlines
        carried[:] = 9  # painted on by the caller: no matter
    assert keys.carry(window(picture, 2)) is None


def test_key_frames_of_one_are_the_plain_stream():
    frames = noise_frames(6, (48, 64))
    net = tiny_net()
    plain, keyed = segmenter_of(net, detect_cuts=False), segmenter_of(net, detect_cuts=False, key_frames=1)
    for frame in frames:
        want, got = plain.step(frame, logits=True), keyed.step(frame, logits=True)
        np.testing.assert_array_equal(got.labels, want.labels)
        assert got.logits.equal(want.logits)
        assert not got.carried
    assert keyed.network_frames == len(frames)


def test_key_frames_are_the_stream_of_every_kth_frame():
    """Memory holds key frames; what lies between is carried, and carried labels are the key frame's moved along."""
    frames, _ = pan(3, 9)
    net = tiny_net()
    plain, keyed = segmenter_of(net), segmenter_of(net, key_frames=3)
    seen = [keyed.step(frame) for frame in frames]
    assert [each.carried for each in seen] == [False, True, True] * 3
    assert keyed.network_frames == 3
    for index in (0, 3, 6):
        np.testing.assert_array_equal(seen[index].labels, plain.step(frames[index]).labels)
    keyed.reset()
    again = [keyed.step(frame) for frame in frames]
    assert all((one.labels == two.labels).all() for one, two in zip(seen, again, strict=True))


def test_another_moment_is_a_key_frame():
    """A cut, a gap in time, another size, and a source that says so: the network looks, and the count begins again."""
    (first, _), (second, _) = pan(3, 4), pan(11, 4)
    net = tiny_net()

    def carried(frames, **options):
        segmenter = segmenter_of(net, key_frames=4)
        return [segmenter.step(frame, **{name: each[i] for name, each in options.items()}).carried
                for i, frame in enumerate(frames)]  # fmt: skip

    assert carried([*first[:2], *second[:3]]) == [False, True, False, True, True]
    times = [0.0, 0.04, 0.08, 5.0]
    assert carried(first, seconds=times) == [False, True, True, False]
    assert carried(first, discontinuity=[False, False, True, False]) == [False, True, False, True]
    smaller = [frame[:200].copy() for frame in first]
    assert carried([*first[:2], *smaller[:2]]) == [False, True, False, True]


def test_what_cannot_work_is_refused_and_tiny_frames_all_go_through_the_network():
    net = tiny_net()
    with pytest.raises(ConfigError, match="--key-frames is 0; it must be 1"):
        segmenter_of(net, key_frames=0)
    with pytest.raises(ConfigError, match="need the network on every frame: leave out --key-frames"):
        segmenter_of(net, key_frames=2).step(noise_frames(1, (40, 40))[0], logits=True)
    keys = KeyFrames(2)
    for _ in range(3):
        assert keys.carry(np.zeros((8, 40, 3), np.uint8)) is None
        keys.keep(np.zeros((8, 40), np.uint8))
