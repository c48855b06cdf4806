"""`tmaseg run`: video in, video out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tmaseg.cli import options as shared
from tmaseg.cli.guard import finish
from tmaseg.cli.values import formats, fraction, listed


def run(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="Video files, URLs, images or folders of images.", show_default=False),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Take the short clip that ships with it as SOURCE.")] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Video file; a folder for several sources.", metavar="OUT"),
    ] = None,
    mode: Annotated[Literal["overlay", "mask", "side-by-side"], typer.Option(help="What the video shows.")] = "overlay",
    opacity: shared.Opacity = 0.5,
    palette: shared.Palette = None,
    classes: shared.Classes = None,
    legend: shared.Legend = False,
    masks: Annotated[Path | None, typer.Option(help="Also write a PNG for each frame.", metavar="DIR")] = None,
    mask_format: Annotated[
        list[str] | None,
        typer.Option(help="Of these PNGs: ids, indexed, color, overlay [default: ids]", metavar="FORMAT,..."),
    ] = None,
    stats: Annotated[
        Path | None, typer.Option(help="Also write each class's share of each frame.", metavar="FILE.csv")
    ] = None,
    weights: shared.Weights = "street",
    device: shared.Device = "auto",
    precision: shared.Precision = "auto",
    size: shared.Size = None,
    memory: shared.Memory = None,
    window: shared.Window = None,
    stride: shared.Stride = None,
    compile_: shared.Compile = "auto",
    max_memory: shared.MaxMemory = None,
    key_frames: shared.KeyFrames = 1,
    start: Annotated[float | None, typer.Option(help="Begin here.", metavar="SECONDS")] = None,
    end: Annotated[float | None, typer.Option(help="End here.", metavar="SECONDS")] = None,
    every: Annotated[int, typer.Option(help="Take every n-th frame.", metavar="N")] = 1,
    rate: Annotated[str, typer.Option(help="Frames a second of images, such as 30000/1001.", metavar="RATE")] = "25",
    colorspace: Annotated[
        Literal["bt601", "bt709", "bt2020"] | None, typer.Option(help="The input's, whatever it says itself.")
    ] = None,
    no_autorotate: Annotated[bool, typer.Option("--no-autorotate", help="Leave pictures as they are stored.")] = False,
    deinterlace: Annotated[bool, typer.Option("--deinterlace", help="Make whole pictures of fields.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds a URL may stay silent.", metavar="SECONDS")] = 10.0,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave out the sound.")] = False,
    hardware: Annotated[
        bool, typer.Option("--hardware", help="Decode and encode on a device where one truly opens.")
    ] = False,
    encoder: Annotated[str | None, typer.Option(help="FFmpeg's name of a video encoder.", metavar="NAME")] = None,
    crf: Annotated[float | None, typer.Option(help="Constant quality; lower is better.", metavar="N")] = None,
    preset: Annotated[str | None, typer.Option(help="The encoder's, such as fast or slow.", metavar="NAME")] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Exact colours: FFV1 in .mkv.")] = False,
    overwrite: shared.Overwrite = False,
    skip_existing: shared.SkipExisting = False,
    strict: shared.Strict = False,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,  # noqa: ARG001  (the guard takes it)
) -> None:
    """Segment videos: paint the classes over them.

    The output has the input's size, time stamps and sound. It appears under its name when it is complete. Several
    sources get an output each, in the folder OUT.
    """
    if bool(sources) == demo:
        raise typer.BadParameter("give a SOURCE, or --demo for the clip that ships with it", param_hint="SOURCE")
    if not (output or masks or stats):
        raise typer.BadParameter("nothing to write: give -o OUT, --masks DIR or --stats FILE", param_hint="--output")
    from tmaseg.cli.batch import Batch
    from tmaseg.cli.jobs import plan_jobs
    from tmaseg.cli.screen import Screen
    from tmaseg.pipeline import ModelOptions, PaintOptions, RunOptions, Targets
    from tmaseg.video import DEMO
    from tmaseg.video.sink import WriteOptions
    from tmaseg.video.source import ReadOptions

    write = WriteOptions(
        encoder=encoder,
        crf=crf,
        preset=preset,
        lossless=lossless,
        audio=not no_audio,
        hardware=hardware,
        overwrite=overwrite,
        timeout=timeout,
    )
    read = ReadOptions(
        start=start,
        end=end,
        every=every,
        colorspace=colorspace,
        autorotate=not no_autorotate,
        deinterlace=deinterlace,
        hardware=hardware,
        timeout=timeout,
        rate=fraction(rate, "--rate"),
    )
    run_options = RunOptions(
        model=ModelOptions(
            weights=weights,
            device=device,
            precision=precision,
            size=size,
            memory=memory,
            window=window,
            stride=stride,
            compile=compile_,
            max_memory=max_memory,
            key_frames=key_frames,
        ),
        paint=PaintOptions(mode=mode, opacity=opacity, palette=palette, classes=listed(classes) or None, legend=legend),
        write=write,
        mask_formats=formats(mask_format, "--mask-format"),
    )
    targets = Targets(video=Path(output) if output else None, masks=masks, stats=stats)
    into_folder = bool(output) and str(output).endswith("/")
    jobs = plan_jobs(sources or (str(DEMO),), targets, into_folder=into_folder, lossless=lossless)
    batch = Batch(run_options, read, Screen(quiet=quiet), skip_existing=skip_existing)
    batch.run(jobs, into_folder=into_folder)
    if json:
        batch.print_json()
    finish(damaged=batch.damaged, interrupted=batch.exit_code, failed=bool(batch.failed), strict=strict)
