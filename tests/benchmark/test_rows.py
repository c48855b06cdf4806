import pytest
import torch
from tiny import tiny_checkpoint, tiny_net
from torch.utils.flop_counter import FlopCounterMode

from tmaseg.benchmark import Row, measure, ratios
from tmaseg.benchmark.rows import form_call, network_cases
from tmaseg.errors import ConfigError
from tmaseg.inference.device import peak_memory
from tmaseg.inference.engine import Engine

CPU = torch.device("cpu")


def test_every_form_and_precision_is_measured():
    rows = measure(network_cases(tiny_checkpoint(), (48, 64), CPU, ("fp32", "bf16")), repeats=2)
    assert [row.name for row in rows] == [
        f"{form} {precision}" for precision in ("fp32", "bf16") for form in ("clip", "stream", "alone")
    ]
    assert all(row.seconds_per_frame > 0 and row.first_seconds > 0 for row in rows)
    assert set(ratios(rows)) == {
        *("stream over clip, fp32", "stream over clip, bf16", "bf16 over fp32, stream"),
        *("memory off over on, fp32", "memory off over on, bf16"),
    }
    alone = measure(network_cases(tiny_checkpoint(memory_frames=0), (48, 64), CPU, ("fp32",)), repeats=1)
    assert [row.name for row in alone] == ["alone fp32"]


@pytest.mark.parametrize("kind", ["shared", "per-slot"])
def test_what_is_timed_is_what_is_counted(kind):
    for case in network_cases(tiny_checkpoint(memory_encoder=kind), (48, 64), CPU, ("fp32",)):
        case.run()  # a stream's first frame fills its memory
        with FlopCounterMode(display=False) as counter:
            case.run()
        assert counter.get_total_flops() / 2e9 == pytest.approx(case.macs.total), case.name


def test_the_forms_answer_alike_when_they_see_the_same(monkeypatch):
    engine = Engine(tiny_net())
    monkeypatch.setattr(torch, "randn", lambda *shape, device: torch.full(shape, 0.3, device=device))
    one, other = (form_call(engine, (48, 64), form) for form in ("clip", "stream"))
    for _ in range(2):
        torch.testing.assert_close(one(), other(), rtol=1e-4, atol=1e-4)


def test_compiled_rows_stand_beside_the_others(monkeypatch):
    def pretend(engine):
        engine.compiled = True

    monkeypatch.setattr(Engine, "compile", pretend)
    rows = measure(network_cases(tiny_checkpoint(), (48, 64), CPU, ("fp32",), compiled=True), repeats=1)
    assert [row.name for row in rows][3:] == ["stream fp32 compiled", "alone fp32 compiled"]
    assert {"compiled over not, stream fp32", "compiled over not, alone fp32"} <= set(ratios(rows))


def test_what_falls_back_is_not_told_as_compiled(monkeypatch):
    def fail(engine):
        engine.compiled, engine.failure = True, "torch.compile failed (no such header)"

    monkeypatch.setattr(Engine, "compile", fail)
    with pytest.raises(ConfigError, match="no such header"):
        measure(network_cases(tiny_checkpoint(), (48, 64), CPU, ("fp32",), compiled=True), repeats=1)


def test_ratios_are_of_the_pairs_that_were_measured():
    assert ratios([Row("clip fp32", 6.0), Row("stream fp32", 2.0), Row("stream bf16", 0.5)]) == {
        "stream over clip, fp32": 3.0,
        "bf16 over fp32, stream": 4.0,
    }


def test_peak_memory_is_measured():
    peak, working = peak_memory(lambda: torch.ones(40 * 2**18), CPU)  # 40 MB
    if peak is None:
        pytest.skip("this system does not tell")
    assert 35 < working < 60
    assert peak > working
