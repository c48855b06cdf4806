import math
import re
import sys
import xml.etree.ElementTree

import cv2
import numpy as np
import pytest

from tmaseg.errors import OutputError
from tmaseg.plots import Series, draw_lines, new_figure, save_png, to_svg

BLUE, ORANGE = (31, 111, 209), (224, 123, 26)


def picture(series, path, **options):
    """(H, W, 3) of a figure with one chart."""
    figure = new_figure((500, 300))
    draw_lines(figure.subplots(), series, ylabel="share", **options)
    save_png(figure, path)
    return cv2.imread(str(path))[..., ::-1]


def places(sheet, colour):
    """(x, y) of the pixels of exactly that colour."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    return columns, rows


def test_lines_go_where_their_numbers_say(tmp_path):
    rising, level = Series("rising", [(0, 0.2), (10, 0.8)]), Series("level", [(0, 0.5), (10, 0.5)])
    sheet = picture([rising, level], tmp_path / "deep" / "chart.png", ylim=(0, 1), markers=True)[60:]
    assert sheet.shape == (240, 500, 3)
    x, y = places(sheet, BLUE)
    left, right = y[x < x.min() + 4].mean(), y[x > x.max() - 4].mean()
    assert left > right + 100  # up is less
    x, y = places(sheet, ORANGE)
    assert np.ptp(y) < 10
    assert y.mean() == pytest.approx((left + right) / 2, abs=2)


@pytest.mark.parametrize("values", [[], [3.0], [2.0, 2.0], [0.0, 0.0], [-1.0, 1.0], [1e-7, 9e-4], [math.nan] * 2])
def test_any_numbers_can_be_drawn(values, tmp_path):
    points = list(enumerate(values))
    for options in ({}, {"markers": True, "xlabel": "steps"}):
        sheet = picture([Series("a", points)], tmp_path / "a.png", **options)
        assert sheet.shape == (300, 500, 3)


def test_svg_is_small_self_contained_and_in_the_colours_of_the_page():
    figure = new_figure((500, 300))
    series = [Series("<first> & last", [(0, 0.5), (1, math.nan), (2, 1.0), (3, 0.0)]), Series("second", [(0, 0.1)])]
    draw_lines(figure.subplots(), series, ylabel="mIoU")
    svg = to_svg(figure)
    assert svg.startswith("<svg")
    assert not re.search(r"https?:|#1f6fd1|#e07b1a|DejaVu", svg)
    assert "var(--first)" in svg
    assert "var(--second)" in svg
    root = xml.etree.ElementTree.fromstring(svg.replace("<svg", '<svg xmlns:xlink="l"', 1))
    assert "<first> & last" in [element.text for element in root.iter("text")]
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(names) == len(set(names))
    targets = {element.get("{l}href").removeprefix("#") for element in root.iter("use")}
    assert targets <= set(names)


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the picture cannot be written"):
        save_png(new_figure((100, 100)), tmp_path / "file" / "chart.png")


def test_no_pyplot(tmp_path):
    picture([Series("loss", [(0, 1.0)])], tmp_path / "a.png")
    assert "matplotlib.pyplot" not in sys.modules
