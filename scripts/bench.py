"""What the README quotes of this machine: tables on standard output, a JSON file for each, and the curves.

    scripts/bench                                  # everything, into build/bench
    scripts/bench --only street --compile on

street      the shipped weights at 480x360: forms, precisions, each stage of a run on the demo clip, curves
camvid      the authors' network for CamVid (ResNet-50, stride 8, T = 4, an encoder for each slot) at 480x360
cityscapes  multiply-adds of their network for Cityscapes at 769x769, T = 2, counted only: the paper says 754
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from tmaseg.benchmark import BenchOptions, draw_curves, run_bench
from tmaseg.cli.tables import show_bench
from tmaseg.errors import TmasegError

RUNS = {
    "street": BenchOptions(plot=Path("street.png")),
    "camvid": BenchOptions(paper="camvid"),
    "cityscapes": BenchOptions(paper="cityscapes", frame="769x769", count_only=True),
}


def measure(name: str, args: argparse.Namespace) -> None:
    """One run: its table on standard output, its files in the folder."""
    options = RUNS[name]
    if not options.count_only:
        precisions, plot = tuple(args.precisions.split(",")), None if args.no_curves else options.plot
        options = replace(options, compile=args.compile, precisions=precisions, repeats=args.repeats, plot=plot)
    report = run_bench(
        options,
        device="auto" if options.count_only else args.device,
        progress=lambda line: print(f"{name}: measuring {line}", file=sys.stderr),
    )
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / f"{name}.json").write_text(json.dumps(report.to_dict(), indent=2) + "\n")
    if report.curves:
        draw_curves(report.curves, report.headline, args.output / f"{name}.png")
    print(f"\n{report.machine}")
    show_bench(report)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("build/bench"), help="folder of JSON files and curves"
    )
    parser.add_argument("--only", action="append", choices=RUNS, help="this run alone; repeatable")
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--compile", choices=("on", "off"), default="off", help="also measure compiled networks")
    parser.add_argument("--no-curves", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    for name in args.only or RUNS:
        try:
            measure(name, args)
        except TmasegError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
