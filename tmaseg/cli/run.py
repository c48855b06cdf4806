"""`tmaseg run`: video in, video out."""

import json
from collections.abc import Sequence
from contextlib import closing, suppress
from glob import has_magic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmaseg.cli.command import ConsoleOptions, finish, say_error
from tmaseg.cli.screen import Screen, duration
from tmaseg.options import BatchOptions, InputOptions, ModelOptions, OutputOptions, PaintOptions, RunOptions
from tmaseg.signals import StopRequest
from tmaseg.video import DEMO, check_exists
from tmaseg.video.address import hidden

if TYPE_CHECKING:
    from tmaseg.pipeline.jobs import Job, JobResult
    from tmaseg.pipeline.report import RunReport


def run(
    input: InputOptions,  # noqa: A002
    model: ModelOptions,
    paint: PaintOptions,
    output: OutputOptions,
    sharing: BatchOptions,
    console: ConsoleOptions,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Videos, streams, camera:0, screen:, images, folders, patterns; - is stdin.",
            show_default=False,
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Take the clip that ships with tmaseg as SOURCE.", rich_help_panel="Input")
    ] = False,
) -> None:
    """Segment videos: paint the classes over them.

    The output has the input's size, time stamps and sound. It appears under its name when it is complete. Several
    sources get an output each, in the folder OUT.
    """
    if bool(sources) == demo:
        raise typer.BadParameter("give a SOURCE, or --demo for the clip that ships with it", param_hint="SOURCE")
    if not output.wanted:
        text = "nothing to write: give -o OUT, --masks DIR, --stats FILE, --events FILE or --preview PORT"
        raise typer.BadParameter(text, param_hint="--output")
    if output.events == "-" and console.json:
        raise typer.BadParameter("--events - and --json both take standard output: give one a file")
    if output.preview and len(sources or ()) > 1:
        raise typer.BadParameter("--preview shows one source: give one, or leave it out")
    if sources and len(sources) == 1 and not has_magic(sources[0]):  # of several, one that is missing stops no other
        check_exists(sources[0])
    model.weights_info()
    from tmaseg.pipeline.jobs import plan_jobs

    input.read_options()  # wrong values are reported once, not for each source
    output.write_options(input)
    options = RunOptions(input=input, model=model, paint=paint, output=output)
    jobs = plan_jobs(sources or [str(DEMO)], options, recursive=sharing.recursive)
    results, exit_code = _run_jobs(jobs, sharing, Screen(quiet=console.quiet))
    if console.json:
        typer.echo(json.dumps(_to_dict(jobs, results, interrupted=bool(exit_code)), allow_nan=False))
    finish(
        damaged=any(each.report.damaged for each in results if each.report),
        interrupted=exit_code,
        failed=any(each.error for each in results),
        strict=console.strict,
    )


def _run_jobs(jobs: "Sequence[Job]", sharing: BatchOptions, screen: Screen) -> "tuple[list[JobResult], int]":
    """The results in the order of the jobs, and the exit code of the signal that ended them, or 0.

    Raises TmasegError when the only job fails.
    """
    from tmaseg.pipeline.jobs import output_folders, run_jobs

    results: dict[str, JobResult] = {}
    stop = StopRequest(lambda: screen.say("finishing the output; press Ctrl-C again to stop at once"))
    with suppress(KeyboardInterrupt), output_folders(jobs), stop:
        ended = run_jobs(jobs, sharing, progress=screen.progress, status=screen.status, stop=stop)
        with closing(ended):
            for result in ended:
                if result.error and len(jobs) == 1:
                    raise result.error
                results[result.job.source] = result
                _show(result, screen)
    if stop.exit_code:
        resumable = any(job.options.output.resume for job in jobs)
        screen.say("interrupted; give the same command to go on" if resumable else "interrupted")
    return [results[job.source] for job in jobs if job.source in results], stop.exit_code


def _show(result: "JobResult", screen: Screen) -> None:
    if result.skipped:
        screen.say(f"{result.job.options.output.output} exists: skipped")
    elif result.report:
        screen.warn(result.report.warnings)
        screen.say(_summary(result.report))
    elif result.error:
        say_error(result.error)


def _to_dict(jobs: "Sequence[Job]", results: "Sequence[JobResult]", *, interrupted: bool) -> dict[str, Any]:
    """The report of the only job, or the reports of several."""
    runs = [each.report.to_dict() for each in results if each.report]
    skipped = [
        {"input": hidden(each.job.source), "output": str(each.job.options.output.output), "skipped": True}
        for each in results
        if each.skipped
    ]
    if len(jobs) == 1:
        return (runs or skipped or [{"interrupted": True}])[0]
    return {
        "runs": runs,
        "skipped": skipped,
        "failed": [{"input": hidden(each.job.source), "error": str(each.error)} for each in results if each.error],
        "frames": sum(run["frames"] for run in runs),
        "interrupted": interrupted,
    }


def _summary(report: "RunReport") -> str:
    first, *more = report.segments or (report.output,)
    video = f"{first} to {more[-1]}" if more else first
    outputs = ", ".join(name for name in (video, report.masks, report.stats, report.events) if name)
    outputs = outputs or report.input
    resets = f"memory emptied {report.memory_resets} times" if report.memory_resets != 1 else "memory emptied once"
    compiled = ", compiled" if report.compiled else ""
    coders = "".join(f", {name}" for name in (report.decoder, report.encoder) if name)
    return (
        f"{outputs}: {report.frames} frames of {report.width}x{report.height} in {duration(report.seconds)} "
        f"({report.fps:.1f} frames/s, {report.precision} on {report.device}{compiled}, {report.memory}{coders}); "
        f"{resets}{_live_part(report)}"
    )


def _live_part(report: "RunReport") -> str:
    if not report.live or report.latency_median_ms is None:
        return ""
    return (
        f"; {report.dropped_frames} frames dropped; latency {report.latency_median_ms:.0f} ms (median), "
        f"{report.latency_p95_ms:.0f} ms (95th percentile)"
    )
