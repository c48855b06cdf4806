"""Feeds mutated videos and pictures to `tmaseg run`, each made from a small one by a seed.

    scripts/fuzz --count 500 --first 0      seeds 0 to 499
    scripts/fuzz --count 1 --first 123      one again; its file and its output stay in --keep

A file is cut, has bits flipped, bytes overwritten, chunks swapped, or gets the header of another on its body. A run
must end within 30 s, with a whole video, as many rows of statistics as frames and exit code 0, or with one clear line,
exit code 1 and no file at all. Prints the seeds where that is not so, and then exits with 1.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from forked import frames_of, start, write_weights
from PIL import Image

MOST_SECONDS = 30.0
KINDS = (  # suffix, video codec, pixel format, sound codec
    ("mp4", "libx264", "yuv420p", "aac"),
    ("mov", "mpeg4", "yuv420p", "pcm_s16le"),
    ("mkv", "libx264", "yuv420p", "aac"),
    ("webm", "libvpx", "yuv420p", "libopus"),
    ("avi", "mpeg4", "yuv420p", "mp2"),
    ("ts", "libx264", "yuv420p", "aac"),
    ("m2ts", "libx264", "yuv420p", "ac3"),
    ("mpg", "mpeg2video", "yuv420p", "mp2"),
    ("flv", "libx264", "yuv420p", "aac"),
    ("wmv", "wmv2", "yuv420p", "wmav2"),
    ("gif", "gif", "rgb8", None),
    ("h264", "libx264", "yuv420p", None),
)
PICTURES = ("png", "jpg", "webp", "tiff", "bmp")


def pictures(count: int) -> list[np.ndarray]:
    """(48, 64, 3) uint8, each a little further along than the one before."""
    wide = np.random.default_rng(0).integers(0, 256, (12, 40, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    return [np.ascontiguousarray(wide[:, 2 * index : 2 * index + 64]) for index in range(count)]


def film(path: Path, codec: str, pixels: str, sound: str | None) -> None:
    """A second of video and sound."""
    with av.open(str(path), "w", format={"m2ts": "mpegts", "mpg": "mpeg"}.get(path.suffix[1:])) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        track = output.add_stream(sound, rate=48000, layout="stereo") if sound else None
        if track:
            track.bit_rate = 96_000
        for index, rgb in enumerate(pictures(25)):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
            if track:
                wave = (8000 * np.sin(np.arange(1920) / 20)).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(wave.repeat(2)[None], format="s16", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = 48000, 1920 * index, Fraction(1, 48000)
                output.mux(track.encode(frame))
        output.mux([*stream.encode(None), *(track.encode(None) if track else ())])


def write_originals(folder: Path) -> list[Path]:
    folder.mkdir()
    for suffix, codec, pixels, sound in KINDS:
        film(folder / f"a.{suffix}", codec, pixels, sound)
    images = [Image.fromarray(rgb) for rgb in pictures(4)]
    for suffix in PICTURES:
        images[0].save(folder / f"b.{suffix}")
    for suffix in ("webp", "png", "tiff"):
        images[0].save(folder / f"moving.{suffix}", save_all=True, append_images=images[1:])
    return sorted(folder.iterdir())


def cut(data: bytes, _: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def flip_bits(data: bytes, _: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    last = chance.choice((len(data), min(len(data), 512)))  # headers are where most can go wrong
    for _ in range(chance.choice((1, 8, 64))):
        changed[chance.randrange(last)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, _: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(data))
    filling = chance.choice((b"\0", b"\xff", chance.randbytes(64)))
    length = min(chance.randrange(1, 2048), len(data) - begin)
    return data[:begin] + (filling * length)[:length] + data[begin + length :]


def swap_chunks(data: bytes, _: bytes, chance: random.Random) -> bytes:
    places = sorted(chance.randrange(len(data)) for _ in range(4))
    parts = [data[begin:end] for begin, end in zip((0, *places), (*places, len(data)), strict=True)]
    return parts[0] + parts[3] + parts[2] + parts[1] + parts[4]


def strange_header(data: bytes, other: bytes, chance: random.Random) -> bytes:
    size = chance.choice((16, 188, 1024, len(other) // 2))
    return other[:size] + data[chance.choice((0, size)) :]


MUTATIONS: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    cut,
    flip_bits,
    overwrite,
    swap_chunks,
    strange_header,
)


def mutate(originals: list[Path], folder: Path, seed: int) -> tuple[Path, str]:
    """The file of a seed, and what it is in words."""
    chance = random.Random(seed)
    one, other, mutation = chance.choice(originals), chance.choice(originals), chance.choice(MUTATIONS)
    path = folder / f"in.{one.suffix[1:]}"
    path.write_bytes(mutation(one.read_bytes(), other.read_bytes(), chance))
    return path, f"{one.name}, {mutation.__name__}" + (f" of {other.name}" if mutation is strange_header else "")


def end_of(process: int, begun: float) -> int | None:
    """The exit code, negative for a signal; None when the time is up, and the process with it."""
    while time.monotonic() - begun < MOST_SECONDS:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def fault_of(code: int | None, said: str, out: Path) -> str | None:
    """What is wrong with how a run ended; None when nothing is."""
    names = sorted(path.name for path in out.rglob("*"))
    lines = [line for line in said.splitlines() if not line.startswith("warning: ")]
    if code == 0:
        if names != ["out.mp4", "stats.csv"]:
            return f"done, but the files are {names}"
        try:
            frames = frames_of(out / "out.mp4")
        except Exception as error:
            return f"the output is not whole: {error}"
        rows = len((out / "stats.csv").read_text().splitlines()) - 1
        told = json.loads(next(line for line in lines if line.startswith("{")))["frames"]
        return None if frames == rows == told else f"{frames} frames, {rows} rows, {told} reported"
    if code is None:
        return f"not done after {MOST_SECONDS:.0f} s"
    if code != 1:
        return f"exit code {code}"
    if names:
        return f"failed, but left {names}"
    if len(lines) != 1 or not lines[0].startswith("error: ") or "a fault of tmaseg" in lines[0]:
        return "no single clear line"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--keep", type=Path, help="folder for the files that went wrong")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tmaseg-fuzz-"))
    weights, originals = write_weights(folder / "w.safetensors"), write_originals(folder / "originals")
    options = ["--weights", str(weights), "--precision", "fp32", "--device", "cpu", "--compile", "off", "--json"]
    ends, slowest = Counter[str](), (0.0, 0)
    for seed in range(arguments.first, arguments.first + arguments.count):
        out, said = folder / "out", folder / "said"
        out.mkdir()
        path, words = mutate(originals, folder, seed)
        begun = time.monotonic()
        outputs = ["-o", str(out / "out.mp4"), "--stats", str(out / "stats.csv")]
        code = end_of(start(["run", str(path), *outputs, *options], said), begun)
        slowest = max(slowest, (time.monotonic() - begun, seed))
        text = said.read_text(errors="replace")
        fault = fault_of(code, text, out)
        ends["wrong" if fault else "whole" if code == 0 else "refused"] += 1
        if fault:
            print(f"seed {seed} ({words}): {fault}\n    " + "\n    ".join(text.splitlines()[-12:]), flush=True)
        if arguments.keep and (fault or arguments.count == 1):
            arguments.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, arguments.keep / f"{seed}{path.suffix}")
            shutil.copytree(out, arguments.keep / f"{seed}.out", dirs_exist_ok=True)
        shutil.rmtree(out)
        path.unlink()
        if (seed - arguments.first) % 50 == 49:
            print(f"up to seed {seed}: {dict(ends)}", file=sys.stderr, flush=True)
    shutil.rmtree(folder)
    last = arguments.first + arguments.count - 1
    print(
        f"seeds {arguments.first} to {last}: {ends['whole']} whole outputs, {ends['refused']} refused in one line, "
        f"{ends['wrong']} wrong; the slowest took {slowest[0]:.1f} s (seed {slowest[1]})"
    )
    return int(ends["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
