"""Painter: laws of what is painted, by how much, and of what keeps the picture's bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tmaseg.errors import ConfigError, LabelError
from tmaseg.labels import CAMVID, CAMVID12, CITYSCAPES, LabelSet, generic_labels, map_by_name
from tmaseg.render import Painter, contact_sheet

Array = NDArray[np.uint8]
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
subsets = st.none() | st.lists(st.sampled_from(CAMVID12.names), max_size=5)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Array, Array]:
    height, width = draw(sizes)
    rgb = draw(hnp.arrays(np.uint8, (height, width, 3)))
    labels = draw(hnp.arrays(np.uint8, (height, width), elements=st.integers(0, 15) | st.just(255)))
    if draw(st.booleans()):  # views, as slicing and flipping give them
        rgb, labels = rgb[:, ::-1], labels[::-1]
    rgb.setflags(write=False)
    labels.setflags(write=False)
    return rgb, labels


def painted_ids(classes: list[str] | None) -> list[int]:
    return [i for i, name in enumerate(CAMVID12.names) if i > 0 and (classes is None or name in classes)]


@given(pictures(), subsets, st.floats(0, 1))
@settings(max_examples=60)
def test_render_blends_painted_pixels_and_keeps_the_others(
    picture: tuple[Array, Array], classes: list[str] | None, opacity: float
) -> None:
    rgb, labels = picture
    out = Painter(CAMVID12, opacity=opacity, classes=classes).paint(rgb, labels)
    assert out.dtype == np.uint8
    painted = np.isin(labels, painted_ids(classes))
    np.testing.assert_array_equal(out[~painted], rgb[~painted])
    ideal = rgb * (1 - opacity) + CAMVID12.palette()[labels] * opacity
    assert np.abs(out - ideal)[painted].max(initial=0) <= 0.51  # rounded once


@given(pictures(), subsets)
@settings(max_examples=40)
def test_both_ends_of_opacity_and_the_mask_are_exact(picture: tuple[Array, Array], classes: list[str] | None) -> None:
    rgb, labels = picture
    painted = np.isin(labels, painted_ids(classes))[..., None]
    colours = CAMVID12.palette()[labels]
    np.testing.assert_array_equal(Painter(CAMVID12, opacity=0, classes=classes).paint(rgb, labels), rgb)
    full = Painter(CAMVID12, opacity=1, classes=classes).paint(rgb, labels)
    np.testing.assert_array_equal(full, np.where(painted, colours, rgb))
    mask = Painter(CAMVID12, mode="mask", classes=classes)
    np.testing.assert_array_equal(mask.paint(rgb, labels), np.where(painted, colours, 0))
    np.testing.assert_array_equal(mask.table[labels], mask.paint(rgb, labels))


@given(pictures())
@settings(max_examples=20)
def test_side_by_side_is_the_picture_and_its_overlay(picture: tuple[Array, Array]) -> None:
    rgb, labels = picture
    both = Painter(CAMVID12, mode="side-by-side", legend=True).paint(rgb, labels)
    np.testing.assert_array_equal(both[:, : rgb.shape[1]], rgb)
    np.testing.assert_array_equal(both[:, rgb.shape[1] :], Painter(CAMVID12, legend=True).paint(rgb, labels))


@pytest.mark.parametrize("opacity", [0, 0.5, 1])
def test_the_input_is_left_alone(opacity: float) -> None:
    rgb = np.full((9, 300, 3), 7, np.uint8)
    labels = np.zeros((9, 300), np.uint8)
    out = Painter(CAMVID, opacity=opacity, legend=True).paint(rgb, labels)
    out[:] = 99
    assert (rgb == 7).all()


def test_palette_of_another_set_goes_by_name() -> None:
    labels = np.arange(19, dtype=np.uint8)[None]
    rgb = np.zeros((1, 19, 3), np.uint8)
    for palette in (CAMVID, CAMVID12, "camvid"):
        painter = Painter(CITYSCAPES, mode="mask", palette=palette)
        np.testing.assert_array_equal(
            painter.paint(rgb, labels), CAMVID.palette()[map_by_name(CITYSCAPES, CAMVID).table[labels]]
        )
        assert painter.missing == ()


def test_palette_without_a_counterpart_says_so_and_paints_nothing_there() -> None:
    mine = LabelSet("mine", ("car", "crane"), ((1, 2, 3), (4, 5, 6)))
    painter = Painter(mine, opacity=1, palette="cityscapes")
    assert painter.missing == ("crane",)
    out = painter.paint(np.full((1, 2, 3), 50, np.uint8), np.array([[0, 1]], np.uint8))
    assert out.tolist() == [[[0, 0, 142], [50, 50, 50]]]
    with pytest.raises(LabelError, match=r"'camvid' has none of the classes .*\(crane\).*voc"):
        Painter(LabelSet("mine", ("crane",), ((1, 2, 3),)), palette="camvid")


def test_voc_palette_goes_by_class_id() -> None:
    table = Painter(CITYSCAPES, palette="voc").table
    np.testing.assert_array_equal(table[:19], generic_labels(19).colours)
    assert not table[19:].any()


def test_bad_choices_are_refused() -> None:
    with pytest.raises(LabelError, match=r"unknown class 'lorry'.*road, sidewalk"):
        Painter(CITYSCAPES, classes=["road", "lorry"])
    with pytest.raises(LabelError, match="unknown label set 'nice'"):
        Painter(CITYSCAPES, palette="nice")
    with pytest.raises(ConfigError, match="--opacity is"):
        Painter(CITYSCAPES, opacity=1.5)
    with pytest.raises(ConfigError, match=r"--mode is 'both'.*overlay, mask, side-by-side"):
        Painter(CITYSCAPES, mode="both")  # type: ignore[arg-type]
    with pytest.raises(LabelError, match=r"\(4, 5\).*\(5, 4\)"):
        Painter(CITYSCAPES).paint(np.zeros((5, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))


def changed(size_hw: tuple[int, int], **options: object) -> NDArray[np.bool_]:
    """Where the legend has been drawn."""
    rgb = np.full((*size_hw, 3), (9, 0, 99), np.uint8)  # no colour of the legend
    labels = np.zeros(size_hw, np.uint8)
    return (Painter(CITYSCAPES, opacity=0, legend=True, **options).paint(rgb, labels) != rgb).any(-1)  # type: ignore[arg-type]


@pytest.mark.parametrize("size_hw", [(48, 64), (90, 160), (144, 256), (361, 481), (1080, 1920)])
def test_legend_fits_every_frame(size_hw: tuple[int, int]) -> None:
    drawn = changed(size_hw)
    assert drawn[0, 0]
    assert not drawn[-1].any()
    assert not drawn[:, -1].any()
    rows, columns = drawn.any(1).sum(), drawn.any(0).sum()
    assert drawn.sum() == rows * columns  # a full rectangle in the corner


def test_legend_holds_the_colours_of_what_is_painted() -> None:
    rgb = np.zeros((360, 480, 3), np.uint8)
    labels = np.full((360, 480), 255, np.uint8)
    out = Painter(CITYSCAPES, legend=True, classes=["bus", "sky"]).paint(rgb, labels)
    seen = {tuple(colour) for colour in out.reshape(-1, 3).tolist()}
    assert {CITYSCAPES.colours[15], CITYSCAPES.colours[10]} <= seen
    assert CITYSCAPES.colours[0] not in seen


def test_legend_with_too_many_classes_lists_the_largest() -> None:
    labels = np.full((60, 80), 200, np.uint8)
    labels[:20] = 150
    labels[0, 0] = 100
    many = generic_labels(255)
    out = Painter(many, opacity=0, legend=True).paint(np.zeros((60, 80, 3), np.uint8), labels)
    seen = {tuple(colour) for colour in out.reshape(-1, 3).tolist()}
    assert {many.colours[index] for index in (100, 150, 200)} <= seen
    assert changed((8, 8)).sum() == 0  # no readable letter fits


def test_a_contact_sheet_has_the_pictures_in_rows_with_titles():
    red, blue = (np.full((30, 40, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    sheet = contact_sheet([[("", red), ("", blue)], [("", red[:15]), ("name", blue[:15])]], width=80)
    assert sheet.shape == (60 + 30, 160, 3)
    assert (sheet[:60, :80] == (200, 0, 0)).all()
    assert (sheet[:60, 80:] == (0, 0, 200)).all()
    assert (sheet[60:, :80] == (200, 0, 0)).all()
    assert (sheet[60:, 80:] == 255).all(2).any()
