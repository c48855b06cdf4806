"""scripts/bench and scripts/bench_gpu: what they write, and what the second says where there is no GPU."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from tiny import tiny_config

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
    return end.value.code


def test_bench_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "bench", "--only", "cityscapes", "-o", tmp_path) == 0
    assert json.loads((tmp_path / "cityscapes.json").read_text())["rows"][0]["gmacs_paper"] == 753.48
    assert "753.5" in capsys.readouterr().out


def test_without_a_gpu_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(monkeypatch, "bench_gpu") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "no usable CUDA device" in told.err
    assert len(told.err.splitlines()) == 1


def test_every_variant_becomes_a_row(monkeypatch):
    """The same steps with a tiny network on the CPU; compiling and fp16 are left to machines for them."""
    script = runpy.run_path(str(SCRIPTS / "bench_gpu.py"))
    known = {variant.title: variant for variant in script["VARIANTS"]}
    chosen = (known["TF32"], known["bf16, kernels tried"])
    monkeypatch.setitem(script["results"].__globals__, "VARIANTS", chosen)
    before = torch.backends.cudnn.allow_tf32
    found = list(script["results"](tiny_config(), (64, 96), torch.device("cpu"), 1))
    assert torch.backends.cudnn.allow_tf32 == before
    assert [(each.form, each.variant) for each in found] == [
        (form, variant) for variant in chosen for form in ("clip", "stream", "alone", "run")
    ]
    page = script["page"](found, name="NVIDIA H100 PCIe", words=[], peak=None)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")][1:]
    assert [row[:2] for row in rows] == [[each.form, each.variant.title] for each in found]
    assert all(float(row[2]) > 0 for row in rows)

    peak = script["peak_tflops"]
    assert peak("NVIDIA H100 PCIe", known["bf16"], None) == 756
    assert peak("NVIDIA H100 80GB HBM3", known["bf16"], None) == 989
    assert peak("NVIDIA L40S", known["TF32"], None) == 183
    assert peak("NVIDIA Z1", known["bf16"], 500.0) == 500
    assert peak("NVIDIA Z1", known["fp32"], 500.0) is None
    seconds, gmacs = found[1].row.seconds_per_frame, found[1].row.work.total
    line = script["line"](found[1], 100.0)
    assert f"{100 * 2 * gmacs / 1000 / seconds / 100.0:.1f} %" in line


def test_a_variant_that_fails_is_told_in_its_row():
    script = runpy.run_path(str(SCRIPTS / "bench_gpu.py"))

    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    case = script["Case"]("clip ", fail, torch.device("cpu"))
    result = script["attempt"](script["VARIANTS"][0], case, 1)
    assert script["line"](result, None).startswith("| clip | fp32 | CUDA out of memory |")
