"""`tmaseg bench`: what a frame costs on this machine."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tmaseg.cli import options as shared
from tmaseg.cli.values import listed
from tmaseg.errors import ConfigError

if TYPE_CHECKING:
    from tmaseg.benchmark import Row
    from tmaseg.model.tmanet import TMANet

Paper = Literal["camvid", "cityscapes"]


def bench(
    weights: shared.Weights = "street",
    paper: Annotated[
        Paper | None, typer.Option(help="Measure the authors' network for this data set instead, without weights.")
    ] = None,
    frame: Annotated[str, typer.Option(help="Size of the network's input.", metavar="WIDTHxHEIGHT")] = "480x360",
    precisions: Annotated[str, typer.Option(help="Precisions to compare.", metavar="NAME,...")] = "fp32,bf16",
    video: Annotated[
        Path | None, typer.Option(help="Video for decode, render and encode; a drawn street otherwise.", metavar="FILE")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Rounds; the median counts.", metavar="N", min=1)] = 5,
    device: shared.Device = "auto",
    json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (the guard takes it)
) -> None:
    """Measure what a frame costs here: streaming against recomputing the clip, precisions, and each stage of a run.

    GMACs are multiply-adds: whole, and as the paper counts them (attention left out).
    """
    from tmaseg.benchmark import machine, measure, network_cases, ratios
    from tmaseg.cli.screen import Screen
    from tmaseg.cli.tables import show_bench, show_json
    from tmaseg.model.device import choose_device, choose_precision

    size_hw = _size(frame)
    screen = Screen(quiet=quiet)
    place = choose_device(device)
    wanted = [choose_precision(name, place) for name in listed([precisions])]
    screen.say(f"measuring on {machine()}")
    rows = measure(network_cases(_network(weights, paper).to(place), size_hw, wanted), repeats=repeats)
    factors = ratios(rows)
    if not paper:
        rows += _stages(weights, device, video)
    if json:
        show_json({"machine": machine(), "frame": frame, "rows": [row.to_dict() for row in rows], "ratios": factors})
    else:
        show_bench(f"{frame}, seconds a frame", rows, factors)


def _network(weights: str, paper: Paper | None) -> "TMANet":
    from tmaseg.model.checkpoint import load_checkpoint
    from tmaseg.model.config import TMANetConfig
    from tmaseg.model.tmanet import TMANet

    if paper == "camvid":
        return TMANet(TMANetConfig(classes=12, memory_encoder="per-slot")).eval()
    if paper == "cityscapes":
        config = TMANetConfig(classes=19, memory_frames=2, memory_encoder="per-slot", align_corners=True)
        return TMANet(config).eval()
    return load_checkpoint(weights).build()


def _stages(weights: str, device: str, video: Path | None) -> "list[Row]":
    from tmaseg.benchmark import measure_stages
    from tmaseg.stream import load
    from tmaseg.video.sink import VideoSink
    from tmaseg.video.source import open_source
    from tmaseg.video.street import StreetSource

    segmenter = load(weights, device=device)
    with (
        TemporaryDirectory() as folder,
        open_source(video) if video else StreetSource(frames=60) as source,
        VideoSink(Path(folder) / "out.mp4", source.info) as sink,
    ):
        return measure_stages(source, segmenter, sink)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 32 and int(height) >= 32):
        raise ConfigError(f"--frame is {text!r}; write WIDTHxHEIGHT, each at least 32, such as 480x360")
    return int(height), int(width)
