"""Whole runs: they learn, go on exactly where they stopped, and survive what runs meet."""

import math
import resource
import time

import cv2
import numpy as np
import pytest
import torch
from drawn import tiny_recipe

from tmaseg.errors import CheckpointError, ConfigError, DataError, OutputError, TrainingError
from tmaseg.inference.segmenter import load
from tmaseg.model.checkpoint import load_checkpoint
from tmaseg.training import Callback, Source, ValidationScores, resumed, train
from tmaseg.training.batches import BatchMaker
from tmaseg.training.job import TrainJob, load_state, save_state
from tmaseg.training.record import read_record


def stop_after(steps):
    """A `stop` for `train` and the listener that makes it true."""
    listener = Recorder()
    return listener, lambda: len(listener.losses) >= steps


class Recorder(Callback):
    def __init__(self):
        self.losses, self.notes, self.scores = [], [], []

    def note(self, text):
        self.notes.append(text)

    def step_done(self, report):
        self.losses.append(report.loss)

    def validation_done(self, scores):
        self.scores.append(scores)


class StopsInValidation(Recorder):
    """Asks the run to end when the first frame is scored `after` so many steps."""

    def __init__(self, after):
        super().__init__()
        self.after, self.requested = after, False

    def frames_validated(self, _done, _total):
        self.requested = self.requested or len(self.losses) == self.after


def same(one, other):
    """Whether two states hold the same bits."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def rows_without_time(job):
    return [{**row, "seconds": ""} for row in read_record(job.log)]


def step_rows(job):
    return [row for row in read_record(job.log) if row["loss"]]


def comparable(job):
    state = load_state(job.state)
    del state["seconds"]
    return state


@pytest.mark.parametrize(
    "groups",
    [
        {},
        {
            "memory": {"form": "mutual", "frames_min": 1, "frames_max": 3, "hide_probability": 0.5},
            "augmentation": {
                "flip": 0.5,
                "scale_min": 0.7,
                "scale_max": 1.5,
                "noise_probability": 0.5,
                "light_probability": 1.0,
            },
            "optimizer": {"algorithm": "sgd", "lr": 0.02, "warmup": 3, "batch": 8, "accumulate": 2, "clip_norm": 1.0},
            "run": {"threads": 3, "precision": "bf16"},
        },
    ],
    ids=["clip, adamw", "mutual, sgd, bf16"],
)
def test_a_resumed_run_repeats_an_unbroken_one_bit_for_bit(job, groups):
    whole, broken = job(tiny_recipe(**groups), "whole"), job(tiny_recipe(**groups), "broken")
    train(whole)
    listener, stop = stop_after(3)
    assert train(broken, listener, stop=stop).interrupted
    assert load_checkpoint(broken.last).provenance["steps"] == 3
    assert train(resumed(broken.output, device="cpu")).steps == 8
    assert same(comparable(whole), comparable(broken))
    assert same(load_checkpoint(whole.best).state, load_checkpoint(broken.best).state)
    assert rows_without_time(whole) == rows_without_time(broken)
    assert len(step_rows(whole)) == 8
    # A crash loses what came after the last save: the log forgets it and the run does it again.
    listener, stop = stop_after(6)
    crashed = job(tiny_recipe(**groups), "crashed")
    with pytest.raises(RuntimeError, match="power"):
        train(crashed, listener, stop=lambda: stop() and _fail())
    assert len(step_rows(crashed)) == 6
    train(resumed(crashed.output, device="cpu"))
    assert same(comparable(whole), comparable(crashed))
    assert rows_without_time(crashed) == rows_without_time(whole)


def test_a_validation_that_was_stopped_is_done_when_the_run_is_resumed(job):
    whole, broken = job(tiny_recipe(), "whole"), job(tiny_recipe(), "broken")
    train(whole)
    for step in (4, 8):  # in the one on the way, then in the one at the end
        watch = StopsInValidation(after=4)
        begun = resumed(broken.output, device="cpu") if step == 8 else broken
        assert train(begun, watch, stop=lambda watch=watch: watch.requested).interrupted
        assert load_state(broken.state)["step"] == step
    assert not train(resumed(broken.output, device="cpu")).interrupted
    assert same(comparable(whole), comparable(broken))
    assert same(load_checkpoint(whole.best).state, load_checkpoint(broken.best).state)
    assert rows_without_time(whole) == rows_without_time(broken)
    assert [row["step"] for row in read_record(broken.log) if row["miou_folder"]] == ["4", "8"]


def test_a_run_that_is_resumed_knows_its_best_score_and_keeps_those_weights(job, monkeypatch):
    scores = iter([0.9, 0.5, 0.6, 0.7])
    monkeypatch.setattr(
        "tmaseg.training.loop.validate", lambda *_, **__: ValidationScores({"folder": next(scores)}, frames=3)
    )
    mine = job(tiny_recipe(run={"validate_every": 2}))
    listener, stop = stop_after(3)
    train(mine, listener, stop=stop)
    assert load_state(mine.state)["best"] == 0.9
    outcome = train(resumed(mine.output, device="cpu"))
    assert (outcome.best, outcome.scores.miou, outcome.scores.best) == (0.9, {"folder": 0.7}, False)
    assert load_checkpoint(mine.best).provenance["steps"] == 2
    assert load_checkpoint(mine.last).provenance["steps"] == 8


def test_the_backbone_learns_at_its_factor_of_the_learning_rate(job):
    def weights(**optimizer):
        settings = {"algorithm": "sgd", **optimizer}
        run = job(tiny_recipe(optimizer=settings, run={"steps": 1, "val_split": ""}), f"run{len(trained)}")
        train(run)
        trained.append(load_state(run.state)["net"])

    trained = []
    weights(lr=1e-12)
    weights(lr=0.1)
    weights(lr=0.1, backbone_lr=0.25)
    start, full, slow = trained
    for name, ratio in (("backbone.layer3.0.conv1.weight", 0.25), ("head.classifier.weight", 1.0)):
        assert (full[name] - start[name]).abs().max() > 1e-4
        assert torch.allclose(slow[name] - start[name], ratio * (full[name] - start[name]), atol=1e-6)


def test_a_run_is_interrupted_once_any_process_stops(job):
    requested = []

    def stop():  # as another process's wish: this one's is no longer there when it looks again
        requested.append(1)
        return len(requested) == 3

    outcome = train(job(tiny_recipe()), stop=stop)
    assert outcome.interrupted
    assert outcome.steps == 2


def test_resuming_keeps_the_precision_that_auto_chose_and_takes_one_that_is_set(job, monkeypatch):
    from tmaseg.inference.device import choose_precision

    measured = ["fp32", "bf16"]  # another prediction the next time
    monkeypatch.setattr(
        "tmaseg.training.loop.choose_precision",
        lambda name, device: measured.pop(0) if name == "auto" else choose_precision(name, device),
    )
    mine = job(tiny_recipe(run={"steps": 1, "precision": "auto", "validate_every": 0}))
    train(mine)
    train(resumed(mine.output, ("steps=2",), device="cpu"))
    state = load_state(mine.state)
    assert (state["step"], state["precision"], measured) == (2, "fp32", ["bf16"])
    assert not state["scaler"]
    train(resumed(mine.output, ("steps=3", "precision=fp16"), device="cpu"))
    state = load_state(mine.state)
    assert (state["step"], state["precision"]) == (3, "fp16")
    assert state["scaler"]


def test_a_run_is_resumed_without_its_initial_weights_and_not_with_other_classes(job):
    short = tiny_recipe(run={"steps": 1, "validate_every": 0})
    first = job(short, "first")
    train(first)
    second = job(short.model_copy(update={"init": str(first.last), "network": {}}), "second")
    train(second)
    first.last.unlink()
    assert train(resumed(second.output, ("steps=2",), device="cpu")).steps == 2
    assert load_checkpoint(second.last).config == load_checkpoint(first.best).config
    labels = second.sources[0].root / "labels.yaml"
    labels.write_text(labels.read_text().replace("ball", "egg"))
    with pytest.raises(ConfigError, match=r"began with the classes .*ball.* now have .*egg"):
        train(resumed(second.output, ("steps=3",), device="cpu"))


def test_the_files_of_a_run_are_replaced_whole_and_only_when_they_change(job, monkeypatch):
    mine = job(tiny_recipe())
    mine.prepare()
    files = [mine.output / name for name in ("recipe.toml", "run.json")]
    before = [(path.read_text(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    again = resumed(mine.output)
    again.prepare()
    assert [(path.read_text(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == before
    longer = resumed(mine.output, ("steps=99",))
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", _no_room)
        with pytest.raises(OutputError, match="No space"):
            longer.prepare()
    assert files[0].read_text() == before[0][0]
    longer.prepare()
    assert resumed(mine.output).recipe.run.steps == 99


def _no_room(_path, _target):
    raise OSError(28, "No space left on device")


def _fail():
    raise RuntimeError("the power went")


def test_it_overfits_eight_pictures_and_the_weights_stream(job):
    recipe = tiny_recipe(
        memory={"form": "mutual"}, optimizer={"lr": 4e-3, "batch": 8}, run={"steps": 150, "validate_every": 0}
    )
    mine = job(recipe)
    outcome = train(mine)
    segmenter = load(mine.last, device="cpu", precision="fp32")
    right = []
    for path in sorted((mine.sources[0].root / "images" / "train").iterdir()):
        segmenter.reset()
        labels = segmenter.step(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])).labels
        truth = cv2.imread(str(mine.sources[0].root / "masks" / "train" / path.name), cv2.IMREAD_UNCHANGED)
        right.append((labels == truth).mean())
    assert np.mean(right) > 0.95
    assert len(right) == 8
    card = load_checkpoint(mine.best)
    assert card.labels.names == ("ground", "sky", "box", "ball")
    assert card.provenance["steps"] == 150
    assert math.isclose(card.provenance["miou"]["folder"], outcome.scores.miou["folder"], abs_tol=1e-3)
    assert str(mine.output.parent) not in str(card.provenance)
    assert {"curves.png", "predictions", "log.csv", "recipe.toml"} <= {path.name for path in mine.output.iterdir()}


def test_the_best_weights_are_kept_and_scored_on_every_frame(job):
    events = Recorder()
    recipe = tiny_recipe(run={"steps": 12, "validate_every": 2, "validate_limit": 2})
    mine = job(recipe)
    outcome = train(mine, events)
    few, last = events.scores[:-1], events.scores[-1]
    assert [scores.step for scores in few] == [2, 4, 6, 8, 10, 12]
    assert {scores.frames for scores in few} == {2}
    best = max(few, key=lambda scores: scores.miou["folder"])
    assert (last.step, last.frames) == (best.step, 3)
    assert load_checkpoint(mine.best).provenance["steps"] == best.step == outcome.scores.step


@pytest.mark.parametrize(
    ("augmentation", "requested"), [({}, None), ({"size": 64}, 64), ({"size": 64, "input_size": 96}, 96)]
)
def test_the_weights_hold_the_input_size_of_the_recipe(job, augmentation, requested):
    made = job(tiny_recipe(augmentation=augmentation), "run")
    train(made)
    assert load_checkpoint(made.last).geometry.size == requested


def test_a_label_outside_the_set_stops_it_before_the_first_step_with_the_file(job):
    mine = job(tiny_recipe())
    bad = mine.sources[0].root / "masks" / "train" / "train_005.png"
    labels = cv2.imread(str(bad), cv2.IMREAD_UNCHANGED)
    labels[3, 4] = 77
    cv2.imwrite(str(bad), labels)
    events = Recorder()
    with pytest.raises(DataError, match=r"train_005\.png.*77"):
        train(mine, events)
    assert not events.losses
    assert not mine.state.exists()


def test_labels_of_another_size_than_their_picture_are_refused_with_the_file(job):
    mine = job(tiny_recipe())
    bad = mine.sources[0].root / "masks" / "val" / "val_001.png"
    cv2.imwrite(str(bad), cv2.imread(str(bad), cv2.IMREAD_UNCHANGED)[:20])
    with pytest.raises(DataError, match=r"val_001\.png.*64x20.*64x48"):
        train(mine)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_no_number_stops_with_the_files_and_leaves_the_weights(job, monkeypatch, what):
    mine = job(tiny_recipe(run={"save_every": 1}))
    from tmaseg.training.losses import SegmentationLoss

    right = SegmentationLoss.forward
    calls = []

    def forward(self, logits, batch, totals):
        calls.append(1)
        value = right(self, logits, batch, totals)
        if len(calls) <= 6:
            return value
        return value * float("nan") if what == "loss" else value + (logits.sum() * 0).abs().sqrt()  # slope 0 / 0

    monkeypatch.setattr(SegmentationLoss, "forward", forward)
    events = Recorder()
    with pytest.raises(TrainingError, match=rf"{what} of step 4 .*train_00\d\.png.*lower lr"):
        train(mine, events)
    assert len(events.losses) == 3
    state = load_state(mine.state)
    assert state["step"] == 3
    assert all(value.isfinite().all() for value in state["net"].values())


def test_a_full_disk_loses_only_the_newest(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, {"net": torch.ones(1000)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"state\.pt: the run's state cannot be written .*the room there"):
            save_state(path, {"net": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(load_state(path)["net"], torch.ones(1000))
    assert [each.name for each in tmp_path.iterdir()] == ["state.pt"]


def test_a_run_whose_disk_is_full_continues_with_a_note(job, monkeypatch):
    mine = job(tiny_recipe())
    events = Recorder()
    monkeypatch.setattr("tmaseg.training.record.save_state", _refuse)
    assert train(mine, events).steps == 8
    assert any("make room" in note for note in events.notes)


def test_a_disk_too_full_for_the_best_weights_loses_their_last_score_and_not_the_run(job, monkeypatch):
    mine = job(tiny_recipe(run={"validate_limit": 2}))
    monkeypatch.setattr("tmaseg.training.record.save_checkpoint", _refuse_weights)
    events = Recorder()
    outcome = train(mine, events)
    assert outcome.steps == load_state(mine.state)["step"] == 8
    assert not outcome.interrupted
    assert outcome.scores.frames == 2
    assert any("not scored on every frame" in note for note in events.notes)


def _refuse_weights(path, checkpoint, *, half):
    raise CheckpointError(f"{path}: the weights cannot be written (no space): choose another place")


def _refuse(path, state):
    raise OutputError(f"{path}: the run's state cannot be written (no space): make room there")


def test_a_folder_with_a_run_is_not_overwritten_and_a_recipe_not_changed_on_the_way(job):
    mine = job(tiny_recipe(run={"steps": 2}))
    train(mine)
    with pytest.raises(ConfigError, match="--resume"):
        train(mine)
    for setting in ("lr=1", "seed=1", "train_split=val"):
        with pytest.raises(ConfigError, match=r"only the settings of \[run\] may change"):
            resumed(mine.output, (setting,))
    with pytest.raises(ConfigError, match="holds no run to resume"):
        resumed(mine.output / "elsewhere")
    longer = resumed(mine.output, ("steps=4", "validate_every=0"), device="cpu")
    assert train(longer).steps == 4


def test_two_data_sets_with_their_own_classes_train_one_head(drawn, tmp_path):
    coarse = drawn("coarse", names=("road", "sky", "car", "person"), train=4, val=2)
    fine = drawn("fine", names=("road", "sky", "truck", "bus"), train=4, val=2)
    recipe = tiny_recipe(run={"steps": 6, "validate_every": 0})
    events = Recorder()
    job = TrainJob(recipe, (Source("folder", coarse), Source("folder", fine)), tmp_path / "run", device="cpu")
    outcome = train(job, events)
    assert set(outcome.scores.miou) == {"folder", "folder-2"}
    assert any("unions" in note for note in events.notes)
    assert load_checkpoint(job.best).labels.names == ("road", "sky", "car", "person")


def test_a_run_to_be_compiled_without_a_compiler_continues_with_one_note(job, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    events = Recorder()
    values = {"compile": True, "validate_every": 0, "val_split": ""}
    train(job(tiny_recipe(run={"steps": 2, **values})), events)
    assert len(events.losses) == 2
    assert sum("C++ compiler" in note for note in events.notes) == 1


def test_a_run_by_time_ends_by_time(job):
    mine = job(tiny_recipe(run={"minutes": 0.03, "validate_every": 0}))
    events = Recorder()
    outcome = train(mine, events)
    assert outcome.seconds >= 1.8
    assert not outcome.interrupted
    rates = [float(row["lr"]) for row in step_rows(mine)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0]


@pytest.mark.parametrize(("most", "notes"), [(0.02, 1), (1.0, 0)])
def test_waiting_for_batches_is_noted_once(job, monkeypatch, most, notes):
    right = BatchMaker.parts
    monkeypatch.setattr("tmaseg.training.loop._SETTLED_STEPS", 3)
    monkeypatch.setattr("tmaseg.training.loop._MAX_WAITING", most)
    monkeypatch.setattr(BatchMaker, "parts", lambda self, step: time.sleep(0.8) or right(self, step))
    events = Recorder()
    train(job(tiny_recipe(run={"steps": 4, "threads": 1, "validate_every": 0, "val_split": ""})), events)
    assert sum("waiting for batches" in note for note in events.notes) == notes


def test_parts_of_a_step_come_to_the_whole(job):
    # Frozen statistics: otherwise each part is normalised by its own.
    losses = []
    for accumulate in (1, 2, 4):
        values = {"accumulate": accumulate, "freeze_norms": True}
        recipe = tiny_recipe(optimizer=values, loss={"dropout": 0.0}, run={"steps": 3})
        mine = job(recipe, f"run{accumulate}")
        events = Recorder()
        train(mine, events)
        losses.append(events.losses)
    assert np.allclose(losses[0], losses[1], rtol=1e-4)
    assert np.allclose(losses[0], losses[2], rtol=1e-4)
