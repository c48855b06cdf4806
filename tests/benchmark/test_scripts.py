"""scripts/bench and scripts/bench_gpu: what they write, and what the second says where there is no GPU."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from tiny import tiny_config

from tmaseg.inference.compiler import can_compile

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
    page = script["page"](found, card="NVIDIA H100 PCIe", name="NVIDIA H100 PCIe, Xeon L4", words=[], peak=None)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")][1:]
    assert [row[:2] for row in rows] == [[each.form, each.variant.title] for each in found]
    assert all(float(row[2]) > 0 for row in rows)

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


@pytest.mark.parametrize(
    ("card", "bf16", "tf32"),
    [
        ("NVIDIA H100 PCIe", 756, 378),
        ("NVIDIA H100 80GB HBM3", 989, 494),
        ("NVIDIA A100-SXM4-80GB", 312, 156),
        ("NVIDIA GeForce RTX 4090", 165, 82.6),
        ("NVIDIA L40S", 362, 183),
        ("NVIDIA L4", 121, 60),
        ("NVIDIA L40", None, None),  # neither an L4 nor an L40S
        ("NVIDIA GH200 480GB", None, None),
        ("NVIDIA GeForce RTX 40900", None, None),
    ],
)
def test_a_card_is_known_by_whole_words_of_its_name(card, bf16, tf32):
    script = runpy.run_path(str(SCRIPTS / "bench_gpu.py"))
    known, peak = {variant.title: variant for variant in script["VARIANTS"]}, script["peak_tflops"]
    assert peak(card, known["bf16"], None) == bf16
    assert peak(card, known["TF32"], None) == tf32
    assert peak(card, known["bf16"], 500.0) == 500
    assert bf16 is not None or peak(card, known["fp32"], 500.0) is None


@pytest.mark.parametrize("name", ["heads of 256", "chunks", "FlexAttention", "cuDNN"])
def test_attention_variants_agree_with_read_memory_or_say_why_not(name):
    script = runpy.run_path(str(SCRIPTS / "bench_gpu.py"))
    (variant,) = (each for each in script["VARIANTS"] if each.attention == name)
    failure = script["attention_failure"](variant, torch.device("cpu"))
    runs_here = name != "cuDNN" and (name != "FlexAttention" or can_compile())
    assert bool(failure) != runs_here, failure


def test_an_attention_that_reads_something_else_is_not_measured(monkeypatch):
    script = runpy.run_path(str(SCRIPTS / "bench_gpu.py"))
    (variant,) = (each for each in script["VARIANTS"] if each.attention == "chunks")
    asked = []

    def scaled(rows, keys, values):
        asked.append(rows.shape)
        return script["chunked"](rows * 0.9, keys, values)

    monkeypatch.setitem(script["ATTENTION"], "chunks", scaled)
    monkeypatch.setitem(script["results"].__globals__, "VARIANTS", (variant,))
    (result,) = script["results"](tiny_config(), (64, 96), torch.device("cpu"), 1)
    assert len(asked) == 1  # what it is compared with was read in the usual way
    assert result.failure.startswith("disagrees with read_memory by")
    monkeypatch.setitem(
        script["ATTENTION"], "chunks", lambda *all_of_it: asked.append(0) or script["chunked"](*all_of_it)
    )
    found = list(script["results"](tiny_config(), (64, 96), torch.device("cpu"), 1))
    assert all(each.row for each in found)
    assert asked.count(0) > 1  # the network itself reads by it
    attend = len(asked)
    read = torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    script["read_memory"](*read)
    assert len(asked) == attend  # and nobody afterwards
