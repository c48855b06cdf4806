"""What a run is made of: its data sets opened and checked, its network with the weights it starts from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tmaseg
from tmaseg.data import Dataset, open_dataset
from tmaseg.errors import ConfigError, DataError
from tmaseg.evaluation import Shard
from tmaseg.files import check_not_read
from tmaseg.inference.compiler import can_compile
from tmaseg.labels import LabelSet, get_labels
from tmaseg.model.checkpoint import load_checkpoint
from tmaseg.model.config import TMANetConfig
from tmaseg.model.tmanet import TMANet
from tmaseg.training.classes import adopt
from tmaseg.training.image_cache import ImageCache
from tmaseg.training.job import Job, Source
from tmaseg.training.listener import Listener
from tmaseg.training.presets import parse_settings, to_values
from tmaseg.training.recipe import Recipe
from tmaseg.training.datasets import TrainSet, count_pixels, open_set
from tmaseg.training.validate import ValSet


@dataclass(frozen=True)
class Sets:
    """The data of a run."""

    train: tuple[TrainSet, ...]
    val: tuple[ValSet, ...]
    labels: LabelSet
    """The network's classes."""


def open_sets(job: Job, share: Shard, listener: Listener) -> Sets:
    """Opens every data set and reads every label file that the run will need.

    Raises DataError that names the exact file whose ids are outside its label set, before the first step; before any
    of them is read, what `build_net` raises for weights to start from that will not do.
    """
    recipe = job.recipe
    datasets = dict(
        zip(_unique(job.sources), (open_dataset(each.name, each.root) for each in job.sources), strict=True)
    )
    read = [path for dataset in datasets.values() for path in dataset.paths()]
    check_not_read(job.outputs, read if job.resume else [*read, Path(recipe.init), Path(recipe.labels or "")])
    network = get_labels(recipe.labels) if recipe.labels else next(iter(datasets.values())).labels
    if not job.resume:
        build_net(recipe, network, Listener())  # reading labels takes minutes: a slip in --init is told before
    others = [name for name in recipe.mixture if name not in datasets]
    if others:
        listener.note(f"the recipe's mixture of {', '.join(others)} is left out: there is no such data set in this run")
    cache = ImageCache(int(recipe.run.cache_gb * 2**30 / share.count), short_side=_stored_side(recipe))
    train, val = [], []
    for name, dataset in datasets.items():
        split = recipe.run.train_split

        def tell(done: int, total: int, name: str = name) -> None:
            listener.checked(name, done, total)

        opened = open_set(dataset, split, name=name, network=network, cache=cache, progress=tell)
        train.append(opened)
        for text in _about(opened):
            listener.note(text)
        if dataset.splits.get(recipe.run.val_split):
            val.append(ValSet(name, dataset, recipe.run.val_split))
            _check_val(dataset, recipe.run.val_split)
        elif recipe.run.val_split:
            listener.note(f"{name} has no split {recipe.run.val_split!r}: it is not validated on")
    return Sets(tuple(train), tuple(val), network)


def compiles(listener: Listener) -> bool:
    """Whether torch.compile can work on this machine; where it cannot that is said."""
    if not can_compile():
        listener.note("torch.compile needs a C++ compiler and there is none: the network is not compiled; install g++")
    return can_compile()


def check_mixture(settings: Sequence[str], sources: Sequence[Source]) -> None:
    """Raises ConfigError where settings ("mixture.camvid=0.3") name a data set that is not among the sources.

    A recipe's file may name more sets than are given; what is set for one run is a slip of the pen.
    """
    names = _unique(sources)
    for name in parse_settings(settings).get("mixture", {}):
        if name.lower() not in names:
            raise ConfigError(f"mixture.{name} is the fraction of no data set here; they are {', '.join(names)}")


def build_net(recipe: Recipe, labels: LabelSet, listener: Listener, saved: dict[str, Any] | None = None) -> TMANet:
    """The network with the weights it starts from. Raises ConfigError, CheckpointError and LabelError.

    `saved`: the configuration of a run that goes on; what it started from may be gone, and its state has the weights.
    """
    if saved:
        return TMANet(TMANetConfig.from_dict(saved))
    if recipe.init in ("none", "imagenet"):
        config = TMANetConfig.from_dict({"classes": len(labels), **recipe.network})
        return TMANet(config, pretrained_backbone=recipe.init == "imagenet")
    checkpoint = load_checkpoint(recipe.init)
    config = replace(checkpoint.config, classes=len(labels), **recipe.network)
    net = TMANet(config)
    fresh = adopt(net, labels, checkpoint)
    if fresh:
        listener.note(f"classes without a counterpart in {recipe.init} start from nothing: {', '.join(fresh)}")
    return net


def provenance(job: Job, sets: Sets) -> dict[str, Any]:
    """Where the weights of a run come from: data and recipe, without paths of this machine."""
    recipe = job.recipe
    init = Path(recipe.init).name if Path(recipe.init).exists() else recipe.init
    return {
        "program": f"tmaseg {tmaseg.__version__} train",
        "data": {each.name: f"{each.dataset.layout}, {len(each.samples)} labelled frames" for each in sets.train},
        "recipe": to_values(recipe.model_copy(update={"init": init})),
    }


def _unique(sources: Sequence[Source]) -> list[str]:
    """A name for each data set, in lower case, numbered where one comes twice."""
    names: list[str] = []
    for each in sources:
        stem = Path(each.name).stem.lower()
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names


def _stored_side(recipe: Recipe) -> int:
    """The short side beyond which pictures are stored no larger: what the largest crop shows of them."""
    return round(recipe.augmentation.size * max(1.0, recipe.augmentation.scale_max))


def _about(data: TrainSet) -> list[str]:
    said = [*data.dataset.problems, *data.dataset.notes]
    if data.unions.missing:
        said.append(f"classes that the network has no counterpart for are void: {', '.join(data.unions.missing)}")
    if not data.unions.same:
        said.append(f"its {len(data.dataset.labels)} classes are learnt by name, as the network's or as unions of them")
    return [f"{data.name}: {text}" for text in said]


def _check_val(dataset: Dataset, split: str) -> None:
    """A bad label file must not end the run at its first validation, hours from now."""
    samples = dataset.samples(split)
    if not samples:
        raise DataError(f"{dataset.name}: split {split!r} has no labels to validate on: choose another with val_split")
    count_pixels(dataset, samples, ImageCache(0))
