"""The paper's tables 1 to 3 on CamVid: memory length, sampling, key channels, aggregation, encoder.

    scripts/ablation --data ../shared/data/camvid -o RUNS --table 1 --seeds 3 --steps 3000 --size 240

Each cell is trained from the same recipe but for what its row says, once for each seed, and scored with its last
weights (none are chosen by their score) on every frame of a split. Run it again to go on: finished cells are kept,
a broken one goes on where it stopped. The tables are written to RUNS/tables.md after each cell, and what all cells
share to RUNS/base.toml: a folder holds cells of one such recipe.
"""

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tmaseg.data import open_dataset
from tmaseg.errors import ConfigError, TmasegError
from tmaseg.evaluation import EvalOptions, evaluate
from tmaseg.inference.segmenter import load_network
from tmaseg.signals import StopRequest
from tmaseg.training import (
    Callback,
    Recipe,
    Source,
    StepReport,
    TrainJob,
    load_recipe,
    override,
    resumed,
    to_toml,
    train,
)

LENGTHS = (0, 1, 2, 4, 6)
KEYS = (32, 64, 128, 256)
FIGURES = (
    ("mIoU", "miou", 100.0),
    ("VC8", "vc8", 100.0),
    ("TC", "tc", 100.0),
    ("GMACs", "gmacs", 1.0),
    ("min", "minutes", 1.0),
)


@dataclass(frozen=True)
class Cell:
    """One network of a table."""

    title: str
    settings: tuple[str, ...]
    """Beyond what all cells share; the first is its T."""

    @property
    def name(self) -> str:
        """Of its folder: the same network in two tables is trained once."""
        return "_".join(setting.replace("=", "-") for setting in self.settings)


@dataclass(frozen=True)
class Table:
    """One table of the paper."""

    title: str
    cells: tuple[Cell, ...]


def tables(length: int) -> dict[str, Table]:
    """The tables, about the network whose T is `length`."""

    def cell(title: str, *settings: str, frames: int = length) -> Cell:
        return Cell(title, (f"memory_frames={frames}", *settings))

    def memory(frames: int) -> Cell:
        return cell(f"T = {frames}" if frames else "baseline, no memory", frames=frames)

    def keys(channels: int) -> Cell:
        return cell(f"Ck = {channels}, Cv = {4 * channels}", *[f"key_channels={channels}"] * (channels != 64))

    return {
        "1": Table("memory length", tuple(memory(frames) for frames in LENGTHS)),
        "1s": Table("sampling of memory frames", (cell("continuous"), cell("random", "sampling=random"))),
        "2": Table("key and value channels", tuple(keys(channels) for channels in KEYS)),
        "2a": Table(
            "aggregation",
            (cell("concat"), cell("sum", "aggregation=sum"), cell("decoder", "aggregation=decoder")),
        ),
        "3": Table(
            "encoder",
            (cell("1x1", "encoder=1x1"), cell("3x3", "encoder=3x3"), cell("1x1 then 3x3")),
        ),
    }


def base_recipe(args: argparse.Namespace) -> Recipe:
    """What all cells share: the preset, but at output stride 16 and concat, remembering real and moved frames."""
    settings = [
        *("output_stride=16", "aggregation=concat", "encoder=1x1+3x3", "key_channels=64", "sampling=continuous"),
        *(
            "form=clip",
            "self_probability=0",
            "moved_probability=0.5",
            "past_probability=0.5",
            "frames_min=0",
            "frames_max=0",
        ),
        *(f"size={args.size}", f"crop={args.crop}", f"batch={args.batch}", f"precision={args.precision}"),
        *("validate_every=0", "val_split=", f"threads={args.threads}", "save_every=100"),
    ]
    length = [f"minutes={args.minutes}"] if args.minutes else ["minutes=0", f"steps={args.steps}"]
    return override(load_recipe(args.preset), [*settings, *length, *args.set])


def keep_base(base: Recipe, folder: Path) -> None:
    """Writes down what the cells in a folder share. Raises ConfigError where those there share something else."""
    path = folder / "base.toml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(to_toml(base), encoding="utf-8")
        return
    old, new = flat(load_recipe(path)), flat(base)
    names = [name for name in sorted({*old, *new} - {"run.threads"}) if old.get(name) != new.get(name)]
    if names:
        said = ", ".join(f"{name} was {old.get(name, 'not set')} and is {new.get(name, 'not set')}" for name in names)
        raise ConfigError(f"the cells in {folder} were made otherwise ({said}): ask for the same, or another folder")


def flat(recipe: Recipe) -> dict[str, Any]:
    """Every value of a recipe, by "group.name"."""
    values: dict[str, Any] = {}
    for name, value in recipe.model_dump(mode="json").items():
        values |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return values


class Line(Callback):
    """One line on the terminal that says how far the cell is."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title

    def step_done(self, report: StepReport) -> None:
        if self._console.is_terminal and report.step % 10 == 0:
            left = "" if report.left_seconds is None else f", {report.left_seconds / 60:.0f} min left"
            self._console.print(f"{self._title}: {report.progress:.0%}, loss {report.loss:.3f}{left}", end="\r")


def run_cell(
    cell: Cell, seed: int, args: argparse.Namespace, stop: StopRequest, console: Console
) -> dict[str, Any] | None:
    """Trains and scores a cell, or reads what it scored before; None when it was stopped."""
    folder = args.output / cell.name / f"seed{seed}"
    found = folder / f"result-{args.split}.json"
    if found.exists():
        result: dict[str, Any] = json.loads(found.read_text())
        return result
    recipe = override(base_recipe(args), [f"seed={seed}", *cell.settings])
    job = TrainJob(recipe, (Source("camvid", args.data),), folder, args.device)
    if job.state.exists():
        job = resumed(folder, device=args.device)
    outcome = train(job, Line(console, f"{cell.title}, seed {seed}"), stop=stop)
    if outcome.interrupted:
        return None
    weights = load_network(job.last, device=args.device, precision=args.precision)
    scored = evaluate(open_dataset("camvid", args.data), weights, EvalOptions(split=args.split))
    assert scored is not None
    first = scored.to_dict()
    result = {name: first[name] for name in ("miou", "vc8", "vc16", "tc", "images", "classes")}
    result |= {"gmacs": first["gmacs_per_frame"], "minutes": outcome.seconds / 60, "steps": outcome.steps}
    found.write_text(json.dumps(result, indent=2) + "\n")
    return result


def show(table: Table, results: dict[tuple[str, int], dict[str, Any]], seeds: int) -> str:
    """A table in Markdown: means over the seeds, and how far they spread (standard deviation)."""
    lines = [f"**{table.title}**", "", f"| | {' | '.join(name for name, _, _ in FIGURES)} | seeds |"]
    lines.append("|---" * (len(FIGURES) + 2) + "|")
    for cell in table.cells:
        rows = [results[cell.name, seed] for seed in range(seeds) if (cell.name, seed) in results]
        shown = [figure([row[key] for row in rows], factor) for _, key, factor in FIGURES]
        lines.append(f"| {cell.title} | {' | '.join(shown)} | {len(rows)} |")
    return "\n".join(lines)


def figure(values: list[float | None], factor: float) -> str:
    known = [factor * value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.2f}{spread}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CamVid, in any of its layouts")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--table", action="append", help="1 (T), 1s (sampling), 2 (Ck), 2a (aggregation), 3 (encoder)")
    parser.add_argument("--row", action="append", help='only rows of this title, such as "T = 4"; repeatable')
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000, help="of each cell")
    parser.add_argument("--minutes", type=float, help="of each cell, instead of steps")
    parser.add_argument("--preset", default="scratch")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any value of the recipe")
    parser.add_argument("--length", type=int, default=4, help="T, where a table is about something else")
    parser.add_argument("--size", type=int, default=240, help="short side at which pictures are shown")
    parser.add_argument("--crop", default="288x224")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--split", default="val")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    console = Console(stderr=True, highlight=False)
    every = tables(args.length)
    unknown = [name for name in args.table or [] if name not in every]
    if unknown:
        console.print(f"error: no table {unknown[0]}: choose {', '.join(every)}")
        return 2
    chosen = {name: every[name] for name in args.table or every}
    rows = [cell.title for table in chosen.values() for cell in table.cells]
    unknown = [row for row in args.row or [] if row not in rows]
    if unknown:
        console.print(f"error: no row {unknown[0]!r} here: choose {'; '.join(dict.fromkeys(rows))}", markup=False)
        return 2
    try:
        keep_base(base_recipe(args), args.output)
    except TmasegError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    results: dict[tuple[str, int], dict[str, Any]] = {}
    with StopRequest(repeat_seconds=2.0) as stop:
        # Seeds outside: after the first round every row of every table has a figure.
        for seed in range(args.seeds):
            for cell in {cell.name: cell for table in chosen.values() for cell in table.cells}.values():
                titles = {other.title for table in chosen.values() for other in table.cells if other.name == cell.name}
                if args.row and not titles & set(args.row):
                    continue
                try:
                    result = run_cell(cell, seed, args, stop, console)
                except TmasegError as error:
                    console.print(f"error: {cell.title}: {error}", markup=False)
                    return 1
                if result is None:
                    console.print("stopped; run it again to go on")
                    return stop.exit_code
                results[cell.name, seed] = result
                text = "\n\n".join(
                    f"Table {name}: {show(table, results, args.seeds)}" for name, table in chosen.items()
                )
                (args.output / "tables.md").write_text(text + "\n")
                console.print(f"{cell.title}, seed {seed}: mIoU {100 * result['miou']:.2f} %", markup=False)
    print((args.output / "tables.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
