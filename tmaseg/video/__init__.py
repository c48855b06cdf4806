"""Video and images in and out: PyAV and NumPy, no torch."""

from pathlib import Path

DEMO = Path(__file__).parents[1] / "demo.mp4"
"""A short real clip that ships with the program: a motorway, 3.6 s of 960x540 at 25 frames a second, with sound."""
