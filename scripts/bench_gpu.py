"""The paper's network on an NVIDIA GPU, in variants, as a page in Markdown on standard output.

    scripts/bench_gpu >scripts/bench_gpu.md
    scripts/bench_gpu --peak 989                   # dense 16-bit TFLOP/s of a card that is not in the table

Attention is measured in four forms, each checked against `read_memory` on a small memory first. Times are medians by
CUDA events. A share of the peak counts two operations a multiply-add, attention included.
"""

import argparse
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tmaseg.benchmark import Case, Row, machine, measure
from tmaseg.benchmark.forms import form_cases, form_works
from tmaseg.errors import ConfigError
from tmaseg.inference.device import Precision, choose_device, dtype_of
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import generic_labels
from tmaseg.model.attention import Attend, chunked, fused, read_memory, reading_by
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet

CONFIG = TMANetConfig(classes=19, backbone="resnet50", output_stride=8, memory_frames=4)
SIZE_HW = (1024, 2048)
RUN_FRAMES = 8  # of a run that is timed whole

# Dense TFLOP/s by NVIDIA's data sheets: 16-bit matrix products with float32 sums, TF32, plain float32. The first whose
# words are in the card's name counts.
PEAKS: dict[str, tuple[float, float | None, float]] = {
    "H100 PCIe": (756, 378, 51),
    "H100": (989, 494, 67),
    "H200": (989, 494, 67),
    "A100": (312, 156, 19.5),
    "L40S": (362, 183, 91.6),
    "RTX 4090": (165, 82.6, 82.6),
    "RTX 3090": (71, 35.6, 35.6),
    "L4": (121, 60, 30.3),
    "V100": (125, None, 15.7),
    "T4": (65, None, 8.1),
}


def flex(rows: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """FlexAttention, whose values may be wider than its keys. An `Attend`."""
    return _compiled_flex()(rows[:, None], keys[:, None], values[:, None], scale=1.0)[:, 0]


@cache
def _compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, fullgraph=True, dynamic=False)  # without, the matrix would be whole


def cudnn(rows: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """cuDNN's attention and no other; keys and values may differ in width, up to 128. An `Attend`."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        read = [
            functional.scaled_dot_product_attention(rows[:, None], keys[:, None], part[:, None], scale=1.0)[:, 0]
            for part in torch.split(values, 128, dim=-1)
        ]
    return torch.cat(read, dim=-1)


ATTENTION: dict[str, Attend] = {"heads of 256": fused, "chunks": chunked, "FlexAttention": flex, "cuDNN": cudnn}


@dataclass(frozen=True)
class Variant:
    """One way to compute all forms."""

    title: str
    precision: Precision
    tf32: bool = False
    tried: bool = False
    """Whether cuDNN times its kernels and keeps the fastest, instead of guessing."""
    compiled: bool = False
    attention: str | None = None
    """One of `ATTENTION`; None: as the program chooses, which is heads of 256 on a GPU."""


VARIANTS = (
    Variant("fp32", "fp32"),
    Variant("TF32", "fp32", tf32=True),
    Variant("TF32, kernels tried", "fp32", tf32=True, tried=True),
    Variant("bf16", "bf16"),
    Variant("bf16, kernels tried", "bf16", tried=True),
    Variant("bf16, compiled", "bf16", compiled=True),
    Variant("bf16, kernels tried, compiled", "bf16", tried=True, compiled=True),
    Variant("fp16", "fp16"),
    Variant("fp16, kernels tried", "fp16", tried=True),
    Variant("fp16, kernels tried, compiled", "fp16", tried=True, compiled=True),
    *(Variant(f"bf16, kernels tried, attention: {name}", "bf16", tried=True, attention=name) for name in ATTENTION),
)


@dataclass(frozen=True)
class Result:
    """What came of one form of a variant."""

    variant: Variant
    form: str
    row: Row | None
    failure: str = ""


def results(config: TMANetConfig, size_hw: tuple[int, int], device: torch.device, repeats: int) -> Iterator[Result]:
    """Every variant in turn. One that runs out of memory, or that the machine cannot do, says so and is passed over."""
    for variant in VARIANTS:
        if failure := attention_failure(variant, device):  # outside the settings, under which it would check itself
            yield Result(variant, "stream", None, failure)
            continue
        with settings(variant):
            engine = Engine(prepare(TMANet(config), device, variant.precision))
            works = form_works(engine.net, size_hw)
            if variant.compiled:
                try:
                    engine.compile()
                except ConfigError as error:
                    yield Result(variant, "stream", None, str(error))
                    continue
            for case in form_cases(engine, size_hw, works, ""):
                yield attempt(variant, case, repeats)
            yield attempt(variant, run_case(engine, size_hw), repeats)
        del engine
        if device.type == "cuda":
            torch.cuda.empty_cache()


def attention_failure(variant: Variant, device: torch.device) -> str:
    """Why a variant's attention cannot be measured here: it does not run, or gives something else. Empty if it can."""
    if variant.attention is None:
        return ""
    query = torch.randn(1, CONFIG.key_channels, 8, 16, device=device).to(dtype_of(variant.precision))
    keys = torch.randn(1, 512, CONFIG.key_channels, device=device).to(query.dtype)
    values = torch.randn(1, 512, 2 * CONFIG.key_channels, device=device).to(query.dtype)
    with torch.inference_mode():
        wanted = read_memory(query.double(), keys.double(), values.double())
        try:
            with reading_by(ATTENTION[variant.attention]):
                off = (read_memory(query, keys, values) - wanted).abs().max().item()
        except (RuntimeError, ValueError, ConfigError) as error:
            return reason(error)
    # Values are of the order of 1, and a step of bfloat16 there is 2^-7.
    return "" if off < 0.05 else f"disagrees with read_memory by {off:.3g}"


def reason(error: Exception) -> str:
    """An error's first line, for a cell of the table."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].replace("|", "/")[:100]


def run_case(engine: Engine, size_hw: tuple[int, int]) -> Case:
    """`Segmenter.step` of a stretch of frames, from pixels on the host to labels on the host."""
    segmenter = Segmenter(engine, generic_labels(engine.net.config.classes), detect_cuts=False)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8) for _ in range(2)]

    def run() -> None:
        waiting = [segmenter.step(pictures[number % 2]) for number in range(RUN_FRAMES)]
        for each in waiting:
            assert each.labels.shape == size_hw

    return Case("run", run, engine.device)


def attempt(variant: Variant, case: Case, repeats: int) -> Result:
    form, begun = case.name.strip(), time.monotonic()
    try:
        (row,) = measure([case], repeats=repeats)
    except (RuntimeError, ValueError, ConfigError) as error:  # out of memory, or compiling failed
        return Result(variant, form, None, reason(error))
    finally:
        print(f"{form}, {variant.title}: {time.monotonic() - begun:.1f} s", file=sys.stderr)
    if form == "run":
        row = replace(row, seconds_per_frame=(row.seconds_per_frame or 0.0) / RUN_FRAMES)
    return Result(variant, form, row)


@contextmanager
def settings(variant: Variant) -> Iterator[None]:
    """torch's switches, set for a variant and put back."""
    backends = torch.backends
    before = (backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32)
    backends.cudnn.benchmark = variant.tried
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = variant.tf32
    try:
        with reading_by(ATTENTION[variant.attention] if variant.attention else None):
            yield
    finally:
        backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = before


def peak_tflops(card: str, variant: Variant, given: float | None) -> float | None:
    """The peak of a card, by its name, for a variant's arithmetic; None: unknown. `given`: that of 16-bit products."""
    words = f" {' '.join(re.findall('[A-Za-z0-9]+', card))} "
    known = next((peaks for name, peaks in PEAKS.items() if f" {name} " in words), None)
    if variant.precision != "fp32":
        return given or (known[0] if known else None)
    if known is None:
        return None
    return known[1] if variant.tf32 else known[2]


def page(found: Sequence[Result], *, card: str, name: str, words: Sequence[str], peak: float | None) -> str:
    """Everything in Markdown. `card` is the GPU's name, `name` that of the whole machine."""
    lines = [
        "# The network on a GPU",
        "",
        f"Measured with `{shlex.join(['scripts/bench_gpu', *words])}` on {name}: {CONFIG.backbone}, "
        f"stride {CONFIG.output_stride}, T = {CONFIG.memory_frames}, a shared memory encoder, one frame at a time. "
        "clip: T + 1 frames recomputed; stream: one step; alone: memory off; run: `Segmenter.step`, from pixels to "
        "labels on the host. Medians by CUDA events; GMACs with attention.",
        "",
        "| form | variant | ms | frames/s | GMACs | TFLOP/s | share of peak | peak MB | working MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [line(each, peak_tflops(card, each.variant, peak)) for each in found]
    return "\n".join(lines)


def line(result: Result, peak: float | None) -> str:
    """A row of the table."""
    row = result.row
    if row is None or not row.seconds_per_frame:
        return f"| {result.form} | {result.variant.title} | {result.failure} | | | | | | |"
    seconds, gmacs = row.seconds_per_frame, row.work.total if row.work else None
    tflops = None if gmacs is None else 2 * gmacs / 1000 / seconds
    cells = [
        f"{1000 * seconds:.2f}",
        f"{1 / seconds:.1f}",
        "" if gmacs is None else f"{gmacs:.0f}",
        "" if tflops is None else f"{tflops:.1f}",
        "" if tflops is None or peak is None else f"{100 * tflops / peak:.1f} %",
        "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        "" if row.working_mb is None else f"{row.working_mb:.0f}",
    ]
    return f"| {result.form} | {result.variant.title} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--peak", type=float, help="dense 16-bit TFLOP/s of this card; the known ones need none")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("error: there is no usable CUDA device here: run this on a machine with an NVIDIA GPU", file=sys.stderr)
        return 1
    try:
        device = choose_device(args.device)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if device.type != "cuda":
        print(f"error: --device is {args.device}; this measures GPUs: give cuda or cuda:N", file=sys.stderr)
        return 1
    found = list(results(CONFIG, SIZE_HW, device, args.repeats))
    card = torch.cuda.get_device_name(device)
    print(page(found, card=card, name=machine(device), words=sys.argv[1:], peak=args.peak))
    return 0


if __name__ == "__main__":
    sys.exit(main())
