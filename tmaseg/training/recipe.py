"""Recipe: everything that decides how a run trains, in groups of plain values. Presets are files of these."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig

Optimiser = Literal["sgd", "adamw"]
Decline = Literal["poly", "cosine", "constant"]
Form = Literal["clip", "mutual"]
Sampling = Literal["continuous", "random"]
ClassWeights = Literal["none", "log", "root", "inverse", "median"]
Norms = Literal["auto", "own"]
AugmentOn = Literal["auto", "cpu", "device"]
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How pictures become crops."""

    crop: str = "640x640"
    """Width x height of a crop."""
    size: int = 0
    """Short side at which pictures are shown; 0: their own. It becomes the weights' own --size unless `view` is set."""
    view: int = 0
    """The weights' own --size: the short side at which they ask to see frames; 0: `size`. For sets of several sizes."""
    scale_from: float = 0.5
    """Smallest factor on the shown size."""
    scale_to: float = 2.0
    """Largest factor."""
    scale_even: Literal["factor", "logarithm"] = "factor"
    """What is drawn evenly between the two: the factor, or its logarithm (as much shrinking as growing)."""
    flip: float = 0.5
    """Share of crops that are mirrored."""
    crop_most: float = 0.75
    """A crop of which one class fills more than this is cut elsewhere, ten times at most; 1: never."""
    rare_share: float = 0.0
    """Share of scenes that are shown for one class: a class of the data set, rare ones more often (by 1 / sqrt of their
    share of its pixels), then a picture that has it, the more of it the likelier, cut so that it shows."""
    brightness: float = 32.0
    """Up to this many grey levels are added or taken."""
    contrast: float = 0.5
    """Contrast is multiplied by 1 plus or minus up to this."""
    saturation: float = 0.5
    """Likewise saturation."""
    hue: float = 18.0
    """Up to this much is added to the hue, in half degrees."""
    light_share: float = 0.5
    """Chance of a change of brightness, and of contrast."""
    colour_share: float = 0.5
    """Chance of a change of saturation, and of hue."""
    blur_share: float = 0.0
    """Chance of a blur of 0.5 to 1.5 pixels."""
    noise_share: float = 0.0
    """Chance of noise of 2 to 10 grey levels."""

    def __post_init__(self) -> None:
        height, width = self.crop_hw
        _check(min(height, width) >= 32, "crop", self.crop, "at least 32 pixels wide and high")
        _check(self.view == 0 or self.view >= 32, "view", self.view, "0 (as size) or at least 32 pixels")
        _check(self.size == 0 or self.size >= 32, "size", self.size, "0 (as stored) or at least 32 pixels")
        _check(0 < self.scale_from <= self.scale_to, "scale_from", self.scale_from, "above 0 and at most scale_to")
        _check_shares(self, "flip", "rare_share", "light_share", "colour_share", "blur_share", "noise_share")
        _check(0 < self.crop_most <= 1, "crop_most", self.crop_most, "above 0 and at most 1")
        _check_positive(self, "brightness", "hue", zero=True)
        _check(0 <= self.contrast < 1, "contrast", self.contrast, "from 0 to below 1")
        _check(0 <= self.saturation <= 1, "saturation", self.saturation, "from 0 to 1")

    @property
    def crop_hw(self) -> tuple[int, int]:
        """Height and width of a crop."""
        found = re.fullmatch(r"(\d+)x(\d+)", self.crop)
        if not found:
            raise ConfigError(f"crop is {self.crop!r}; it must be WIDTHxHEIGHT, such as 640x480")
        return int(found[2]), int(found[1])


@dataclass(frozen=True, kw_only=True)
class Remember:
    """Which frames a frame remembers while training."""

    form: Form = "clip"
    """clip: each labelled crop has its own memory frames, as in the paper. mutual: a batch is made of moments of fewer
    scenes; the moments of one scene remember each other and all are trained on: a step costs what it costs without
    memory."""
    own_share: float = 0.0
    """Share of frames whose memory is the frame itself."""
    moved_share: float = 0.0
    """Share whose memory is copies of the frame under a small, growing camera motion."""
    past_share: float = 1.0
    """Share whose memory is the real frames before it. Where there are none the frame is moved instead."""
    sampling: Sampling = "continuous"
    """continuous: the T frames just before. random: T of the `past_reach` frames before."""
    past_reach: int = 10
    """How many steps back random sampling looks."""
    frames_from: int = 0
    """With shared memory encoders T may vary from batch to batch: from this ... 0: always the network's T."""
    frames_to: int = 0
    """... to this."""
    motion_zoom: float = 0.05
    """Standard deviation of the zoom a step back."""
    motion_shift: float = 0.02
    """Standard deviation of the shift a step back, as a share of the crop's width."""
    motion_rotation: float = 1.0
    """Standard deviation of the rotation a step back, in degrees."""
    motion_brightness: float = 4.0
    """Standard deviation of the change of brightness a step back, in grey levels."""
    light_together: bool = True
    """Whether the frames of a scene have their light changed alike."""
    hide_share: float = 0.0
    """Share of frames whose own value is hidden from the head, so that their classes must be read from memory: a
    network that sees both learns to answer from its own value and to leave memory alone."""

    def __post_init__(self) -> None:
        _check_shares(self, "own_share", "moved_share", "past_share", "hide_share")
        total = self.own_share + self.moved_share + self.past_share
        _check(abs(total - 1) < 1e-6, "own_share + moved_share + past_share", total, "1")
        _check(self.past_reach >= 1, "past_reach", self.past_reach, "1 or more steps")
        _check(0 <= self.frames_from <= self.frames_to, "frames_from", self.frames_from, "0 to frames_to")
        _check(
            self.frames_to == 0 or self.frames_from > 0, "frames_from", self.frames_from, "1 or more, as frames_to is"
        )
        _check_positive(self, "motion_zoom", "motion_shift", "motion_rotation", "motion_brightness", zero=True)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What is minimised."""

    auxiliary: float = 0.4
    """Weight of the auxiliary head's loss; 0: without it."""
    class_weights: ClassWeights = "none"
    """By pixel counts. log: 1 / log(1.1 + share). root: 1 / sqrt(share). inverse: 1 / share. median: median share /
    share. The last three at most ten times their mean."""
    ohem: float = 0.0
    """Only pixels whose class has at most this probability count (online hard example mining); 0: all."""
    ohem_least: float = 0.1
    """At least this share of the labelled pixels counts, the hardest ones."""
    lovasz: float = 0.0
    """Weight of Lovász-Softmax beside the cross-entropy: it falls as the IoU of every class grows; 0: without it."""
    stride: int = 1
    """Every how many pixels, across and down, the loss looks at; 2 costs a quarter and trains as well."""
    dropout: float = 0.1
    """Of the heads."""

    def __post_init__(self) -> None:
        _check_positive(self, "auxiliary", "lovasz", zero=True)
        _check_shares(self, "ohem", "ohem_least")
        _check(0 <= self.dropout < 1, "dropout", self.dropout, "from 0 to below 1")
        _check(1 <= self.stride <= 8, "stride", self.stride, "1 to 8")


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How the weights change."""

    optimiser: Optimiser = "sgd"
    lr: float = 0.01
    """Highest learning rate."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 5e-4
    decay_all: bool = True
    """Whether batch normalisation and biases decay as well."""
    backbone_lr: float = 1.0
    """Factor on the learning rate of the backbone."""
    batch: int = 8
    """Crops a step, over all processes."""
    accumulate: int = 1
    """In how many parts each process goes through its crops."""
    steps: int = 80_000
    minutes: float = 0.0
    """When not 0, the run lasts this long instead of a number of steps, and the learning rate falls with time."""
    decline: Decline = "poly"
    power: float = 0.9
    """Of the polynomial."""
    lr_end: float = 0.0
    """Learning rate at the end."""
    warmup: int = 0
    """Steps over which the learning rate rises, at most a tenth of the run."""
    clip_norm: float = 0.0
    """Longest gradient; 0: any."""
    average: float = 0.0
    """Share of the old in each step of the moving average of the weights (EMA), which is what is scored and shipped;
    0: none."""
    freeze: tuple[str, ...] = ()
    """Stages that are not trained: stem, layer1 to layer4."""
    freeze_norms: bool = False
    """Whether batch normalisation keeps its statistics everywhere."""

    def __post_init__(self) -> None:
        _check_positive(self, "lr", "backbone_lr", "power")
        _check_positive(self, "weight_decay", "minutes", "lr_end", "clip_norm", zero=True)
        _check(0 <= self.momentum < 1, "momentum", self.momentum, "from 0 to below 1")
        _check(0 <= self.average < 1, "average", self.average, "from 0 to below 1")
        for name in ("batch", "accumulate", "steps"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        _check(self.warmup >= 0, "warmup", self.warmup, "0 or more steps")
        unknown = [stage for stage in self.freeze if stage not in STAGES]
        _check(not unknown, "freeze", ", ".join(unknown), f"of {', '.join(STAGES)}")


@dataclass(frozen=True, kw_only=True)
class Running:
    """How the run is run. These may change when it goes on."""

    seed: int = 0
    precision: str = "auto"
    """auto, fp32, bf16 or fp16: of the convolutions (autocast)."""
    norms: Norms = "auto"
    """auto: batch statistics are those of all processes (SyncBN). own: of each process alone."""
    compile: bool = False
    deterministic: bool = False
    """Slower on CUDA, where equal runs otherwise differ in the last bits."""
    threads: int = 2
    """Threads that make batches ahead."""
    augment_on: AugmentOn = "auto"
    """Where crops are cut and their light is changed. auto: on a CUDA device itself, otherwise on the CPU."""
    cache_gb: float = 6.0
    """Decoded pictures are kept in this much memory, and on a device that cuts crops in a quarter of what is free."""
    train_split: str = "train"
    """Of each data set; "train+val" joins two."""
    val_split: str = "val"
    """Of each data set that has it; "": the weights are not scored."""
    validate_every: int = 1000
    """Steps between validations; 0: only at the end."""
    validate_limit: int = 0
    """Most frames of each data set that a validation looks at, evenly spread; 0: all. The last one looks at all."""
    save_every: int = 500
    """Steps between the times that the run is written down."""

    def __post_init__(self) -> None:
        _check(self.threads >= 1, "threads", self.threads, "1 or more")
        for name in ("validate_every", "validate_limit", "cache_gb"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _check(self.save_every >= 1, "save_every", self.save_every, "1 or more steps")
        _check(self.seed >= 0, "seed", self.seed, "0 or more")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a run trains. Raises ConfigError that names the value that cannot work."""

    about: str = ""
    """What it is for, in a line."""
    init: str = "none"
    """none, imagenet, or weights by name or path."""
    labels: str = ""
    """Label set of the network; "": that of the first data set."""
    network: Mapping[str, Any] = field(default_factory=dict)
    """The network, where it differs from the weights it starts from, or from the paper's."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of each data set in the crops, by its name in lower case. Sets without one take what the others leave of 1,
    by their numbers of pictures."""
    augment: Augment = field(default_factory=Augment)
    remember: Remember = field(default_factory=Remember)
    loss: Loss = field(default_factory=Loss)
    descent: Descent = field(default_factory=Descent)
    running: Running = field(default_factory=Running)

    def __post_init__(self) -> None:
        TMANetConfig.from_dict({"classes": 1, **self.network})
        _check("classes" not in self.network, "network.classes", "set", "left to the label set")
        for name, share in self.shares.items():
            _check(share > 0, f"shares.{name}", share, "above 0")
        height, width = self.augment.crop_hw
        fits = height % self.loss.stride == 0 and width % self.loss.stride == 0
        _check(fits, "crop", self.augment.crop, f"a multiple of the loss's stride {self.loss.stride}")


GROUPS: dict[str, type] = {
    "augment": Augment,
    "remember": Remember,
    "loss": Loss,
    "descent": Descent,
    "running": Running,
}


def _check(right: bool, name: str, value: object, wanted: str) -> None:
    if not right:
        raise ConfigError(f"{name} is {value}; it must be {wanted}")


def _check_shares(group: object, *names: str) -> None:
    for name in names:
        _check(0 <= getattr(group, name) <= 1, name, getattr(group, name), "from 0 to 1")


def _check_positive(group: object, *names: str, zero: bool = False) -> None:
    for name in names:
        value = getattr(group, name)
        _check(value > 0 or (zero and value == 0), name, value, "0 or more" if zero else "above 0")
