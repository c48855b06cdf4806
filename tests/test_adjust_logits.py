"""scripts/adjust_logits: constants that undo a bias, from training pictures, in the classifier and nowhere else."""

import subprocess
import sys

import numpy as np
import torch
from drawn import CLASSES, write_drawn
from scripted import SCRIPTS, load_script
from tiny import tiny_checkpoint

from tmaseg.labels import get_labels
from tmaseg.model.checkpoint import load_checkpoint, save_checkpoint

SCRIPT = SCRIPTS / "adjust_logits.py"


def biased_pixels(module, labels, bias, seed):
    """Pixels whose logits tell the classes apart without error, but for a bias."""
    rng = np.random.default_rng(seed)
    truth = torch.from_numpy(rng.integers(0, len(labels), 3000))
    logits = torch.from_numpy(rng.normal(0, 0.2, (len(labels), 3000))).float()
    logits[truth, torch.arange(3000)] += 1.5
    mapping = module.ClassMapping.by_name(labels, labels)
    return module.PixelSet(mapping, (logits + bias[:, None]).log_softmax(0), truth)


def test_a_bias_of_the_logits_is_undone():
    module, labels = load_script("adjust_logits"), get_labels("camvid")
    bias = torch.zeros(len(labels))
    bias[3], bias[7] = 1.75, -1.5
    sets = [biased_pixels(module, labels, bias, seed) for seed in range(2)]
    assert all(each.miou(torch.zeros_like(bias)) < 0.85 for each in sets)
    found = module.fit_bias(sets)
    assert all(each.miou(found) > 0.99 for each in sets)
    assert found[3] < -0.4
    assert found[7] > 0.2


def test_only_the_biases_of_the_classifier_change(tmp_path):
    data = write_drawn(tmp_path / "data")
    before = tiny_checkpoint(classes=len(CLASSES))
    labels = get_labels(data / "labels.yaml")
    save_checkpoint(tmp_path / "a.safetensors", type(before)(before.config, labels, before.state, before.geometry, {}))
    command = [sys.executable, SCRIPT, tmp_path / "a.safetensors", "-o", tmp_path / "b.safetensors"]
    done = subprocess.run(
        [*map(str, command), "--dataset", "folder", "--data", str(data)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    one, other = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in "ab")
    changed = {name for name, value in one.state.items() if not torch.equal(value.half(), other.state[name].half())}
    assert changed == {"head.classifier.bias"}
    change = other.state["head.classifier.bias"] - one.state["head.classifier.bias"]
    assert torch.allclose(change, torch.tensor(other.provenance["logit_adjustment"]), atol=1e-3)
    first = next(line for line in done.stdout.splitlines() if line.startswith("folder: mIoU"))
    miou = [float(word.rstrip(",")) for word in first.split() if word[0].isdigit()]
    assert miou[1] > miou[0]


def test_what_cannot_work_is_one_line(tmp_path):
    command = [sys.executable, str(SCRIPT), "street", "-o", str(tmp_path / "b.safetensors"), "--dataset", "camvid"]
    done = subprocess.run([*command, "--data", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "b.safetensors").exists()
