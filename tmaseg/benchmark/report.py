"""run_bench: measures the network, the stages of a run and cost curves, as a BenchReport."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tmaseg.benchmark.curves import Curves, measure_curves
from tmaseg.benchmark.forms import form_works, network_cases
from tmaseg.benchmark.rows import Row, measure, ratios
from tmaseg.benchmark.stages import measure_stages
from tmaseg.errors import ConfigError
from tmaseg.inference.device import (
    attention_for,
    choose_device,
    choose_precision,
    describe_device,
    dtype_of,
    is_accelerator,
)
from tmaseg.inference.loading import load_network
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels
from tmaseg.model.attention import fused
from tmaseg.model.checkpoint import Checkpoint, load_checkpoint
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet
from tmaseg.options import BenchOptions
from tmaseg.video.source import open_source

DEFAULT_WEIGHTS = "street"
_PAPER_CONFIGS = {
    "camvid": TMANetConfig(classes=12, memory_encoder="per-slot"),
    "cityscapes": TMANetConfig(classes=19, memory_frames=2, memory_encoder="per-slot", align_corners=True),
}


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """What `tmaseg bench` measured."""

    title: str
    """The network."""
    machine: str
    device: str
    frame: str
    """Size of the network's input, WIDTHxHEIGHT."""
    memory_frames: int
    """T."""
    rows: Sequence[Row]
    """The network in its forms and precisions, then the stages of a run."""
    attention: Mapping[str, str] = field(default_factory=dict)
    """By precision: "fused", or "explicit": matrix products, a part of the matrix at a time."""
    run_precision: str | None = None
    """The precision that stages and curves were measured in; None: neither was."""
    curves: Curves | None = None

    @property
    def headline(self) -> str:
        """The title of the plot: what was measured, in which precision, where."""
        return f"{self.title}, {self.run_precision}, on {self.machine}"

    @property
    def ratios(self) -> dict[str, float]:
        """How many times faster one row is than another."""
        return ratios(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values: dict[str, Any] = {
            "network": self.title,
            "machine": self.machine,
            "device": self.device,
            "frame": self.frame,
            "memory_frames": self.memory_frames,
            "attention": dict(self.attention),
            "run_precision": self.run_precision,
            "rows": [row.to_dict() for row in self.rows],
            "ratios": {name: round(value, 3) for name, value in self.ratios.items()},
        }
        return values | ({"curves": self.curves.to_dict()} if self.curves else {})


def run_bench(
    options: BenchOptions,
    *,
    weights: str = DEFAULT_WEIGHTS,
    device: str = "auto",
    progress: Callable[[str], None] = lambda _: None,
) -> BenchReport:
    """Measures the network, then the stages of a run, then the curves if `options.plot` is set.

    Stages and curves are measured in the precision that a run would take if it is among those compared, else in the
    first. `progress` is called with what comes next. Raises TmasegError.
    """
    target = choose_device(device)
    title, config, checkpoint = _network(options, weights)
    where = machine(target)
    facts: dict[str, Any] = {"title": title, "machine": where, "device": str(target), "frame": options.frame}
    facts["memory_frames"] = config.memory_frames
    if options.count_only:
        with torch.device("meta"):
            works = form_works(TMANet(config), options.size_hw)
        return BenchReport(**facts, rows=[Row(form, None, work) for form, work in works.items()])
    if options.plot and not config.memory_frames:
        raise ConfigError("--plot compares streaming with recomputing, but this network has no memory: leave it out")
    if options.video:
        open_source(options.video).close()  # a bad video is an error before minutes of measuring
    precisions = [choose_precision(name, target) for name in options.precisions]
    usual = choose_precision("auto", target)
    usual = usual if usual in precisions else precisions[0]

    progress(f"the network: {title}, {' and '.join(precisions)}, on {where}")
    net = (checkpoint.build() if checkpoint else TMANet(config).eval()).to(target)
    cases = network_cases(net, options.size_hw, precisions, compiled=options.compile == "on")
    rows = measure(cases, repeats=options.repeats)
    progress(f"the stages of a run, {usual}")
    checkpoint = checkpoint or Checkpoint(config, generic_labels(config.classes), net.state_dict())
    network = load_network(checkpoint, device=target, precision=usual)
    segmenter = Segmenter(network.engine, network.labels, geometry=network.geometry)
    rows += measure_stages(segmenter, options.video)
    curves = None
    if options.plot:
        progress(f"cost against memory length and frame size, {usual}")
        curves = measure_curves(config, options.size_hw, target, usual, repeats=options.repeats)
    attention: dict[str, str] = {
        precision: "fused" if attention_for(target, dtype_of(precision)) is fused else "explicit"
        for precision in (precisions if config.memory_frames else ())
    }
    return BenchReport(**facts, rows=rows, attention=attention, run_precision=usual, curves=curves)


def machine(device: torch.device) -> str:
    """The processor (a GPU's name first), how many threads torch uses, and torch's version."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    if is_accelerator(device):
        name = f"{describe_device(device)}, {name}"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _network(options: BenchOptions, weights: str) -> tuple[str, TMANetConfig, Checkpoint | None]:
    """Title, configuration, and the weights where these are measured: cost does not depend on them.

    Raises ConfigError for a change that the configuration cannot take.
    """
    changes = options.config_changes()
    if options.paper:
        if weights != DEFAULT_WEIGHTS:
            raise ConfigError(f"--paper {options.paper} is measured without weights: leave out --weights or --paper")
        title, config, checkpoint = f"the authors' network for {options.paper}", _PAPER_CONFIGS[options.paper], None
    else:
        checkpoint = load_checkpoint(weights)
        title, config = weights, checkpoint.config
    if changes:
        title += ", " + ", ".join(f"{name}={value}" for name, value in changes.items())
        config, checkpoint = TMANetConfig.from_dict({**config.to_dict(), **changes}), None
    return title, config, checkpoint
