"""Colours: what goes in comes out, whatever the file was tagged with."""

from fractions import Fraction

import av
import numpy as np
import pytest
from films import PATCHES, film, patch_means, patches

from tmaseg.video.colour import FrameConverter
from tmaseg.video.encoder import WriteOptions
from tmaseg.video.sink import VideoSink
from tmaseg.video.source import Frame, ReadOptions, StreamInfo
from tmaseg.video.video_source import VideoSource

RATE, TIME_BASE = Fraction(25), Fraction(1, 25)
TAGS = {"ITU709": 1, "ITU601": 6, "BT2020": 9}
BT470BG = 5  # what PAL material is tagged with: BT.601


def read_first(path, **options):
    with VideoSource(path, ReadOptions(**options)) as source:
        return source.info, next(iter(source)).rgb


def off(rgb):
    return np.abs(patch_means(rgb) - PATCHES).max()


@pytest.mark.parametrize("matrix", TAGS)
@pytest.mark.parametrize("full_range", [False, True])
def test_a_tagged_video_gives_its_colours(tmp_path, matrix, full_range):
    path = film(tmp_path / "a.mp4", [patches()] * 2, matrix=matrix, tags=TAGS[matrix], full_range=full_range)
    info, rgb = read_first(path)
    assert off(rgb) <= 3
    assert "tagged" in info.colour
    assert ("full" in info.colour) == full_range


@pytest.mark.parametrize("size", [(64, 48), (64, 720)])
def test_pal_is_bt601_whatever_its_size(tmp_path, size):
    path = film(tmp_path / "a.mp4", [patches(*size)], matrix="ITU601", tags=BT470BG)
    info, rgb = read_first(path)
    assert off(rgb) <= 3
    assert info.colour.startswith("bt601")
    assert "tagged" in info.colour


@pytest.mark.parametrize(("size", "matrix"), [((64, 720), "ITU709"), ((64, 718), "ITU601"), ((1280, 576), "ITU601")])
def test_an_untagged_video_is_bt709_from_720_lines_up(tmp_path, size, matrix):
    path = film(tmp_path / "a.mp4", [patches(*size)], matrix=matrix)
    info, rgb = read_first(path)
    assert off(rgb) <= 3
    assert "guessed" in info.colour


def test_the_matrix_can_be_given(tmp_path):
    path = film(tmp_path / "a.mp4", [patches()], matrix="ITU709", tags=6)
    assert off(read_first(path)[1]) > 10
    assert off(read_first(path, colorspace="bt709")[1]) <= 3


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv422p", "yuv420p10le"])
def test_other_subsamplings_and_depths(tmp_path, pix_fmt):
    path = film(tmp_path / "a.mp4", [patches()], pix_fmt=pix_fmt, tags=6)
    with VideoSource(path) as source:
        assert off(next(iter(source)).rgb) <= 3
        assert any("10 bits" in warning for warning in source.warnings) == pix_fmt.endswith("10le")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_what_is_written_reads_back_as_tagged_bt709(tmp_path, suffix):
    frame = Frame(patches(), 0, TIME_BASE, 0)
    path = tmp_path / f"out{suffix}"
    with VideoSink(path, StreamInfo("drawn", 64, 48, RATE, TIME_BASE)) as sink:
        sink.write(frame)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = next(container.decode(stream))
        context = stream.codec_context
        tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        # Made without help from the tags: BT.709, limited range, by an independent call.
        rgb = decoded.to_ndarray(
            format="rgb24", src_colorspace="ITU709", src_color_range="MPEG", dst_color_range="JPEG"
        )
    assert tags == (1, 1, 1, 1)
    assert decoded.format.name == "yuv420p"
    assert off(rgb) <= 3
    assert off(read_first(path)[1]) <= 3


def test_lossless_is_exact(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (47, 63, 3), np.uint8) for _ in range(3)]
    path = tmp_path / "out.mkv"
    with VideoSink(path, StreamInfo("drawn", 63, 47, RATE, TIME_BASE), WriteOptions(lossless=True)) as sink:
        for index, rgb in enumerate(pictures):
            sink.write(Frame(rgb, index, TIME_BASE, index))
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with VideoSource(path) as source:
        read = [frame.rgb for frame in source]
    for rgb, theirs, ours in zip(pictures, decoded, read, strict=True):
        np.testing.assert_array_equal(rgb, theirs)
        np.testing.assert_array_equal(rgb, ours)


@pytest.mark.parametrize("pixel_format", ["rgb24", "bgr0", "yuv420p"])
def test_a_frame_for_the_encoder_outlives_the_next(pixel_format):
    converter = FrameConverter(64, 48, pixel_format)
    first = converter.convert(patches(63, 47))  # an encoder looks ahead: it holds this one ...
    converter.convert(np.zeros((47, 63, 3), np.uint8))  # ... while the next is made
    rgb = first.to_ndarray(format="rgb24", src_colorspace="ITU709", dst_color_range="JPEG")
    assert off(rgb) <= 3
    np.testing.assert_array_equal(rgb[47], rgb[46])
    np.testing.assert_array_equal(rgb[:, 63], rgb[:, 62])


def test_hdr_is_said(shared):
    with VideoSource(shared("video/odd") / "testsrc2_hdr.mp4") as source:
        assert any("HDR" in warning and "tone mapping" in warning for warning in source.warnings)
        assert source.info.colour.startswith("bt2020")
