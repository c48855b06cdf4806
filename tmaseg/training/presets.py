"""Recipes as files: the presets that come with the program, a user's own, values set on the command line."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig
from tmaseg.training.recipe import Recipe

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
    merged = to_values(base or Recipe())
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


def to_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, as in TOML and JSON."""
    return recipe.model_dump(mode="json")


def to_toml(recipe: Recipe) -> str:
    """Every value of a recipe as a TOML file that `load_recipe` reads."""
    return tomli_w.dumps(to_values(recipe))


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
    kind = GROUPS.get(groups[0], Recipe) if groups else Recipe
    if first["type"] == "extra_forbidden":
        where = f"in [{groups[0]}]" if groups else "in a recipe"
        return f"unknown setting {name!r} {where}; known are {', '.join(kind.model_fields)}"
    if name in ("network", "mixture", *GROUPS):
        return f"{name} is {first['input']!r}; it must be a table of settings"
    allowed = "a number above 0" if groups == ["mixture"] else _allowed(kind.model_fields[name])
    return f"{'.'.join([*groups, name])} is {first['input']!r}; it must be {allowed}"


def _allowed(info: FieldInfo) -> str:
    """What a setting may be, in words."""
    kind: Any = info.annotation
    if get_origin(kind) is tuple:
        return f"a list of {', '.join(get_args(get_args(kind)[0]))}"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    noun = {float: "a number", int: "a whole number", bool: "true or false"}.get(kind, "a text")
    words = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
    bounds = [
        f"{word} {getattr(each, name)}" for name, word in words.items() for each in info.metadata if hasattr(each, name)
    ]
    return " ".join([noun, " and ".join(bounds)]).strip()
