"""Recipe: everything that decides how a run trains, in groups of plain values; presets and own ones are TOML files."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig

Stage = Literal["stem", "layer1", "layer2", "layer3", "layer4"]


def _as_text(value: Any) -> Any:
    """A text such as 2024 comes from the command line as a number."""
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


class Settings(BaseModel):
    """A group of settings; a value of another type or out of bounds, and an unknown name, is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Augmentation(Settings):
    """How pictures become crops."""

    crop: Text = "640x640"  # width x height of a crop, in pixels
    size: CountOrZero = 0  # short side to which pictures are scaled before cropping, in pixels; 0: their own
    input_size: CountOrZero = 0  # the --size written into the weights, in pixels; 0: `size`
    scale_min: Positive = 0.5  # smallest random factor on the size
    scale_max: Positive = 2.0  # largest
    scale_distribution: Literal["uniform", "log-uniform"] = "uniform"  # log-uniform shrinks as often as it enlarges
    flip: Probability = 0.5  # that a crop is mirrored
    # Probability that a crop is drawn for one class: a class of the data set, rare ones more often (by 1 / sqrt of
    # their fraction of its pixels), then a picture that has it, by its pixels of it, cut so that it shows.
    rare_class_probability: Probability = 0.0
    brightness: NotNegative = 32.0  # up to this many grey levels are added or subtracted
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.5  # contrast is multiplied by 1 plus or minus up to this
    gamma: NotNegative = 0.0  # the logarithm of gamma is up to this, plus or minus; 0.4 is gamma 0.67 to 1.49
    saturation: Probability = 0.5  # saturation is multiplied by 1 plus or minus up to this
    hue: Annotated[float, Field(ge=0, le=180)] = 36.0  # colours are rotated by up to this many degrees, either way
    # The logarithm of red's gain and of blue's loss is up to this, plus or minus; 0.2 is about 5000 K to 9000 K.
    temperature: NotNegative = 0.0
    light_probability: Probability = 0.5  # of a change of brightness, of contrast and of gamma, each for itself
    colour_probability: Probability = 0.5  # of a change of saturation, of hue and of temperature, each for itself
    blur_probability: Probability = 0.0  # of a Gaussian blur of 0.5 to 2 pixels
    noise_probability: Probability = 0.0  # of noise of 2 to 12 grey levels
    jpeg_probability: Probability = 0.0  # of a JPEG compression of quality 15 to 75

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

    # clip: each labelled crop has its own memory frames, as in the paper. mutual: a batch consists of moments of fewer
    # clips; the moments of one clip are memory of each other and all have labels: a step costs what one without memory
    # does.
    form: Literal["clip", "mutual"] = "clip"
    self_probability: Probability = 0.0  # that a frame's memory is the frame itself
    moved_probability: Probability = 0.0  # that it is copies of the frame under a small, growing camera motion
    past_probability: Probability = 1.0  # that it is the frames before it; where there are none, moved copies
    # continuous: the T frames just before. random: T of the `past_reach` frames before.
    sampling: Literal["continuous", "random"] = "continuous"
    past_reach: Count = 10
    # With shared memory encoders T may vary from step to step, from frames_min to frames_max; 0: the network's T.
    frames_min: CountOrZero = 0
    frames_max: CountOrZero = 0
    same_light: bool = True  # whether the frames of a clip get one photometric change, or each its own
    # Probability that a frame's own value is hidden from the head, so that its classes must be read from memory: a
    # network that always has both learns to use its own value and to leave memory alone.
    hide_probability: Probability = 0.0

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

    auxiliary: NotNegative = 0.4  # weight of the auxiliary head's loss; 0: without it
    class_weights: Literal["none", "log"] = "none"  # log: 1 / log(1.1 + a class's fraction of the pixels)
    lovasz: NotNegative = 0.0  # weight of Lovász-Softmax, which falls as the IoU of every class grows; 0: without it
    # Every how many pixels, across and down, the loss is taken; 2 costs a quarter and trains as well.
    stride: Annotated[int, Field(ge=1, le=8)] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of the heads' channels


class Optimizer(Settings):
    """How the weights change."""

    # sgd: momentum 0.9, all parameters decay, as in the paper. adamw: batch norms and biases do not decay.
    algorithm: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.01  # highest learning rate
    backbone_lr: Positive = 1.0  # factor on the learning rate of the backbone
    lr_schedule: Literal["poly", "cosine", "constant"] = "poly"  # falls to 0 over the run; poly: with power 0.9
    warmup: CountOrZero = 0  # steps over which the learning rate rises, at most a tenth of the run
    weight_decay: NotNegative = 5e-4
    batch: Count = 8  # crops in a step, over all processes
    accumulate: Count = 1  # parts in which each process takes its crops through the network; more need less memory
    clip_norm: NotNegative = 0.0  # largest norm of the gradient; 0: any
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the average that is scored and written; 0: no average
    freeze: Annotated[tuple[Stage, ...], BeforeValidator(_as_tuple)] = ()  # stages of the backbone, not trained
    freeze_norms: bool = False  # whether batch normalisation keeps its statistics everywhere


class Run(Settings):
    """How long the run is and how it is executed. All but seed and train_split may change when it is resumed."""

    steps: Count = 80_000
    minutes: NotNegative = 0.0  # when not 0, the run's length in place of steps; the learning rate falls with time
    seed: CountOrZero = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # of autocast; auto: the fastest that is measured
    sync_bn: bool = True  # whether batch statistics are those of all processes, or of each alone
    compile: bool = False  # whether the network is compiled with torch.compile
    threads: Count = 2  # that make batches ahead
    cache_gb: NotNegative = 6.0  # memory for decoded pictures, over all processes of the run
    train_split: Text = "train"  # of each data set; "train+val" joins two
    val_split: Text = "val"  # of each data set that has it; "": the weights are not scored
    validate_every: CountOrZero = 1000  # steps between validations; 0: only at the end
    # Most frames of each data set in a validation, evenly spread; 0: all. The last one has all.
    validate_limit: CountOrZero = 0
    save_every: Count = 500  # steps between the times that the state is written


class Recipe(Settings):
    """Everything that decides how a run trains."""

    about: Text = ""  # what it is for, in a line
    init: Text = "none"  # none, imagenet, or weights by name or path
    labels: Text = ""  # label set of the network; "": that of the first data set
    network: dict[str, Any] = {}  # the network, where it differs from the weights it starts from, or from the paper's
    # Fraction of the crops from each data set, by its name in lower case. Sets without one divide what the others leave
    # of 1, by their numbers of pictures.
    mixture: dict[str, Positive] = {}
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


# Recipes as files and as settings of the command line ---------------------------------------------------------------

_FOLDER = Path(__file__).with_name("presets")
_NETWORK = tuple(each.name for each in fields(TMANetConfig) if each.name != "classes")
GROUPS = {name: type(value) for name, value in Recipe() if isinstance(value, BaseModel)}
_TABLES = ("network", "mixture", *GROUPS)
_GROUP_OF = {
    **{name: "" for name in Recipe.model_fields if name not in _TABLES},
    **dict.fromkeys(_NETWORK, "network"),
    **{name: group for group, kind in GROUPS.items() for name in kind.model_fields},
}


def preset_names() -> tuple[str, ...]:
    """The presets that come with the program."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A preset by name, or a recipe file. Raises ConfigError that names the file and the setting that is wrong."""
    path = Path(name_or_path)
    if path.suffix.lower() != ".toml":
        if str(name_or_path) not in preset_names():
            known = ", ".join(preset_names())
            raise ConfigError(f"unknown preset {str(name_or_path)!r}; choose {known}, or give a .toml file")
        path = _FOLDER / f"{name_or_path}.toml"
    try:
        return from_values(tomllib.loads(path.read_text(encoding="utf-8")))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: the recipe cannot be read ({error}): --show-preset prints an example") from error


def from_values(values: Mapping[str, Any], base: Recipe | None = None) -> Recipe:
    """A recipe from what a TOML file holds; settings that it leaves out are as in `base`. Raises ConfigError."""
    merged = (base or Recipe()).model_dump(mode="json")
    for name, value in values.items():
        merged[name] = {**merged[name], **value} if name in _TABLES and isinstance(value, Mapping) else value
    if isinstance(merged["mixture"], Mapping):
        merged["mixture"] = {name.lower(): value for name, value in merged["mixture"].items()}
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_in_words(error)) from error


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with "name=value" settings: "lr=0.01", "optimizer.lr=0.01", "stem=plain", "mixture.camvid=0.3".

    Values are as in TOML; quotes may be left out. Where steps are set, the recipe's minutes no longer count. Raises
    ConfigError for a name or value that will not do.
    """
    values = parse_settings(settings)
    length = values.get("run", {})
    if "steps" in length and length.setdefault("minutes", 0) != 0:
        raise ConfigError(
            f"steps is {length['steps']} and minutes is {length['minutes']}; a run's length is one of them: "
            "leave the other out"
        )
    return from_values(values, recipe)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Settings as `override` takes them, as the values of a recipe file. Raises ConfigError."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set is {setting!r}; it must be name=value, such as lr=0.01")
        group, key = _resolve(name.strip())
        (values.setdefault(group, {}) if group else values)[key] = _parse(text.strip())
    return values


def to_toml(recipe: Recipe) -> str:
    """Every value of a recipe as a TOML file that `load_recipe` reads."""
    return tomli_w.dumps(recipe.model_dump(mode="json"))


def _resolve(name: str) -> tuple[str, str]:
    """The group ("" for none) and the key of a setting."""
    group, dot, key = name.partition(".")
    if dot and group in _TABLES:
        return group, key
    if name not in _GROUP_OF:
        raise ConfigError(f"unknown setting {name!r}; known are {', '.join(_GROUP_OF)}")
    return _GROUP_OF[name], name


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        try:
            return float(text)  # ".5" is no TOML
        except ValueError:
            return text


def _in_words(error: ValidationError) -> str:
    """The first of the errors in a line: which setting, what came, what is allowed."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    *groups, name = [str(part) for part in first["loc"] if not isinstance(part, int)]
    if first["type"] == "extra_forbidden":
        where, kind = (f"[{groups[0]}]", GROUPS[groups[0]]) if groups else ("a recipe", Recipe)
        return f"unknown setting {name!r} in {where}; known are {', '.join(kind.model_fields)}"
    allowed = "it must be a table of settings" if name in _TABLES else first["msg"].replace("Input should", "it must")
    return f"{'.'.join([*groups, name])} is {first['input']!r}; {allowed}"
