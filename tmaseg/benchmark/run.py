"""run_bench: everything that the options ask for, measured."""

from collections.abc import Callable, Mapping, Sequence

import torch

from tmaseg.benchmark.curves import Curves, measure_curves
from tmaseg.benchmark.forms import attention_form, form_works, network_cases
from tmaseg.benchmark.machine import machine
from tmaseg.benchmark.options import BenchOptions
from tmaseg.benchmark.report import Report
from tmaseg.benchmark.row import Row
from tmaseg.benchmark.stages import measure_stages
from tmaseg.benchmark.subject import Subject
from tmaseg.benchmark.timing import measure
from tmaseg.errors import ConfigError
from tmaseg.inference.device import Precision, choose_device, choose_precision
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.segmenter import Segmenter
from tmaseg.model.tmanet import TMANet
from tmaseg.video.source import open_source

Say = Callable[[str], None]


def run_bench(options: BenchOptions, say: Say | None = None) -> Report:
    """Measures the network, then the stages of a run, then the curves where they are wanted.

    `say` is told what comes next. Raises TmasegError.
    """
    device = choose_device(options.device)
    subject = Subject.choose(options)
    if options.count_only:
        return _report(options, subject, device, _counted(subject, options.size_hw))
    if options.curves and not subject.config.memory_frames:
        raise ConfigError("--plot compares streaming with recomputing, but this network has no memory: leave it out")
    if options.video:
        open_source(options.video).close()  # a bad video is told before minutes of measuring
    tell: Say = say or (lambda _: None)
    wanted = [choose_precision(name, device) for name in options.precisions]
    usual = choose_precision("auto", device)
    usual = usual if usual in wanted else wanted[0]
    tell(f"the network: {subject.title}, {' and '.join(wanted)}, on {machine(device)}")
    rows, attention = _network(options, subject, device, wanted)
    tell(f"the stages of a run, {usual}")
    rows += _stages(options, subject, device, usual)
    curves = None
    if options.curves:
        tell(f"cost against memory length and frame size, {usual}")
        curves = measure_curves(subject.config, options.size_hw, device, usual, repeats=options.repeats)
    return _report(options, subject, device, rows, attention=attention, precision=usual, curves=curves)


def _report(
    options: BenchOptions,
    subject: Subject,
    device: torch.device,
    rows: Sequence[Row],
    *,
    attention: Mapping[str, str] | None = None,
    precision: Precision | None = None,
    curves: Curves | None = None,
) -> Report:
    return Report(
        title=subject.title,
        machine=machine(device),
        device=str(device),
        size_hw=options.size_hw,
        memory_frames=subject.config.memory_frames,
        rows=rows,
        attention=attention or {},
        run_precision=precision,
        curves=curves,
    )


def _counted(subject: Subject, size_hw: tuple[int, int]) -> list[Row]:
    with torch.device("meta"):
        net = TMANet(subject.config)
    return [Row(form, None, work) for form, work in form_works(net, size_hw).items()]


def _network(
    options: BenchOptions, subject: Subject, device: torch.device, precisions: Sequence[Precision]
) -> tuple[list[Row], Mapping[str, str]]:
    """The rows of the network, and how each precision does attention."""
    net = subject.build(device)
    cases = network_cases(net, options.size_hw, precisions, compiled=options.compiled)
    rows = measure(cases, repeats=options.repeats)
    streams = {case.name: case for case in cases}
    forms: dict[str, str] = {
        precision: attention_form(streams[f"stream {precision}"].run)
        for precision in precisions
        if f"stream {precision}" in streams
    }
    return rows, forms


def _stages(options: BenchOptions, subject: Subject, device: torch.device, precision: Precision) -> list[Row]:
    engine = Engine(prepare(subject.build(device), device, precision))
    segmenter = Segmenter(engine, subject.labels, view=subject.view)
    return measure_stages(segmenter, options.video)
