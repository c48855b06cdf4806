"""What a frame costs on this machine: the network in its forms, each stage of a run, and curves of both.

options   BenchOptions: what to measure
subject   the network that they mean, with its labels
forms     the ways to do a frame: the clip recomputed, one step of a stream, a frame alone
timing    measures cases in turn; peak: the memory they take
stages    decode, convert, network, render, encode of a video
curves    cost against memory length and against frame size; figure: drawn
machine   what it all ran on
report    Report: rows and their ratios
run       run_bench: all of it
"""

from tmaseg.benchmark.curves import Curves, Point
from tmaseg.benchmark.figure import draw_curves
from tmaseg.benchmark.forms import network_cases
from tmaseg.benchmark.machine import machine
from tmaseg.benchmark.options import BenchOptions
from tmaseg.benchmark.report import Report
from tmaseg.benchmark.row import Row, ratios
from tmaseg.benchmark.run import run_bench
from tmaseg.benchmark.timing import Case, measure

__all__ = [
    "BenchOptions",
    "Case",
    "Curves",
    "Point",
    "Report",
    "Row",
    "draw_curves",
    "machine",
    "measure",
    "network_cases",
    "ratios",
    "run_bench",
]
