"""Two processes over gloo train as one with the whole batch does, and stop and go on together."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
from drawn import tiny_recipe

from tmaseg.training import to_toml, train
from tmaseg.training.job import load_state
from tmaseg.training.record import read_record

# Float sums in another order; measured 2e-6.
TOLERANCE = 1e-4


def launch(processes, arguments, **options):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [*command, "-m", "tmaseg", "train", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def losses(job):
    return [float(row["loss"]) for row in read_record(job.log) if row["loss"]]


def test_two_processes_have_the_loss_curve_of_one(job, tmp_path):
    # Scenes of three moments stay whole: one process gets three rows of ten, the other seven.
    memory = {"form": "mutual", "self_probability": 0.2, "moved_probability": 0.8, "frames_min": 2, "frames_max": 2}
    recipe = tiny_recipe(
        memory=memory,
        augmentation={"flip": 0.5},
        loss={"dropout": 0.0, "class_weights": "log"},
        optimizer={"lr": 1e-3, "batch": 10, "clip_norm": 5.0, "freeze": ["stem"]},
        run={"steps": 6},
    )
    alone = job(recipe, "alone")
    outcome = train(alone)
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    together = job(recipe, "together")
    arguments = ["--dataset", "folder", "--data", str(together.sources[0].root), "-o", str(together.output)]
    done = launch(2, [*arguments, "--preset", str(tmp_path / "recipe.toml"), "--device", "cpu", "--json"])
    message, _ = done.communicate(timeout=300)
    assert done.returncode == 0, message
    assert message.count('"scored_step"') == 1  # the first process alone speaks
    assert np.allclose(losses(alone), losses(together), rtol=TOLERANCE)
    assert abs(outcome.scores.miou["folder"] - float(read_record(together.log)[-1]["miou_folder"])) < 0.02
    one, two = (load_state(each.state)["net"] for each in (alone, together))
    assert one.keys() == two.keys()
    name = "backbone.layer3.0.bn1.running_var"
    assert np.allclose(one[name], two[name], rtol=0.02)


def test_sigterm_saves_the_run_of_both_processes_and_it_is_resumed(job, tmp_path):
    recipe = tiny_recipe(run={"steps": 100_000, "validate_every": 0})
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    mine = job(recipe)
    arguments = ["--dataset", "folder", "--data", str(mine.sources[0].root), "-o", str(mine.output)]
    running = launch(
        2, [*arguments, "--preset", str(tmp_path / "recipe.toml"), "--device", "cpu"], start_new_session=True
    )
    deadline = time.monotonic() + 200
    while not mine.state.exists() and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.2)
    running.send_signal(signal.SIGTERM)
    message, _ = running.communicate(timeout=200)
    assert mine.state.exists(), message
    step = load_state(mine.state)["step"]
    assert "go on with" in message
    assert f"stopped after {step} steps" in message
    done = launch(2, ["-o", str(mine.output), "--resume", "--steps", str(step + 2), "--device", "cpu"])
    message, _ = done.communicate(timeout=300)
    assert done.returncode == 0, message
    assert len(losses(mine)) == step + 2
