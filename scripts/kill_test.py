"""Kills runs of `tmaseg run` at random moments, by SIGKILL, SIGTERM and SIGINT in turn.

    scripts/kill_test --kills 20 --seed 1

After each, a file under the final name must be whole: every frame and all sound decode. After SIGTERM and SIGINT no
part file may be left; what SIGKILL leaves must be gone after the next run that ends by itself. Exits with 1 otherwise.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from forked import frames_of, start, write_weights

from tmaseg.video import DEMO

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def command(folder: Path, seconds: float) -> list[str]:
    options = ("--end", str(seconds), "--size", "96", "--precision", "fp32", "--device", "cpu", "--compile", "off")
    outputs = ("-o", str(folder / "out" / "out.mp4"), "--stats", str(folder / "out" / "stats.csv"), "--overwrite")
    return ["run", str(DEMO), *outputs, "--weights", str(folder / "weights.safetensors"), *options]


def wait(process: int) -> int:
    """The exit code, negative for a signal that ended the process."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def faults_of(folder: Path, number: signal.Signals, code: int) -> list[str]:
    """What is wrong after a run that got the signal."""
    names, faults = sorted(path.name for path in (folder / "out").iterdir()), []
    if number is signal.SIGKILL:
        names = [name for name in names if not name.endswith(".part")]
    elif code not in (0, CODES[number], -number):  # the last: before anything was begun
        faults.append(f"it ended with {code}: {(folder / 'said').read_text()[-500:]}")
    if not set(names) <= {"out.mp4", "stats.csv"}:
        faults.append(f"{', '.join(names)} lie there")
    video, stats = folder / "out" / "out.mp4", folder / "out" / "stats.csv"
    try:
        frames = frames_of(video) if video.exists() else None
    except Exception as error:
        return [*faults, f"{video.name} is not whole: {error}"]
    rows = len(stats.read_text().splitlines()) - 1 if stats.exists() else None
    if number is not signal.SIGKILL and rows != frames:
        faults.append(f"{frames} frames, but {rows} rows of statistics")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="of the demo clip that a run takes")
    arguments = parser.parse_args()
    chance, folder = random.Random(arguments.seed), Path(tempfile.mkdtemp(prefix="tmaseg-kill-"))
    (folder / "out").mkdir()
    write_weights(folder / "weights.safetensors")
    begun = time.monotonic()
    assert wait(start(command(folder, arguments.seconds), folder / "said")) == 0, (folder / "said").read_text()
    length, wrong = time.monotonic() - begun, 0
    for kill in range(arguments.kills):
        for path in (folder / "out").glob("*.*") if kill % 2 else ():  # half of the runs replace a file
            path.unlink()
        number, moment = SIGNALS[kill % len(SIGNALS)], chance.uniform(0.05, 1.05) * length
        process = start(command(folder, arguments.seconds), folder / "said")
        time.sleep(moment)
        os.kill(process, number)
        code = wait(process)
        faults = faults_of(folder, number, code)
        wrong += bool(faults)
        left = sum(path.name.endswith(".part") for path in (folder / "out").iterdir())
        print(f"{kill + 1:3} {number.name} after {moment:.2f} of {length:.2f} s: exit {code}, {left} part files left")
        for fault in faults:
            print(f"    wrong: {fault}")
    assert wait(start(command(folder, arguments.seconds), folder / "said")) == 0, (folder / "said").read_text()
    names = sorted(path.name for path in (folder / "out").iterdir())
    if names != ["out.mp4", "stats.csv"]:
        wrong += 1
        print(f"wrong: after a run that ended by itself {', '.join(names)} lie there")
    shutil.rmtree(folder)
    print(f"{arguments.kills} kills, seed {arguments.seed}: {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
