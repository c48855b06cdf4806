"""What a frame costs on this machine.

rows      Row: a measured way to process a frame: timing, peak memory, the network's forms
stages    decode, convert, network, render, encode of a video
report    run_bench: all of it, with cost against memory length and frame size, as a BenchReport
"""

from tmaseg.benchmark.report import BenchReport, Curves, draw_curves, run_bench
from tmaseg.benchmark.rows import Case, Row, measure, ratios
from tmaseg.options import BenchOptions

__all__ = ["BenchOptions", "BenchReport", "Case", "Curves", "Row", "draw_curves", "measure", "ratios", "run_bench"]
