"""A folder of images: order, kinds of image, sizes, holes."""

import os
from fractions import Fraction

import cv2
import numpy as np
import pillow_heif
import pytest
from films import corners, film, moving
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tmaseg.errors import VideoError
from tmaseg.video.image_source import ImageSource, missing_numbers
from tmaseg.video.images import (
    image_pages,
    image_size,
    list_folders,
    list_images,
    natural_key,
    read_image,
    walk_folders,
)
from tmaseg.video.source import ReadOptions, open_source
from tmaseg.video.video_source import VideoSource

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


def names_of(paths):
    return [path.name for path in paths]


def test_what_systems_leave_among_pictures_is_none(tmp_path):
    for name in ("2.JPG", "10.Png", "1.jpeg", "3.heif", "4.hif", "5.TIFF", "6.webp", "7.apng"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("._2.JPG", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "no_suffix"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("@eaDir", "__MACOSX", ".AppleDouble", "$RECYCLE.BIN", "b10", "b9", "folder.png"):
        (tmp_path / name).mkdir()
    (tmp_path / "linked.png").symlink_to("10.Png")
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    names = ["1.jpeg", "2.JPG", "3.heif", "4.hif", "5.TIFF", "6.webp", "7.apng", "10.Png", "broken.png", "linked.png"]
    assert names_of(list_images(tmp_path)) == names
    assert names_of(list_folders(tmp_path)) == ["b9", "b10", "folder.png"]


def test_links_are_followed_and_circles_noticed(tmp_path):
    for name in ("root/a/deep", "root/b", "elsewhere/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "gone").symlink_to("nowhere")
    problems = []
    found = [path.relative_to(tmp_path / "root").as_posix() for path in walk_folders(tmp_path / "root", problems)]
    assert found == [".", "a", "a/deep", "b", "link", "link/inner"]
    assert len(problems) == 2
    assert all("links to a folder above itself" in problem for problem in problems)
    left = walk_folders(tmp_path / "root", [], leave_out={tmp_path / "root" / "a", tmp_path / "elsewhere"})
    assert names_of(left) == ["root", "b"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif", ".heic", ".avif", ".jp2"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_file_cut_short_is_no_image(tmp_path, suffix, share):
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    path = save(tmp_path / f"a{suffix}", rgb, **({"compression": "tiff_lzw"} if suffix == ".tif" else {}))
    assert read_image(path).shape == (48, 64, 3)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(VideoError, match=rf"a{suffix} is not an image that can be read \(.+\); get the file again"):
        read_image(path)
    assert image_pages(path) == [0]


@pytest.mark.parametrize("suffix", [".heic", ".heif", ".hif", ".avif", ".jpg"])
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_pictures_of_phones_come_out_upright_with_their_colours(tmp_path, suffix, kind):
    image = Image.fromarray(PICTURE)
    image.info.update(exif(6))
    path = tmp_path / f"a{suffix}"  # whatever the suffix says
    pillow_heif.register_heif_opener()
    image.save(path, kind, quality=95, **({} if kind == "HEIF" else exif(6)))
    assert b"irot" in path.read_bytes()
    rgb = read_image(path)
    assert image_size(path) == (48, 64)
    assert np.abs(rgb.astype(int) - np.rot90(PICTURE, -1)).mean() < 6
    with open_source(path) as source:
        np.testing.assert_array_equal(next(iter(source)).rgb, rgb)


def test_palettes_and_transparency(tmp_path):
    palette = Image.fromarray(PICTURE).quantize(16)
    palette.save(tmp_path / "bytes.png", transparency=bytes([0, 128, 255]))
    palette.save(tmp_path / "index.png", transparency=0)
    clear = Image.fromarray(np.dstack([PICTURE, np.zeros((48, 64), np.uint8)]))
    clear.save(tmp_path / "clear.png")
    clear.convert("LA").save(tmp_path / "grey.png")
    for name in ("bytes", "index", "clear"):
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png"), PICTURE)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[..., 1], Image.fromarray(PICTURE).convert("L"))


@pytest.mark.parametrize("name", ["grey.png", "colour.png", "colour.tif"])
def test_twelve_bits_in_sixteen_are_said(tmp_path, name):
    deep = PICTURE[..., ::-1].astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / name), deep[..., 0] if name == "grey.png" else deep)
    cv2.imwrite(str(tmp_path / f"whole_{name}"), deep * 16)
    with ImageSource(tmp_path) as source:
        assert len(list(source)) == 2
        assert [warning for warning in source.warnings if "12 bits" in warning] == [
            f"{name} holds 12 bits or less in 16: it is read as nearly black; multiply its values by 16"
        ]


def moving_file(path, times=(40, 100, 60)):
    """Frame k is corners() moved by k; its time in milliseconds."""
    first, *rest = (Image.fromarray(np.roll(PICTURE, 8 * number, 1)) for number in range(len(times)))
    options = {"lossless": True} if path.suffix == ".webp" else {}
    options |= {} if path.suffix == ".tif" else {"duration": list(times)}
    first.save(path, save_all=True, append_images=rest, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".apng", ".webp", ".avif"])
def test_animated_images_give_all_frames_with_their_times(tmp_path, suffix):
    path = moving_file(tmp_path / f"a{suffix}")
    with open_source(path) as source:
        frames = list(source)
        assert (source.info.frames, source.info.seconds, source.damage.unreadable) == (3, 0.2, ())
    assert [frame.pts * frame.time_base for frame in frames] == [0, Fraction(40, 1000), Fraction(140, 1000)]
    assert [frame.duration * frame.time_base for frame in frames] == [Fraction(n, 100) for n in (4, 10, 6)]
    assert [frame.discontinuity for frame in frames] == [False] * 3
    for frame in frames:
        expected = np.roll(PICTURE, 8 * frame.index, 1)
        assert np.abs(frame.rgb.astype(int) - expected).mean() < (8 if suffix == ".avif" else 1e-9)
    with open_source(path, ReadOptions(every=2)) as source:
        assert [frame.duration for frame in source] == [140, 60]
    with open_source(path, ReadOptions(start=0.04, end=0.14)) as source:
        assert [frame.index for frame in source] == [1]
        assert source.info.seconds == 0.1
    with pytest.raises(VideoError, match=r"3 images are 0\.20 s"):
        open_source(path, ReadOptions(start=1))


def test_a_picture_for_viewers_without_animation_is_no_frame(tmp_path):
    frames = [Image.fromarray(np.roll(PICTURE, 8 * number, 1)) for number in range(2)]
    Image.fromarray(PICTURE * 0).save(
        tmp_path / "a.png", save_all=True, append_images=frames, default_image=True, duration=50
    )
    with open_source(tmp_path / "a.png") as source:
        assert [int(frame.rgb.max()) > 0 for frame in source] == [True, True]
        assert (source.info.rate, source.info.seconds) == (20, 0.1)


def test_pages_of_a_tiff_are_frames_but_smaller_ones_are_previews(tmp_path):
    path = moving_file(tmp_path / "a.tif")
    with open_source(path, ReadOptions(rate=Fraction(10))) as source:
        assert [frame.seconds for frame in source] == [0, 0.1, 0.2]
    whole = Image.fromarray(PICTURE)
    whole.save(tmp_path / "b.tif", save_all=True, append_images=[whole.resize((32, 24)), whole])
    assert image_pages(tmp_path / "b.tif") == [0, 2]


def test_a_folder_with_animated_images_says_so_and_takes_all(tmp_path):
    moving_file(tmp_path / "b.webp")
    moving_file(tmp_path / "b.tif")
    save(tmp_path / "a.png")
    save(tmp_path / "c.gif")
    with ImageSource(tmp_path) as source:
        frames = list(source)
        assert source.warnings == ("2 files (b.tif ...) hold 6 pictures: each is a frame of its own",)
    pages = [f"b.{kind}_{number:04}" for kind in ("tif", "webp") for number in range(3)]
    assert list(source.names) == ["a", *pages, "c"]
    assert [frame.index for frame in frames] == list(range(8))
    assert [frame.discontinuity for frame in frames] == [False, True, False, False, True, False, False, True]
    np.testing.assert_array_equal(frames[5].rgb, np.roll(PICTURE, 8, 1))


def test_a_turned_picture_stays_as_stored_only_for_a_mask_that_fits_it_so(tmp_path):
    path = save(tmp_path / "a.png", **exif(6))
    for size, expected in (((64, 48), PICTURE), ((48, 64), np.rot90(PICTURE, -1)), ((1, 1), np.rot90(PICTURE, -1))):
        np.testing.assert_array_equal(read_image(path, mask_size=lambda size=size: size), expected)
        assert image_size(path, mask_size=lambda size=size: size) == expected.shape[1::-1]
    np.testing.assert_array_equal(
        read_image(save(tmp_path / "b.png", **exif(3)), mask_size=lambda: (64, 48)), np.rot90(PICTURE, 2)
    )
