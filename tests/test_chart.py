import cv2
import numpy as np
import pytest

from tmaseg.chart import Curve, Panel, caption, draw_panel, write_png
from tmaseg.errors import OutputError

BLUE, ORANGE = (31, 119, 180), (214, 100, 30)


def places(sheet, colour):
    """(x, y) of the pixels of exactly that colour."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    return columns, rows


def test_curves_go_where_their_numbers_say():
    rising = Curve("rising", [(0, 0.0), (10, 1.0)])
    level = Curve("level", [(0, 0.5), (10, 0.5)])
    sheet = draw_panel(Panel(title="share", curves=[rising, level], dots=True, from_zero=True), (300, 500))
    below_names = sheet[40:]
    x, y = places(below_names, BLUE)
    left, right = y[x < x.min() + 4].mean(), y[x > x.max() - 4].mean()
    assert left > right + 150  # up is less
    x, y = places(below_names, ORANGE)
    assert np.ptp(y) < 10
    assert y.mean() == pytest.approx((left + right) / 2, abs=2)


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [0.0, 0.0], [-1.0, 1.0], [1e-7, 9e-4], [1e6, 3e6]])
def test_any_numbers_can_be_drawn(values):
    points = list(enumerate(values))
    for more in ({}, {"dots": True, "values": True, "from_zero": True}, {"span": (0, 5), "across": "steps"}):
        sheet = draw_panel(Panel(title="t", curves=[Curve("c", points)], **more), (200, 300))
        assert sheet.shape == (200, 300, 3)
        assert len(places(sheet[40:], BLUE)[0]) or len(values) == 1


def test_a_figure_that_would_lie_on_another_is_left_out(monkeypatch):
    written = []
    monkeypatch.setattr("tmaseg.chart._lettered", lambda sheet, texts: written.append([text.text for text in texts]))

    def figures(second):
        curve = Curve("", [(0, 1.25), (second, 1.27), (10, 2.75)])
        draw_panel(Panel(title="", curves=[curve], dots=True, values=True), (300, 400))
        return [text for text in written.pop() if text in ("1.25", "1.27", "2.75")]

    assert sorted(figures(5)) == ["1.25", "1.27", "2.75"]
    assert len(figures(0.1)) == 2


def test_an_empty_chart_has_its_title_and_a_file_says_why_it_cannot_be(tmp_path):
    sheet = draw_panel(Panel(title="nothing yet", curves=[Curve("c", [])]), (100, 300))
    assert (sheet[:40] < 100).any()
    assert (sheet[40:] == 255).all()
    assert caption("words", 300).shape[1] == 300
    write_png(sheet, tmp_path / "new" / "chart.png")
    assert (cv2.imread(str(tmp_path / "new" / "chart.png"))[..., ::-1] == sheet).all()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_png(sheet, tmp_path / "file" / "chart.png")
