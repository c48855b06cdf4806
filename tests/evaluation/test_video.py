"""Flicker of a video without ground truth: still pictures do not flicker, noisy ones do, cuts are no flicker."""

import numpy as np
import pytest
from scenes import Pictures, noise

from tmaseg.evaluation import EvalOptions, evaluate_video


def test_a_still_video_does_not_flicker(weights):
    result = evaluate_video(Pictures([noise(0)] * 6), weights(), EvalOptions(memories=(None, 0)))
    report = result.to_dict()
    for each in report["passes"]:
        assert (each["pairs"], each["flicker"], each["changed"], each["tc"]) == (5, 0, 0, 1)
    assert [row["memory_frames"] for row in report["passes"]] == [3, 0]
    assert report["images"] == 6
    assert report["notes"] == ["a warning"]


def test_noise_flickers_and_memory_is_compared(weights):
    rng = np.random.default_rng(0)
    noisy = [np.clip(noise(0) + rng.normal(0, 25, (48, 64, 3)), 0, 255).astype(np.uint8) for _ in range(8)]
    told = []
    result = evaluate_video(
        Pictures(noisy), weights(), EvalOptions(memories=(None, 0), limit=6), progress=lambda *now: told.append(now)
    )
    flickers = [each["flicker"] for each in result.pass_values()]
    assert all(0 < value < 1 for value in flickers)
    assert flickers[0] != flickers[1]
    assert told == [(count, 6) for count in range(1, 7)]
    times = [seconds for seconds, _ in result.passes[0].flicker_at]
    assert times == pytest.approx([index / 25 for index in range(6)])


def test_a_cut_is_no_flicker(weights):
    result = evaluate_video(Pictures([noise(1)] * 4 + [noise(2)] * 4), weights(), EvalOptions())
    (each,) = result.pass_values()
    assert each["memory_resets"] == 1
    assert (each["pairs"], each["flicker"]) == (6, 0)
    assert np.isnan(result.passes[0].flicker_at[4][1])
