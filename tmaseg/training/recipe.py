"""Recipe: everything that decides how a run trains, in groups of plain values. Presets are TOML files of these."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tmaseg.model.config import TMANetConfig

Form = Literal["clip", "mutual"]
Stage = Literal["stem", "layer1", "layer2", "layer3", "layer4"]


def _as_text(value: Any) -> Any:
    """A text that looks like a number, such as a folder's name on the command line."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_tuple(value: Any) -> Any:
    """TOML's lists, and "stem,layer1" on the command line."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, list) else value


Text = Annotated[str, BeforeValidator(_as_text)]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
PixelsOrZero = Annotated[int, Field(ge=0)]


class Settings(BaseModel):
    """A group of settings; a value of another type or out of bounds, and an unknown name, is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Augmentation(Settings):
    """How pictures become crops."""

    crop: Text = "640x640"
    """Width x height of a crop, in pixels."""
    size: PixelsOrZero = 0
    """Short side to which pictures are scaled before cropping, in pixels; 0: their own. It is written into the weights
    as their own --size unless `input_size` is set."""
    input_size: PixelsOrZero = 0
    """The --size written into the weights, in pixels; 0: `size`. For data sets of several sizes."""
    scale_min: Positive = 0.5
    """Smallest random factor on the size."""
    scale_max: Positive = 2.0
    """Largest random factor on the size."""
    scale_distribution: Literal["uniform", "log-uniform"] = "uniform"
    """Of the factor; log-uniform shrinks as often as it enlarges."""
    flip: Probability = 0.5
    """Probability that a crop is mirrored."""
    rare_class_probability: Probability = 0.0
    """Probability that a crop is drawn for one class: a class of the data set, rare ones more often (by 1 / sqrt of
    their fraction of its pixels), then a picture that has it, by its pixels of it, cut so that it shows."""
    brightness: NotNegative = 32.0
    """Up to this many grey levels are added or subtracted."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Contrast is multiplied by 1 plus or minus up to this."""
    gamma: NotNegative = 0.0
    """The logarithm of gamma is up to this, plus or minus; 0.4 is gamma 0.67 to 1.49."""
    saturation: Probability = 0.5
    """Saturation is multiplied by 1 plus or minus up to this."""
    hue: Annotated[float, Field(ge=0, le=180)] = 36.0
    """Colours are rotated by up to this many degrees, either way."""
    temperature: NotNegative = 0.0
    """The logarithm of red's gain and of blue's loss is up to this, plus or minus; 0.2 is about 5000 K to 9000 K."""
    light_probability: Probability = 0.5
    """Probability of a change of brightness, of contrast, and of gamma, each for itself."""
    colour_probability: Probability = 0.5
    """Probability of a change of saturation, of hue, and of temperature, each for itself."""
    blur_probability: Probability = 0.0
    """Probability of a Gaussian blur of 0.5 to 2 pixels."""
    noise_probability: Probability = 0.0
    """Probability of noise of 2 to 12 grey levels."""
    jpeg_probability: Probability = 0.0
    """Probability of a JPEG compression of quality 15 to 75."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if min(self.crop_hw) < 32:
            raise ValueError(f"crop is {self.crop}; it must be at least 32 pixels wide and high")
        for name in ("size", "input_size"):
            if 0 < getattr(self, name) < 32:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or at least 32 pixels")
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min is {self.scale_min}; it must be at most scale_max, which is {self.scale_max}")
        return self

    @property
    def crop_hw(self) -> tuple[int, int]:
        """Height and width of a crop."""
        found = re.fullmatch(r"(\d+)x(\d+)", self.crop)
        if not found:
            raise ValueError(f"crop is {self.crop!r}; it must be WIDTHxHEIGHT, such as 640x480")
        return int(found[2]), int(found[1])


class MemorySampling(Settings):
    """Which frames are the memory of a frame while training."""

    form: Form = "clip"
    """clip: each labelled crop has its own memory frames, as in the paper. mutual: a batch consists of moments of fewer
    clips; the moments of one clip are memory of each other and all have labels: a step costs what it costs without
    memory."""
    self_probability: Probability = 0.0
    """Probability that a frame's memory is the frame itself."""
    moved_probability: Probability = 0.0
    """Probability that it is copies of the frame under a small, growing camera motion."""
    past_probability: Probability = 1.0
    """Probability that it is the real frames before it. Where there are none the frame is moved instead."""
    sampling: Literal["continuous", "random"] = "continuous"
    """continuous: the T frames just before. random: T of the `past_reach` frames before."""
    past_reach: Count = 10
    """How many frames back random sampling reaches."""
    frames_min: CountOrZero = 0
    """With shared memory encoders T may vary from step to step: from this ... 0: always the network's T."""
    frames_max: CountOrZero = 0
    """... to this."""
    same_light: bool = True
    """Whether the frames of a clip get one photometric change, or each its own."""
    hide_probability: Probability = 0.0
    """Probability that a frame's own value is hidden from the head, so that its classes must be read from memory: a
    network that always has both learns to use its own value and to leave memory alone."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = self.self_probability + self.moved_probability + self.past_probability
        if abs(total - 1) > 1e-6:
            raise ValueError(f"self_probability + moved_probability + past_probability is {total:.6g}; it must be 1")
        if self.frames_min > self.frames_max or (self.frames_max and not self.frames_min):
            raise ValueError(
                f"frames_min is {self.frames_min} and frames_max is {self.frames_max}; both must be 0, or 1 <= "
                "frames_min <= frames_max"
            )
        return self


class Loss(Settings):
    """What is minimised."""

    auxiliary: NotNegative = 0.4
    """Weight of the auxiliary head's loss; 0: without it."""
    class_weights: Literal["none", "log"] = "none"
    """By pixel counts. log: 1 / log(1.1 + fraction of the pixels)."""
    lovasz: NotNegative = 0.0
    """Weight of Lovász-Softmax beside the cross-entropy: it falls as the IoU of every class grows; 0: without it."""
    stride: Annotated[int, Field(ge=1, le=8)] = 1
    """Every how many pixels, across and down, the loss is taken; 2 costs a quarter and trains as well."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Of the heads' channels."""


class Optimizer(Settings):
    """How the weights change."""

    algorithm: Literal["sgd", "adamw"] = "sgd"
    """sgd: momentum 0.9, all parameters decay, as in the paper. adamw: batch norms and biases do not decay."""
    lr: Positive = 0.01
    """Highest learning rate."""
    backbone_lr: Positive = 1.0
    """Factor on the learning rate of the backbone."""
    lr_schedule: Literal["poly", "cosine", "constant"] = "poly"
    """How the learning rate falls to 0 over the run; poly: with power 0.9."""
    warmup: CountOrZero = 0
    """Steps over which the learning rate rises, at most a tenth of the run."""
    weight_decay: NotNegative = 5e-4
    batch: Count = 8
    """Crops in a step, over all processes."""
    accumulate: Count = 1
    """Parts in which each process takes its crops through the network; more need less memory."""
    clip_norm: NotNegative = 0.0
    """Largest norm of the gradient; 0: any."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights, which is what is scored and written; 0: no average."""
    freeze: Annotated[tuple[Stage, ...], BeforeValidator(_as_tuple)] = ()
    """Stages of the backbone that are not trained."""
    freeze_norms: bool = False
    """Whether batch normalisation keeps its statistics everywhere."""


class Run(Settings):
    """How long the run is and how it is executed. All but seed and train_split may change when it is resumed."""

    steps: Count = 80_000
    minutes: NotNegative = 0.0
    """When not 0, the run lasts this long instead of a number of steps, and the learning rate falls with time."""
    seed: CountOrZero = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the convolutions (autocast). auto: the fastest that is measured."""
    sync_bn: bool = True
    """Whether batch statistics are those of all processes, or of each alone."""
    compile: bool = False
    """Whether the network is compiled with torch.compile."""
    threads: Count = 2
    """Threads that make batches ahead."""
    cache_gb: NotNegative = 6.0
    """Memory for decoded pictures, over all processes of the run."""
    train_split: Text = "train"
    """Of each data set; "train+val" joins two."""
    val_split: Text = "val"
    """Of each data set that has it; "": the weights are not scored."""
    validate_every: CountOrZero = 1000
    """Steps between validations; 0: only at the end."""
    validate_limit: CountOrZero = 0
    """Most frames of each data set in a validation, evenly spread; 0: all. The last one has all."""
    save_every: Count = 500
    """Steps between the times that the state is written."""


class Recipe(Settings):
    """Everything that decides how a run trains."""

    about: Text = ""
    """What it is for, in a line."""
    init: Text = "none"
    """none, imagenet, or weights by name or path."""
    labels: Text = ""
    """Label set of the network; "": that of the first data set."""
    network: dict[str, Any] = {}
    """The network, where it differs from the weights it starts from, or from the paper's."""
    mixture: dict[str, Positive] = {}
    """Fraction of the crops from each data set, by its name in lower case. Sets without one divide what the others
    leave of 1, by their numbers of pictures."""
    augmentation: Augmentation = Augmentation()
    memory: MemorySampling = MemorySampling()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    run: Run = Run()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "classes" in self.network:
            raise ValueError("network.classes is set; it must be left to the label set")
        TMANetConfig.from_dict({"classes": 1, **self.network})  # raises ConfigError
        height, width = self.augmentation.crop_hw
        if height % self.loss.stride or width % self.loss.stride:
            raise ValueError(
                f"augmentation.crop is {self.augmentation.crop}; it must be a multiple of the loss's stride "
                f"{self.loss.stride}"
            )
        return self
