#!/usr/bin/env python3
"""Tests and measures tmaseg on a GPU: five parts, in 8 minutes at most. Prints as it goes and writes gpu.json.

    scripts/gpu_check -o "$OUT"                          # parts 1 to 4; part 5 on drawn pictures
    scripts/gpu_check -o "$OUT" --pack pack.zip --wheels .whl
    scripts/gpu_check --device cpu --short               # a dry run

1  tests     the device tests of the suite
2  traffic   copies and synchronisation in a step, and memory over many frames
3  bench     streaming and the clip form: eager, compiled, CUDA graphs; forms of attention; the bf16 matrix rate
4  run       a clip end to end, on the CPU's decoder and encoder and on the device's (needs PyAV)
5  train     steps a second of the preset street, crops a second that the CPU makes alone, and the loss curve

A part that lacks a package is skipped, which the file says. Exit code 1: a part failed, or a goal for an H100 is
missed.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from tmaseg.inference import engine as engine_module
from tmaseg.inference.device import choose_device, choose_precision, describe_device, dtype_of, seconds_of
from tmaseg.inference.engine import Engine, prepare
from tmaseg.inference.macs import step_macs
from tmaseg.inference.segmenter import Segmenter, load
from tmaseg.inference.sliding_window import SlidingWindow
from tmaseg.model.checkpoint import load_checkpoint
from tmaseg.model.config import InputGeometry, TMANetConfig
from tmaseg.model.memory import chunked, fused
from tmaseg.model.tmanet import TMANet

ROOT = Path(__file__).resolve().parents[1]
BENCH_ENDS, TRAIN_ENDS = 150, 430  # seconds after the start, of 480
RESNET50_T4 = TMANetConfig(classes=12, memory_encoder="per-slot")
RESNET50_T2 = TMANetConfig(classes=19, memory_frames=2, align_corners=True, memory_encoder="per-slot")
GOALS = {"street 640x360": 300.0, "resnet50 T4 2048x1024": 30.0}  # frames a second of the network, on an H100
STREAM_OVER_CLIP = 3.5
# In order of interest, as time may run out: name, network (None: street), width, height, whether it is compiled.
CASES = [
    ("street 640x360", None, 640, 360, True),
    ("resnet50 T4 2048x1024", RESNET50_T4, 2048, 1024, True),
    ("street 1280x720", None, 1280, 720, False),
    ("street 2048x1024", None, 2048, 1024, False),
    ("resnet50 T4 480x360", RESNET50_T4, 480, 360, True),
    ("resnet50 T4 960x720", RESNET50_T4, 960, 720, False),
    ("resnet50 T2 769x769", RESNET50_T2, 769, 769, False),
]
SHORT_CASES = [("street 96x64", None, 96, 64, False)]


class Check:
    """Options, the device, and the clock."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.short = args, args.short
        self.device = choose_device(args.device)
        self.gpu = self.device.type != "cpu"
        self.begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def late(self, end: float) -> bool:
        """Whether so many seconds have passed; a dry run has all the time."""
        return self.seconds > end and not self.short

    def say(self, text: str) -> None:
        print(f"[{self.seconds:5.0f} s] {text}")


def tests(check: Check) -> dict[str, Any]:
    import pytest  # noqa: F401

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"]
    environment = {**os.environ, "TMASEG_TEST_DEVICE": str(check.device), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "tests/inference/test_on_device.py", *(["-k", "fp32 or labels"] if check.short else [])],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=None if check.short else 120,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:])
    return {"result": lines[-1] if lines else done.stderr[-300:], "failed": done.returncode != 0}


def traffic(check: Check) -> dict[str, Any]:
    """On a CPU nothing is copied: there only the memory is followed."""
    size_hw, count = ((64, 96), 40) if check.short else ((360, 640), 2000)
    segmenter = load("street", device=str(check.device), detect_cuts=False, geometry=InputGeometry(size_hw[0]))
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (*size_hw, 3), np.uint8) for _ in range(8)]
    for rgb in frames:
        assert segmenter.step(rgb).labels.shape == size_hw
    facts: dict[str, Any] = {}
    if check.gpu:
        facts["copies"] = _copies(segmenter, frames)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for rgb in frames:
                segmenter.step(rgb)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        facts["synchronisation inside a step"] = "none"
    held = []
    for index in range(count):
        assert segmenter.step(frames[index % 8]).labels.any() is not None
        if check.gpu and index in (count // 10, count - 1):
            held.append(torch.cuda.memory_allocated())
    facts |= {"frames": count, "bytes held early and late": held}
    wrong = facts.get("copies", {}) not in ({}, {"up": 1.0, "down": 1.0})
    return facts | {"failed": wrong or len(set(held)) > 1}


def _copies(segmenter: Segmenter, frames: list[Any]) -> dict[str, float]:
    """Copies between host and device in a frame, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        for rgb in frames:
            assert segmenter.step(rgb).labels is not None
    names = [each.name for each in profiled.events()]
    kinds = {"up": "Memcpy HtoD", "down": "Memcpy DtoH"}
    return {way: sum(name.startswith(kind) for name in names) / len(frames) for way, kind in kinds.items()}


def bench(check: Check) -> dict[str, Any]:
    precision = choose_precision("auto", check.device)
    facts: dict[str, Any] = {"precision": precision, "bf16 TFLOP/s": _matrix_rate(check), "rows": []}
    missed = []
    for name, config, width, height, compiled in SHORT_CASES if check.short else CASES:
        if check.late(BENCH_ENDS):
            facts["rows"].append({"name": name, "skipped": "no time"})
            continue
        net = load_checkpoint("street").build() if config is None else TMANet(config).eval()
        row = {"name": name, **_forms(check, net, (height, width), precision, compiled and check.gpu)}
        facts["rows"].append(row)
        check.say(json.dumps(row))
        best = max(value for key, value in row.items() if key.startswith("stream") and isinstance(value, float))
        if best < GOALS.get(name, 0) or row["streaming over clip"] < STREAM_OVER_CLIP:
            missed.append(name)
    goals = check.gpu and "H100" in describe_device(check.device)
    return facts | {"goals missed": missed, "failed": bool(goals and missed)}


def _matrix_rate(check: Check) -> float:
    side = 256 if check.short else 8192 if check.gpu else 2048
    a, b = (torch.randn(side, side, device=check.device, dtype=torch.bfloat16) for _ in range(2))
    return 2e-12 * side**3 / _seconds(check, lambda: a @ b)


@torch.inference_mode()
def _forms(check: Check, net: TMANet, size_hw: tuple[int, int], precision: Any, compiled: bool) -> dict[str, Any]:
    """Frames a second of the forms of one network, by name."""
    config = net.config
    prepared = prepare(net, check.device, precision)
    frames = torch.randn(config.memory_frames + 1, 3, *size_hw, device=check.device).to(dtype_of(precision))
    frames = frames.contiguous(memory_format=torch.channels_last)
    row: dict[str, Any] = {}

    def stream(engine: Engine) -> float:
        window = SlidingWindow(engine, InputGeometry(), config.memory_frames)
        return 1 / _seconds(check, lambda: window.step(frames[:1]))

    for form in (fused, chunked):
        prepared.attend = form
        row[f"stream, {form.__name__} attention"] = stream(Engine(prepared))
    prepared.attend = fused
    row["clip"] = 1 / _seconds(check, lambda: prepared.head_logits(frames[:1], frames[None, 1:]))
    if compiled:
        plain = engine_module.compile_options
        for name, options in (("compiled", lambda _: {}), ("CUDA graphs", plain)):
            if check.late(BENCH_ENDS):
                break
            engine_module.compile_options = options
            engine = Engine(prepared)
            engine.compile()
            row[f"stream, {name}"] = stream(engine)
            row |= {f"{name} failed": engine.failure} if engine.failure else {}
        engine_module.compile_options = plain
    best = row["stream, fused attention"]
    row["streaming over clip"] = best / row["clip"]
    row["TFLOP/s of streaming"] = 2e-3 * step_macs(config, size_hw).total * best
    return row


def _seconds(check: Check, call: Callable[[], object]) -> float:
    for _ in range(1 if check.short else 5):
        call()
    return median(seconds_of(call, check.device) for _ in range(3 if check.short else 20))


def run(check: Check) -> dict[str, Any]:
    import av  # noqa: F401

    import tmaseg
    from tmaseg.video import DEMO

    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, hardware in (("CPU's coders", False), ("device's coders", True)):
            options = {"end": 0.2, "size": 64} if check.short else {}
            out = Path(folder) / f"{hardware}.mp4"
            report = tmaseg.segment_video(DEMO, out, device=str(check.device), hardware=hardware, **options)
            stages = {stage: round(busy, 3) for stage, busy in report.stages.items()}
            facts[name] = {
                "fps": report.fps, "stages": stages, "bound by": max(stages, key=lambda stage: stages[stage]),
                "decoder": report.decoder, "encoder": report.encoder, "warnings": report.warnings,
            }  # fmt: skip
    return facts


def train(check: Check) -> dict[str, Any]:
    import pydantic  # noqa: F401
    import tomli_w  # noqa: F401
    import typer  # noqa: F401

    minutes = max(0.5, min(5.0, (TRAIN_ENDS - check.seconds) / 60))
    small = ["--batch", "4", "--crop", "64x48", "--size", "48", "--set", "validate_limit=2", "--steps", "3"]
    with tempfile.TemporaryDirectory() as folder:
        data = _unpacked(check.args.pack, Path(folder)) if check.args.pack else _drawn(Path(folder), check.short)
        size = small if check.short else ["--minutes", f"{minutes:.2f}", "--batch", "16"]
        command = [sys.executable, "-m", "tmaseg", "train", *data, "-o", f"{folder}/run", "--preset", "street", *size]
        command += ["--init", "street", "--threads", str(max(1, (os.cpu_count() or 1) - 2))]
        command += [] if check.args.pack else ["--labels", "cityscapes"]
        command += ["--device", str(check.device)]
        longest = None if check.short else 60 * minutes + 60
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=longest)
        if done.returncode:
            return {"failed": True, "error": (done.stderr or done.stdout)[-1500:]}
        with (Path(folder) / "run" / "log.csv").open() as file:
            steps = [row for row in csv.DictReader(file) if row["loss"]]
        alone = _crops_alone(Path(folder) / "run", 3 if check.short else 30)
    seconds = float(steps[-1]["seconds"]) - float(steps[0]["seconds"])
    losses = [float(row["loss"]) for row in steps]
    curve = [round(float(part.mean()), 4) for part in np.array_split(losses, min(10, len(losses)))]
    rate = (4 if check.short else 16) * (len(steps) - 1) / max(seconds, 1e-9)
    return {"steps": len(steps), "crops a second": rate, "crops a second, made alone": alone, "loss": curve}


def _crops_alone(folder: Path, steps: int) -> float:
    """What the workers of a run make a second while nothing trains; labels and pictures are in memory by then."""
    from tmaseg.training.batches import BatchMaker
    from tmaseg.training.datasets import open_sources, read_labels
    from tmaseg.training.job import Callback, resumed
    from tmaseg.training.loader import load_batches

    job = resumed(folder)
    datasets, labels = open_sources(job.sources, job.recipe.labels)
    data = read_labels(datasets, labels, job.recipe, Callback(), cache_bytes=2**31)
    config = load_checkpoint(folder / "last.safetensors").config
    maker = BatchMaker(data.train, job.recipe, config)
    workers, to_gpu = job.recipe.run.threads, torch.cuda.is_available()
    with closing(load_batches(maker.parts, first=0, workers=workers, to_gpu=to_gpu)) as batches:
        next(batches)
        begun = time.perf_counter()
        for _ in range(steps):
            next(batches)
    return job.recipe.optimizer.batch * steps / (time.perf_counter() - begun)


def _unpacked(pack: Path, folder: Path) -> list[str]:
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(folder)
    packed = json.loads((folder / "pack.json").read_text())["data"]
    return [word for each in packed for word in ("--dataset", each["dataset"], "--data", str(folder / each["folder"]))]


def _drawn(folder: Path, short: bool) -> list[str]:
    """Pictures of coloured blocks, whose class their colour tells."""
    import cv2

    rng = np.random.default_rng(0)
    for split, count in (("train", 8 if short else 200), ("val", 2)):
        for index in range(count):
            mask = rng.integers(0, 19, (6, 8), np.uint8).repeat(60, 0).repeat(80, 1)
            picture = np.stack([mask * 13, 255 - mask * 11, mask * 7], -1) + rng.integers(
                0, 9, (*mask.shape, 1), np.uint8
            )
            for kind, pixels in (("images", picture), ("masks", mask)):
                path = folder / "drawn" / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    from tmaseg.labels import CITYSCAPES

    (folder / "drawn" / "labels.yaml").write_text(json.dumps({"name": "drawn", "names": list(CITYSCAPES.names)}))
    return ["--dataset", "folder", "--data", str(folder / "drawn")]


PARTS = {part.__name__: part for part in (tests, traffic, bench, run, train)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(os.environ.get("OUT", ".")), help="folder of gpu.json"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--short", action="store_true", help="a dry run: every part, on little")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; repeatable")
    parser.add_argument("--pack", type=Path, help="data to train on, packed by scripts/pack_data")
    parser.add_argument("--wheels", type=Path, help="folder of wheels of packages that are missing here")
    args = parser.parse_args()
    check = Check(args)
    facts: dict[str, Any] = {"device": describe_device(check.device) or "cpu", "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as packages:
        if args.wheels:
            install = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-index",
                "--no-deps",
                "--target",
                packages,
            ]
            subprocess.run([*install, *map(str, sorted(args.wheels.glob("*.whl")))], check=True)
            sys.path.append(packages)
            os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), packages])
        for name in args.only or PARTS:
            check.say(f"{name}: {facts['device']}")
            try:
                facts[name] = PARTS[name](check)
            except ModuleNotFoundError as error:
                facts[name] = {"skipped": f"{error.name} is not installed"}
            except Exception as error:
                traceback.print_exc()
                facts[name] = {"failed": True, "error": f"{type(error).__name__}: {error}"}
            facts[name]["at"] = round(check.seconds)
            check.say(f"{name}: {json.dumps(facts[name], default=str)}")
            (args.output / "gpu.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")
    failed = [name for name in PARTS if facts.get(name, {}).get("failed")]
    check.say(f"failed: {', '.join(failed)}" if failed else "all went well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
