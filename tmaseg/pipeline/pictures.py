"""PictureWriter: the PNGs of one sequence, in one format or several."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tmaseg.labels import LabelSet
from tmaseg.pipeline.options import PaintOptions, PictureFormat
from tmaseg.pipeline.stages import Output
from tmaseg.video.frame import Frame
from tmaseg.video.sink import Existing, MaskSink, PictureSink


class PictureWriter:
    """Writes the pictures of one sequence in each of `formats` into the folder beside it in `folders`."""

    def __init__(
        self,
        folders: Sequence[Path],
        formats: Sequence[PictureFormat],
        *,
        paint: PaintOptions,
        labels: LabelSet,
        name: Callable[[Frame], str] | None = None,
        existing: Existing = "refuse",
    ) -> None:
        """`name` and `existing` as in `MaskSink`. Raises OutputError, ConfigError and LabelError."""
        self.outputs: list[Output] = []
        """What `segment` is given."""
        painter = paint.painter(labels, "overlay")
        for place, kind in zip(folders, formats, strict=True):
            if kind == "overlay":
                pictures = PictureSink(place, name=name, existing=existing)
                self.outputs.append(
                    Output(
                        write=lambda frame, _, sink=pictures: sink.write(frame),  # type: ignore[misc]
                        render=lambda frame, labels: frame.with_rgb(painter.paint(frame.rgb, labels)),
                    )
                )
            else:
                masks = MaskSink(place, style=kind, palette=painter.table, name=name, existing=existing)
                self.outputs.append(Output(masks.write))


def folders_of(folder: Path, formats: Sequence[PictureFormat]) -> list[Path]:
    """Where each format goes: one alone into `folder` itself, several into a sub-folder each, named after them."""
    return [folder / kind if len(formats) > 1 else folder for kind in formats]
