"""Report: everything that was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tmaseg.benchmark.curves import Curves
from tmaseg.benchmark.row import Row, ratios


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `tmaseg bench` tells."""

    title: str
    """The network, for people."""
    machine: str
    device: str
    size_hw: tuple[int, int]
    memory_frames: int
    """T."""
    rows: Sequence[Row]
    """The network in its forms and precisions, then the stages of a run."""
    attention: Mapping[str, str] = field(default_factory=dict)
    """By precision: "fused", or "explicit", a part of the matrix at a time."""
    run_precision: str | None = None
    """The precision that stages and curves were measured in; None: neither was."""
    curves: Curves | None = None

    @property
    def headline(self) -> str:
        """Over its curves: what was measured, in which precision, where."""
        return f"{self.title}, {self.run_precision}, on {self.machine}"

    @property
    def frame(self) -> str:
        """WIDTHxHEIGHT."""
        height, width = self.size_hw
        return f"{width}x{height}"

    @property
    def ratios(self) -> dict[str, float]:
        """How many times faster one row is than another."""
        return ratios(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        told: dict[str, Any] = {
            "network": self.title,
            "machine": self.machine,
            "device": self.device,
            "frame": self.frame,
            "memory_frames": self.memory_frames,
            "attention": dict(self.attention),
            "run_precision": self.run_precision,
            "rows": [row.to_dict() for row in self.rows],
            "ratios": {name: round(value, 3) for name, value in self.ratios.items()},
        }
        return told | ({"curves": self.curves.to_dict()} if self.curves else {})
