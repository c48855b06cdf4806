"""The network that a run starts from: with random, ImageNet's or another network's weights."""

from dataclasses import replace
from typing import Any

from tmaseg.errors import LabelError
from tmaseg.labels import LabelSet, map_by_name
from tmaseg.model.checkpoint import Checkpoint, load_checkpoint
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet
from tmaseg.training.callbacks import Callback
from tmaseg.training.recipe import Recipe


def build_net(recipe: Recipe, labels: LabelSet, callback: Callback, saved: dict[str, Any] | None = None) -> TMANet:
    """The network with the weights it starts from. Raises ConfigError, CheckpointError and LabelError.

    `saved`: the configuration of a run that is resumed; what it started from may be gone; its state has the weights.
    """
    if saved:
        return TMANet(TMANetConfig.from_dict(saved))
    if recipe.init in ("none", "imagenet"):
        config = TMANetConfig.from_dict({"classes": len(labels), **recipe.network})
        return TMANet(config, pretrained_backbone=recipe.init == "imagenet")
    checkpoint = load_checkpoint(recipe.init)
    net = TMANet(replace(checkpoint.config, classes=len(labels), **recipe.network))
    random = load_by_class(net, labels, checkpoint)
    if random:
        callback.note(f"classes without a counterpart in {recipe.init} start from random weights: {', '.join(random)}")
    return net


def load_by_class(net: TMANet, labels: LabelSet, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Fills the network with a checkpoint's weights; its classifiers class by class where the label sets differ.

    A class takes the row of its counterpart by name, and stays as it was initialised without one: those are returned.
    Raises LabelError when a tensor other than the classifiers' has another shape.
    """
    state = dict(checkpoint.state)
    table = map_by_name(labels, checkpoint.labels).table
    same = labels.names == checkpoint.labels.names
    known = [index for index in range(len(labels)) if same or table[index] < len(checkpoint.labels)]
    rows = [index if same else int(table[index]) for index in known]
    own = net.state_dict()
    for head in ("head.classifier", "auxiliary.classifier"):
        for part in ("weight", "bias"):
            name = f"{head}.{part}"
            old, new = state[name], own[name].clone()
            if old.shape[1:] == new.shape[1:]:
                new[known] = old[rows].to(new.dtype)
                state[name] = new
    wrong = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise LabelError(
            f"the weights do not fit the network of the recipe ({wrong[0]} and {len(wrong) - 1} more): leave the "
            "network's settings out, so that it is built as the weights want it"
        )
    net.load_state_dict(state)
    return tuple(name for index, name in enumerate(labels.names) if index not in known and index not in labels.void)
