"""What a frame costs on this machine.

rows      Row: a measured way to process a frame; timing and peak memory
forms     the network's forms: clip recomputed, one streaming step, memory off
stages    decode, convert, network, render, encode of a video
curves    cost against memory length and against frame size, and their plot
report    run_bench: all of it, as a BenchReport
"""

from tmaseg.benchmark.curves import Curves, draw_curves
from tmaseg.benchmark.report import BenchReport, run_bench
from tmaseg.benchmark.rows import Case, Row, measure, ratios
from tmaseg.options import BenchOptions

__all__ = ["BenchOptions", "BenchReport", "Case", "Curves", "Row", "draw_curves", "measure", "ratios", "run_bench"]
