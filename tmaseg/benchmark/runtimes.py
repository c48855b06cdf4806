"""bench_onnx: an exported file in the runtimes that are here, against the same weights in torch."""

from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from tmaseg.arrays import RGB
from tmaseg.benchmark.rows import Case, Row, measure
from tmaseg.errors import CheckpointError, ConfigError
from tmaseg.inference.device import choose_precision, is_accelerator
from tmaseg.inference.frame_segmenter import FrameSegmenter
from tmaseg.inference.loading import load_network
from tmaseg.inference.onnx_runtime import OnnxNetwork, OpenVinoSession, fitted, is_installed
from tmaseg.inference.segmenter import Segmenter
from tmaseg.options import BenchOptions
from tmaseg.video import DEMO
from tmaseg.video.source import open_source

_FRAMES = 8


def bench_onnx(
    options: BenchOptions, network: OnnxNetwork, progress: Callable[[str], None]
) -> tuple[tuple[int, int], list[Row]]:
    """(H, W) of the frames, and a row for each runtime: a frame from its pixels to its labels.

    Raises ConfigError for options that change the network, VideoError for a bad video.
    """
    if options.paper or options.changes or options.plot or options.count_only or options.compile == "on":
        raise ConfigError(
            f"{network.name} is measured as it is: leave out --paper, --set, --compile, --plot and --count-only"
        )
    spec, device = network.spec, network.device
    with open_source(options.video or DEMO) as source:
        frames = [fitted(frame.rgb, spec.frame_hw) for frame in islice(source, _FRAMES)]
    cases = [Case(f"onnx {spec.precision}", _steps(network.segmenter(), frames), device)]
    if is_installed("openvino") and not is_accelerator(device):
        other = OnnxNetwork(network.name, network.info, OpenVinoSession(network.info.path), device)
        cases.append(Case(f"openvino {spec.precision}", _steps(other.segmenter(), frames), device))
    for name in options.precisions:
        precision = choose_precision(name, device)
        try:
            there = load_network(_weights(spec.weights, network.info.path), device=device, precision=precision)
        except CheckpointError as error:
            progress(f"no row of torch: {error}")
            break
        segmenter = Segmenter(there.engine, there.labels, geometry=network.geometry, memory_frames=spec.memory_frames)
        cases.append(Case(f"torch {precision}", _steps(segmenter, frames), device))
    size_hw = (frames[0].shape[0], frames[0].shape[1])
    return size_hw, measure(cases, repeats=options.repeats)


def _weights(name: str, exported: Path) -> str:
    """What the file was exported from: a name, a path, or a file that lies beside it."""
    beside = exported.with_name(Path(name).name)
    return str(beside) if beside.is_file() else name


def _steps(segmenter: FrameSegmenter, frames: list[RGB]) -> Callable[[], object]:
    """One call is the next frame, labels included."""
    return partial(lambda following: segmenter.step(next(following)).labels, cycle(frames))
