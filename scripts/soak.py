"""A very long video: generated frames through the network into a video and statistics.

    scripts/soak --frames 200000

Resident memory, open files and threads are counted on the way. Exits with 1 when memory at the end is more than 5 %
above that after the first tenth, when there are more open files or threads than then, or when the output lacks frames
or does not show the frame of a time that is searched for.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from forked import write_weights

from tmaseg.files import resident_mb
from tmaseg.options import ModelOptions, OutputOptions, PaintOptions, RunOptions
from tmaseg.pipeline.video import run_video
from tmaseg.video.source import Damage, Frame, Source, StreamInfo

WIDTH, HEIGHT, RATE = 64, 48, 25
BITS = 20  # of a frame's number, drawn as columns of black and white so that a decoded frame tells which one it is


class GeneratedSource(Source):
    """Frames of noise that drifts, each with its number drawn into the lower half."""

    damage = Damage()

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.info = StreamInfo("generated", WIDTH, HEIGHT, Fraction(RATE), Fraction(1, RATE), frames, frames / RATE)
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        noise = (
            np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        )
        for index in range(self._frames):
            rgb = np.roll(noise, index // 5, axis=1)
            bits = (index >> np.arange(BITS)) & 1
            rgb[HEIGHT // 2 :, : 3 * BITS] = (255 * bits.repeat(3)).astype(np.uint8)[None, :, None]
            yield Frame(rgb, index, Fraction(1, RATE), index, False, 1)

    def close(self) -> None:
        pass


def number_of(rgb: np.ndarray) -> int:
    """The number that is drawn into a decoded frame."""
    columns = rgb[3 * HEIGHT // 4, 1 : 3 * BITS : 3].mean(1) > 127
    return int((columns << np.arange(BITS)).sum())


def counts() -> tuple[float, int, int]:
    """Resident memory in MB, open files, threads."""
    return resident_mb(), sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count()


def search_faults(path: Path, frames: int) -> Iterator[str]:
    """What is wrong where times of the output are searched for."""
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        if stream.frames != frames:
            yield f"the output has {stream.frames} frames instead of {frames}"
        chance = random.Random(1)
        for wanted in (0, frames - 1, *(chance.randrange(frames) for _ in range(20))):
            video.seek(int(Fraction(wanted, RATE) / stream.time_base), stream=stream)
            found = next((f for f in video.decode(stream) if f.pts * stream.time_base >= Fraction(wanted, RATE)), None)
            shown = None if found is None else number_of(found.to_ndarray(format="rgb24"))
            if shown != wanted:
                yield f"at frame {wanted} the output shows {shown}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000)
    arguments = parser.parse_args()
    samples: list[tuple[float, int, int]] = []
    every = max(1, arguments.frames // 200)
    begun = time.monotonic()

    def progress(done: int) -> None:
        if done % every == 0:
            samples.append(counts())
            if done % (20 * every) == 0:
                rss, files, threads = samples[-1]
                speed = done / (time.monotonic() - begun)
                print(f"{done} frames, {speed:.0f}/s: {rss:.1f} MB, {files} files, {threads} threads", flush=True)

    with tempfile.TemporaryDirectory(prefix="tmaseg-soak-") as name:
        folder = Path(name)
        write_weights(folder / "weights.safetensors")
        options = RunOptions(
            output=OutputOptions(output=str(folder / "out.mp4"), stats=folder / "stats.csv"),
            model=ModelOptions(
                weights=str(folder / "weights.safetensors"), device="cpu", precision="fp32", compile="off"
            ),
            paint=PaintOptions(opacity=0.0),  # the number stays readable
        )
        report = run_video(GeneratedSource(arguments.frames), options.model.load, options, progress=progress)
        faults = list(search_faults(folder / "out.mp4", arguments.frames))
        rows = sum(1 for _ in (folder / "stats.csv").open()) - 1
    if report.frames != arguments.frames or rows != arguments.frames:
        faults.append(f"{report.frames} frames and {rows} rows of statistics instead of {arguments.frames}")
    first = samples[len(samples) // 10]
    last = [max(column) for column in zip(*samples[-len(samples) // 10 :], strict=True)]
    growth = last[0] / first[0] - 1
    if growth > 0.05 or last[1] > first[1] or last[2] > first[2]:
        faults.append("memory, open files or threads grow")
    print(
        f"{report.frames} frames in {report.seconds:.0f} s: {first[0]:.1f} MB, {first[1]} files and {first[2]} threads "
        f"after a tenth; {last[0]:.1f} MB ({100 * growth:+.1f} %), {last[1]} and {last[2]} at most in the last tenth"
    )
    for fault in faults:
        print(f"fault: {fault}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
