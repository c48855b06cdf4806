"""Learning rates by step and time; parameter groups; the moving average."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_net

from tmaseg.training.recipe import Optimizer, Recipe, Run
from tmaseg.training.trainer import Schedule, make_optimizer, moving_average


def schedule(*, steps=80_000, minutes=0.0, **optimizer):
    return Schedule(Recipe(optimizer=Optimizer(lr=0.01, **optimizer), run=Run(steps=steps, minutes=minutes)))


@given(st.sampled_from(["poly", "cosine"]), st.integers(2, 200), st.integers(0, 50))
def test_the_rate_rises_in_the_warm_up_then_falls_to_zero(kind, steps, warmup):
    mine = schedule(steps=steps, lr_schedule=kind, warmup=warmup)
    rates = [mine.lr(step, mine.progress(step, 0)) for step in range(steps)]
    assert abs(rates[0] - 0.01 * (1 / warmup if warmup else 1)) < 1e-9
    warm = min(warmup, math.ceil(steps / 10))
    assert rates[:warm] == sorted(rates[:warm])
    after = rates[warm:]
    assert after == sorted(after, reverse=True)
    assert all(0 <= rate <= 0.01 + 1e-12 for rate in rates)
    assert mine.progress(steps, 0) == 1
    assert mine.lr(10**9, 1.0) < 1e-12


def test_poly_is_the_papers_formula_and_time_stands_in_for_steps():
    by_steps, timed = schedule(), schedule(minutes=10)
    assert by_steps.lr(20_000, by_steps.progress(20_000, 5)) == 0.01 * 0.75**0.9
    assert timed.progress(5, 150) == 0.25
    assert timed.lr(5, timed.progress(5, 150)) == 0.01 * 0.75**0.9
    assert timed.progress(5, 700) == 1
    assert timed.seconds_left(5, 150, (0, 0)) == 450
    assert by_steps.seconds_left(100, 60, (40, 30)) == (80_000 - 100) / 2


@pytest.mark.parametrize("algorithm", ["sgd", "adamw"])
def test_each_parameter_has_its_rate_and_with_adamw_norms_and_biases_do_not_decay(algorithm):
    net = tiny_net()
    net.backbone.layer1.requires_grad_(False)
    optimizer = make_optimizer(net, Optimizer(algorithm=algorithm, lr=0.1, weight_decay=0.01, backbone_lr=0.5))
    groups = {id(value): group for group in optimizer.param_groups for value in group["params"]}
    for name, value in net.named_parameters():
        if name.startswith("backbone.layer1"):
            assert id(value) not in groups
            continue
        group = groups[id(value)]
        scale = 0.5 if name.startswith("backbone") else 1.0
        assert (group["lr"], group["scale"]) == (0.1 * scale, scale), name
        assert group["weight_decay"] == (0.01 if algorithm == "sgd" or value.ndim > 1 else 0.0), name


def test_the_average_forgets_its_beginning_and_then_moves_slowly():
    net = tiny_net()
    average = moving_average(net, 0.9)
    weight, mean = net.head.classifier.weight, average.module.head.classifier.weight
    values = []
    for step in range(104):
        with torch.no_grad():
            weight.fill_(float(5 <= step < 100))
        average.update_parameters(net)
        values.append(float(mean.detach().mean()))
    assert values[4] == 0
    assert values[5] > 0.5  # early on the newest counts most
    assert 1 - values[9] == pytest.approx((1 - values[8]) * 10 / 19, rel=1e-4)
    assert values[99] > 0.999
    assert values[103] == pytest.approx(values[99] * 0.9**4, rel=1e-4)
