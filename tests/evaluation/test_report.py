"""The report: well-formed, self-contained, nothing unescaped, every section there."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from scenes import Pictures, noise

from tmaseg.errors import OutputError
from tmaseg.evaluation import EvalOptions, evaluate, evaluate_video, write_report
from tmaseg.evaluation.report import confusion_matrix, largest_mistakes, percent, render_report
from tmaseg.labels import LabelSet, generic_labels

VOID = {"meta", "img", "br"}


class Checker(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.tags, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    assert all(value.startswith(("data:image/jpeg;base64,", "#")) for value in checker.fetched)
    assert "script" not in checker.tags
    assert not re.search(r"https?://|url\((?!#)", page)
    assert "nan" not in " ".join(checker.text).lower().split()
    return checker, " ".join(checker.text)


def test_report_of_a_data_set(camvid, weights, tmp_path):
    options = EvalOptions(split="val", memories=(None, 0), report=tmp_path / "deep" / "report.html")
    result = evaluate(camvid, weights(), options)
    write_report(result, options.report)
    checker, text = check(options.report.read_text(encoding="utf-8"))
    assert checker.tags.count("img") == 24
    for wanted in (
        "sign/symbol",
        "VC8, as published",
        "VC16, corrected",
        "Confusion",
        "Sequences",
        "memory 3",
        "memory off",
    ):
        assert wanted in text
    assert percent(result.to_dict()["miou"], 2) in text
    scores = result.passes[0]
    lowest = sorted(scores.frames, key=lambda frame: frame.miou)
    assert [frame.miou for frame in scores.worst] == [frame.miou for frame in lowest[:6]]
    assert scores.worst[0].name == lowest[0].name


def test_report_without_runs_or_truth(camvid, weights, tmp_path):
    write_report(evaluate(camvid, weights(), EvalOptions(split="test")), tmp_path / "a.html")
    check((tmp_path / "a.html").read_text(encoding="utf-8"))
    with pytest.raises(OutputError, match="the report cannot be written"):
        write_report(evaluate(camvid, weights(), EvalOptions(split="test", limit=1)), tmp_path)


def test_report_of_a_video(weights, tmp_path):
    result = evaluate_video(Pictures([noise(0), noise(1), noise(1)]), weights(), EvalOptions(memories=(None, 0)))
    write_report(result, tmp_path / "video.html")
    _, text = check((tmp_path / "video.html").read_text(encoding="utf-8"))
    assert "No ground truth is used" in text


def test_names_are_escaped(weights):
    picture = Pictures([noise(0), noise(1)])
    picture.info = replace(picture.info, name="<b>&.mp4")
    page = render_report(evaluate_video(picture, weights(), EvalOptions(memories=(0,))))
    check(page)
    assert "&lt;b&gt;&amp;.mp4" in page
    assert "<b>&" not in page


def test_confusion_as_a_matrix_or_as_its_largest_mistakes():
    labels = LabelSet("three", ("lake", "road", "sky"), ((0, 0, 0), (1, 2, 3), (4, 5, 6)), void=(2,))
    matrix = confusion_matrix(np.array([[3, 1, 0, 0], [0, 2, 0, 2], [0, 0, 0, 0]]), labels)
    assert matrix["columns"] == ["lake", "road", "none of them"]
    assert matrix["rows"] == [("lake", [0.75, 0.25, 0.0]), ("road", [0.0, 0.5, 0.5])]
    counts = np.eye(50, 51, dtype=np.int64) * 9 + np.eye(50, 51, 1, dtype=np.int64)
    counts[7, 3] = 10
    first, *rest = largest_mistakes(counts, generic_labels(50))
    assert first == ("class 7", "class 3", 0.5, 10 / counts.sum())
    assert len(rest) == 24
    assert rest[0][2:] == (0.1, 1 / counts.sum())
