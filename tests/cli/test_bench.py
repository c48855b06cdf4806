import json

from tiny import tiny_checkpoint
from typer.testing import CliRunner

from tmaseg.cli import app
from tmaseg.model.checkpoint import save_checkpoint


def test_bench_tells_of_network_and_stages_in_one_object(tmp_path):
    weights = tmp_path / "tiny.safetensors"
    save_checkpoint(weights, tiny_checkpoint())
    command = ["bench", "--weights", str(weights), "--frame", "64x48", "--repeats", "1", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    names = [row["name"] for row in told["rows"]]
    assert names[:3] == ["clip fp32", "stream fp32", "alone fp32"]
    assert names[-5:] == ["decode", "model", "render", "encode", "all stages, one after the other"]
    assert all(row["seconds_per_frame"] > 0 for row in told["rows"])
    assert told["rows"][0]["gmacs"] >= told["rows"][1]["gmacs"]
    assert "stream over clip, fp32" in told["ratios"]


def test_bench_refuses_a_size_that_is_none(tmp_path):
    result = CliRunner().invoke(app, ["bench", "--frame", "64"])
    assert result.exit_code == 1
    assert "WIDTHxHEIGHT" in result.stderr
