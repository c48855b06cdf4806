from tiny import tiny_net

from tmaseg.benchmark import Row, measure, network_cases, ratios


def test_every_form_and_precision_is_measured():
    rows = measure(network_cases(tiny_net(), (48, 64), ("fp32", "bf16")), repeats=2)
    assert [row.name for row in rows] == [
        f"{form} {precision}" for precision in ("fp32", "bf16") for form in ("clip", "stream", "alone")
    ]
    assert all(row.seconds_per_frame > 0 for row in rows)
    assert set(ratios(rows)) == {"stream over clip, fp32", "stream over clip, bf16", "bf16 over fp32, stream"}
    alone = measure(network_cases(tiny_net(memory_frames=0), (48, 64), ("fp32",)), repeats=1)
    assert [row.name for row in alone] == ["alone fp32"]


def test_ratios_are_of_the_pairs_that_were_measured():
    assert ratios([Row("clip fp32", 6.0), Row("stream fp32", 2.0), Row("stream bf16", 0.5)]) == {
        "stream over clip, fp32": 3.0,
        "bf16 over fp32, stream": 4.0,
    }
