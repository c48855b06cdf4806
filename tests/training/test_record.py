"""Curves and prediction sheets are drawn from what a run has so far, whole or not at all."""

import math
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drawn import CLASSES, draw_scene

from tmaseg.errors import OutputError
from tmaseg.labels import LabelSet
from tmaseg.training import Callback, Recipe, StepReport, TrainJob, ValidationScores
from tmaseg.training.job import ValidationSample
from tmaseg.training.record import Record, draw_curves, draw_samples, read_record

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
    assert sheet.shape[0] == (660 if rows[-1].get("miou_a") else 440)
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


def test_a_log_is_resumed_from_a_step_without_a_line_that_a_crash_cut(tmp_path):
    path = tmp_path / "log.csv"
    job, data = TrainJob(Recipe(), (), tmp_path), SimpleNamespace(val={"a": None})
    with Record(job, Callback(), data, after=0) as record:
        for step in (1, 2, 3):
            record.write_step(StepReport(step, 1 / step, 0.1, 0.5, float(step), None))
            record.write_scores(ValidationScores({"a": 0.1 * step}, 3, step=step), float(step))
        record.write_scores(ValidationScores({"a": math.nan}, 0, step=3), 3.0)
    path.write_bytes(path.read_bytes() + b"4,4.00,0.")
    assert [row["step"] for row in read_record(path)] == ["1", "1", "2", "2", "3", "3"]
    with Record(job, Callback(), data, after=2) as record:
        record.write_step(StepReport(3, 7.0, 0.1, 0.5, 9.0, None))
    rows = read_record(path)
    assert [(row["step"], row["loss"], row["miou_a"]) for row in rows] == [
        ("1", "1", ""),
        ("1", "", "0.10000"),
        ("2", "0.5", ""),
        ("2", "", "0.20000"),
        ("3", "7", ""),
    ]
    with pytest.raises(OutputError, match=r"log\.csv: the log cannot be written"):
        Record(replace(job, output=path), Callback(), data, after=0)
