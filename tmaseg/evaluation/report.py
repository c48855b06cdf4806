"""The report: one self-contained HTML file about an evaluation, from the template report.html."""

import math
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tmaseg.arrays import RGB
from tmaseg.evaluation.pictures import error_map
from tmaseg.evaluation.scores import Evaluation, VideoEvaluation, WorstFrame
from tmaseg.files import output_file
from tmaseg.labels import LabelSet
from tmaseg.plots import SOFT, Series, draw_lines, new_figure, to_svg
from tmaseg.render import Painter

_WIDTH_PX = 360
_PLOT_SIZES_PX = {"wide": (1000, 250), "narrow": (340, 240)}  # for a desktop and for a phone
_MATRIX_CLASSES = 40
_MISTAKES = 25
_MAX_BREAKS = 60


def write_report(evaluation: Evaluation | VideoEvaluation, path: Path) -> None:
    """Writes the report; nothing in it is fetched from anywhere. Raises OutputError."""
    page = render_report(evaluation)
    with output_file(path, "the report") as part:
        part.write_text(page, encoding="utf-8")


def render_report(evaluation: Evaluation | VideoEvaluation) -> str:
    """The report as an HTML page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "seconds": _seconds, "base64": lambda data: b64encode(data).decode()}
    context = _dataset_context(evaluation) if isinstance(evaluation, Evaluation) else _video_context(evaluation)
    page = environment.get_template("report.html").render(
        evaluation=evaluation,
        passes=evaluation.passes,
        values=evaluation.pass_values(),
        weights=Path(evaluation.weights).name,
        **context,
    )
    return page.lstrip()


def percent(value: float | None, digits: int = 1) -> str:
    """ "57.3 %", or a dash where nothing was measured."""
    return "\u2013" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def _dataset_context(evaluation: Evaluation) -> dict[str, Any]:
    scores = evaluation.passes[0]
    frames = scores.frames
    series = [
        Series(each.title, [(index, 100 * frame.miou) for index, frame in enumerate(each.frames)])
        for each in evaluation.passes
    ]
    breaks = [index - 0.5 for index in range(1, len(frames)) if frames[index].clip != frames[index - 1].clip]
    counts = scores.matrix.counts
    few = len(evaluation.labels) <= _MATRIX_CLASSES
    return {
        "is_dataset": True,
        "title": f"{evaluation.dataset} {evaluation.split}, {evaluation.weights}",
        "frames": frames,
        "worst": [(frame, _pictures(frame, evaluation.labels)) for frame in scores.worst],
        "plots": _plots(series, "frame", ymax=100, breaks=breaks) if frames else {},
        "matrix": confusion_matrix(counts, evaluation.labels) if few else None,
        "mistakes": [] if few else largest_mistakes(counts, evaluation.labels),
    }


def _video_context(evaluation: VideoEvaluation) -> dict[str, Any]:
    series = [
        Series(each.title, [(seconds, 100 * value) for seconds, value in each.flicker_at]) for each in evaluation.passes
    ]
    return {
        "is_dataset": False,
        "video_name": Path(evaluation.video).name,
        "title": f"{Path(evaluation.video).name}, {evaluation.weights}",
        "plots": _plots(series, "seconds"),
    }


def _pictures(frame: WorstFrame, labels: LabelSet) -> dict[str, bytes]:
    """Title and JPEG file of each picture of a frame."""
    painter = Painter(labels, opacity=0.65)
    pictures = {
        "picture": frame.rgb,
        "ground truth": painter.paint(frame.rgb, frame.truth),
        "prediction": painter.paint(frame.rgb, frame.prediction),
        "mistakes in red": error_map(frame.rgb, frame.prediction, frame.truth, labels),
    }
    return {title: _jpeg(picture) for title, picture in pictures.items()}


def _jpeg(picture: RGB) -> bytes:
    height = max(1, round(_WIDTH_PX * picture.shape[0] / picture.shape[1]))
    small = cv2.resize(picture, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    return bytes(data.tobytes())


def confusion_matrix(counts: NDArray[np.int64], labels: LabelSet) -> dict[str, Any]:
    """Names of the columns, and a row for each class that occurs: its name and the fractions in the columns."""
    scored = [index for index in range(len(labels)) if index not in labels.void]
    true = [index for index in scored if counts[index].any()]
    columns = [index for index in scored if index in true or counts[:, index].any()]
    columns += [counts.shape[1] - 1] if counts[:, -1].any() else []
    fractions = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = (*labels.names, "none of them")
    return {
        "columns": [names[index] for index in columns],
        "rows": [(names[index], fractions[index, columns].tolist()) for index in true],
    }


def largest_mistakes(counts: NDArray[np.int64], labels: LabelSet) -> list[tuple[str, str, float, float]]:
    """Confused classes, most pixels first: true class, predicted class, fraction of the class and of all pixels."""
    names = (*labels.names, "none of them")
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MISTAKES]
    found = []
    for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if pixels := wrong[true, predicted]:
            found.append((names[true], names[predicted], pixels / counts[true].sum(), pixels / counts.sum()))
    return found


def _plots(
    series: Sequence[Series], xlabel: str, *, ymax: float | None = None, breaks: Sequence[float] = ()
) -> dict[str, Any]:
    """The same lines as SVG in two widths, from 0 up; `breaks` are where another sequence begins."""
    from markupsafe import Markup

    plots = {}
    for name, size_px in _PLOT_SIZES_PX.items():
        figure = new_figure(size_px)
        axes = figure.subplots()
        draw_lines(axes, series, ylabel="%", xlabel=xlabel, ylim=(0, ymax))
        for x in breaks if len(breaks) <= _MAX_BREAKS else ():
            axes.axvline(x, color=SOFT, linewidth=0.8, linestyle=(0, (3, 4)))
        plots[name] = Markup(to_svg(figure))
    return plots


def _seconds(value: float) -> str:
    if math.isnan(value):
        return "\u2013"
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2f} s"
