"""Curves and prediction sheets are drawn from what a run has so far, whole or not at all."""

import cv2
import numpy as np
import pytest
from drawn import CLASSES, draw_scene

from tmaseg.errors import OutputError
from tmaseg.labels import LabelSet
from tmaseg.training.record import ValidationSample, draw_curves, draw_samples

LABELS = LabelSet("drawn", CLASSES, ((250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)))


def log_rows(count, **columns):
    rows = [{"step": str(n), "lr": f"{0.1 / n}", "loss": f"{3 / n}", "seconds": "1"} for n in range(1, count + 1)]
    for row in rows:
        row.update(dict.fromkeys(columns, ""))
    rows[-1].update({name: str(value) for name, value in columns.items()})
    return rows


@pytest.mark.parametrize("rows", [log_rows(1), log_rows(250, miou_a=0.4, miou_b=0.5), log_rows(3, miou_a="")])
def test_curves_are_drawn_of_any_length_with_and_without_scores(rows, tmp_path):
    draw_curves(rows, tmp_path / "curves.png")
    sheet = cv2.imread(str(tmp_path / "curves.png"))
    assert sheet.shape[0] == (600 if rows[-1].get("miou_a") else 400)
    assert (sheet.std(axis=2) > 30).sum() > 20  # coloured lines
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_nothing_is_drawn_of_an_empty_log_and_a_folder_in_the_way_is_named(tmp_path):
    draw_curves([], tmp_path / "curves.png")
    draw_samples([], tmp_path / "samples.png")
    assert not list(tmp_path.iterdir())
    (tmp_path / "curves.png").mkdir()
    with pytest.raises(OutputError, match=r"curves\.png: the picture cannot be written"):
        draw_curves(log_rows(2), tmp_path / "curves.png")


def test_a_sheet_shows_frame_truth_and_prediction(tmp_path):
    rgb, truth = draw_scene(3)
    draw_samples([ValidationSample("one", LABELS, rgb, truth, np.zeros_like(truth))], tmp_path / "new" / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))[..., ::-1].astype(int)
    frame, painted, wrong = sheet[30:, :360], sheet[30:, 360:720], sheet[30:, 720:]
    assert sheet.shape == (270, 1080, 3)
    assert np.abs(frame - painted).mean() > 20
    assert np.abs(painted - wrong).mean() > 20
