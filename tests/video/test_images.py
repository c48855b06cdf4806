"""A folder of images: order, kinds of image, sizes, holes."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from films import corners, film, moving
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tmaseg.errors import VideoError
from tmaseg.video.facts import ReadOptions
from tmaseg.video.image_source import ImageSource, missing_numbers
from tmaseg.video.images import natural_key
from tmaseg.video.source import VideoSource, open_source

PICTURE = corners()


def save(path, rgb=PICTURE, **options):
    Image.fromarray(rgb).save(path, **options)
    return path


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return {"exif": tags.tobytes()}


def test_natural_order_names_and_times(tmp_path):
    for number in (10, 9, 1, 100):
        save(tmp_path / f"im{number}.png", np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    save(tmp_path / "._im2.png")  # what a Mac leaves behind
    (tmp_path / "im5.png").mkdir()
    with open_source(tmp_path, ReadOptions(rate=Fraction(30000, 1001))) as source:
        frames = list(source)
        assert [source.paths[frame.index].name for frame in frames] == ["im1.png", "im9.png", "im10.png", "im100.png"]
        assert (source.info.frames, source.info.location) == (4, None)
    assert [frame.rgb[0, 0, 0] for frame in frames] == [1, 9, 10, 100]
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(1001 * i, 30000) for i in range(4)]


@given(st.lists(st.integers(0, 10**6), unique=True), st.sampled_from(["a{}", "frame_{:04}", "{}_left"]))
def test_natural_order_is_that_of_the_numbers(numbers, pattern):
    assert sorted(map(pattern.format, numbers), key=natural_key) == [pattern.format(n) for n in sorted(numbers)]


def test_every_kind_of_image(tmp_path):
    grey = np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8)
    save(tmp_path / "01.png")
    save(tmp_path / "02.bmp")
    save(tmp_path / "03.tiff")
    save(tmp_path / "04.WEBP", lossless=True)
    save(tmp_path / "05.jpg", quality=95, subsampling=0)
    Image.fromarray(np.dstack([PICTURE, np.full((48, 64), 7, np.uint8)])).save(tmp_path / "06.png")
    Image.fromarray(PICTURE).quantize(16).save(tmp_path / "07.png")
    Image.fromarray(grey).save(tmp_path / "08.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "09.png")
    cv2.imwrite(str(tmp_path / "10.png"), PICTURE[..., ::-1].astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "11.tif"), PICTURE[..., ::-1].astype(np.uint16) * 257)
    Image.fromarray(grey > 127).save(tmp_path / "12.png")
    save(tmp_path / "13.ppm")
    with ImageSource(tmp_path) as source:
        frames = list(source)
        assert not source.damage
    assert len(frames) == 13
    greys = {7: grey, 8: grey, 11: np.where(grey > 127, 255, 0)}
    for frame in frames:
        expected = np.repeat(greys[frame.index][..., None], 3, 2) if frame.index in greys else PICTURE
        exact = frame.index != 4  # JPEG
        np.testing.assert_allclose(frame.rgb, expected, atol=0 if exact else 12, err_msg=str(frame.index))
        assert frame.rgb.dtype == np.uint8
        assert not frame.discontinuity


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        *((2, lambda rgb: rgb[:, ::-1]), (3, lambda rgb: np.rot90(rgb, 2)), (4, lambda rgb: rgb[::-1])),
        *((6, lambda rgb: np.rot90(rgb, -1)), (8, lambda rgb: np.rot90(rgb, 1))),
    ],
)
def test_exif_orientation(tmp_path, orientation, upright, suffix):
    path = save(tmp_path / f"a{suffix}", **exif(orientation))
    with open_source(path) as source:
        rgb = next(iter(source)).rgb
        assert (source.info.height, source.info.width) == upright(PICTURE).shape[:2] == rgb.shape[:2]
    assert np.abs(rgb.astype(int) - upright(PICTURE)).mean() < 5


def test_what_cannot_be_read_is_named_and_passed_over(tmp_path):
    for number in (1, 2, 4, 5, 8):
        save(tmp_path / f"{number:03}.jpg")
    whole = (tmp_path / "002.jpg").read_bytes()
    (tmp_path / "002.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "005.jpg").write_bytes(b"")
    with ImageSource(tmp_path) as source:
        frames = list(source)
        damage = source.damage
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert [frame.pts for frame in frames] == [0, 2, 4]
    assert damage.unreadable == ("002.jpg", "005.jpg")
    assert damage.missing == 3  # 3, 6 and 7
    assert damage


def test_a_bad_first_image_does_not_stop_the_rest(tmp_path):
    (tmp_path / "1.png").write_bytes(b"no")
    save(tmp_path / "2.png")
    with ImageSource(tmp_path) as source:
        assert [frame.index for frame in source] == [1]
        assert source.damage.unreadable == ("1.png",)


def test_no_readable_image(tmp_path):
    (tmp_path / "1.png").write_bytes(b"no")
    with pytest.raises(VideoError, match=r"none of its 1 images can be read \(1.png"):
        ImageSource(tmp_path)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["a1", "a2", "a3"], 0),
        (["a1", "a3", "a4"], 1),
        (["0030", "0060", "0090", "0150"], 1),  # every 30th kept
        (["x_000001_000010_leftImg8bit", "x_000001_000011_leftImg8bit", "x_000001_000013_leftImg8bit"], 1),
        (["x_000001_000019", "x_000002_000019", "x_000004_000019"], 1),
        (["s1_001", "s1_002", "s2_001", "s2_002"], 0),
        (["cat", "dog", "12"], 0),
        (["12-00-01", "12-00-07", "12-01-30", "14-00-00"], 0),  # times of day
        ([], 0),
    ],
)
def test_missing_numbers(names, missing):
    assert missing_numbers(names) == missing


def test_sizes_and_sequences_that_change_start_afresh(tmp_path):
    for name, size in (("a_1", (64, 48)), ("a_2", (64, 48)), ("a_3", (32, 48)), ("b_1", (32, 48)), ("b_2", (32, 48))):
        save(tmp_path / f"{name}.png", corners(*size))
    with ImageSource(tmp_path) as source:
        frames = list(source)
        assert source.damage.resized == 3
        assert any("32x48" in warning for warning in source.warnings)
    assert [frame.discontinuity for frame in frames] == [False, False, True, True, False]
    assert {frame.rgb.shape for frame in frames} == {(48, 64, 3)}
    assert not frames[2].rgb[:, :16].any()  # letterboxed, not squeezed
    assert not frames[2].rgb[:, 48:].any()
    np.testing.assert_array_equal(frames[2].rgb[:, 16:48], corners(32, 48))
    with ImageSource(tmp_path, one_size=False) as source:
        assert [frame.rgb.shape[1] for frame in source] == [64, 64, 32, 32, 32]


def test_start_end_and_every(tmp_path):
    for number in range(20):
        save(tmp_path / f"{number}.png")
    with ImageSource(tmp_path, ReadOptions(start=0.2, end=0.6, every=3)) as source:
        assert [frame.index for frame in source] == [5, 8, 11, 14]
        assert source.info.frames == 4
    with pytest.raises(VideoError, match=r"0\.80 s"):
        ImageSource(tmp_path, ReadOptions(start=2))


def test_a_gif_is_a_video(tmp_path):
    path = film(
        tmp_path / "a.gif", moving(4), codec="gif", pix_fmt="rgb8", time_base=Fraction(1, 100), pts=[0, 3, 9, 10]
    )
    with open_source(path) as source:
        assert isinstance(source, VideoSource)
        assert len(list(source)) == 4
