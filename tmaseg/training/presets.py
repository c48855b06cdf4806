"""Recipes as files: the presets that come with the program, a user's own, values set on the command line."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig
from tmaseg.training.recipe import GROUPS, Recipe

_FOLDER = Path(__file__).with_name("presets")
_PLAIN = ("about", "init", "labels")
_TABLES = ("network", "shares")
_NETWORK = tuple(each.name for each in fields(TMANetConfig) if each.name != "classes")


def preset_names() -> tuple[str, ...]:
    """The presets that come with the program."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A preset by name, or a recipe file. Raises ConfigError that names the file and the value that is wrong."""
    path = Path(name_or_path)
    if path.suffix.lower() != ".toml":
        if str(name_or_path) not in preset_names():
            known = ", ".join(preset_names())
            raise ConfigError(f"unknown preset {str(name_or_path)!r}; choose {known}, or give a .toml file")
        path = _FOLDER / f"{name_or_path}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{path}: the recipe cannot be read ({error}): see --show-preset for how one looks"
        ) from error
    try:
        return from_values(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def from_values(values: Mapping[str, Any], base: Recipe | None = None) -> Recipe:
    """A recipe from what a TOML file holds; what it does not say is as in `base`. Raises ConfigError."""
    recipe = base or Recipe()
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key in _PLAIN:
            changes[key] = _typed(key, value, str)
        elif key in _TABLES and isinstance(value, Mapping):
            changes[key] = {**getattr(recipe, key), **_table(key, value)}
        elif key in GROUPS and isinstance(value, Mapping):
            changes[key] = replace(getattr(recipe, key), **_group(GROUPS[key], value))
        else:
            raise ConfigError(f"unknown entry {key!r} in a recipe; known are {', '.join([*_PLAIN, *_TABLES, *GROUPS])}")
    return replace(recipe, **changes)


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with "name=value" settings: "lr=0.01", "descent.lr=0.01", "backbone=resnet18", "shares.camvid=0.3".

    Values are as in TOML; quotes may be left out. Where steps are set, the recipe's minutes no longer count. Raises
    ConfigError for a name or value that will not do.
    """
    values = parse_settings(settings)
    length = values.get("descent", {})
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
        if group:
            values.setdefault(group, {})[key] = _parse(text.strip())
        else:
            values[key] = _parse(text.strip())
    return values


def to_toml(recipe: Recipe) -> str:
    """Every value of a recipe as a TOML file that `load_recipe` reads."""
    lines = [f"{name} = {_text(getattr(recipe, name))}" for name in _PLAIN]
    for table in _TABLES:
        lines += ["", f"[{table}]", *(f"{key} = {_text(value)}" for key, value in getattr(recipe, table).items())]
    for name, kind in GROUPS.items():
        group = getattr(recipe, name)
        lines += ["", f"[{name}]", *(f"{each.name} = {_text(getattr(group, each.name))}" for each in fields(kind))]
    return "\n".join(lines) + "\n"


def to_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, ready for JSON."""
    return tomllib.loads(to_toml(recipe))


def _resolve(name: str) -> tuple[str, str]:
    """The group ("" for none) and the key of a setting."""
    group, dot, key = name.partition(".")
    if dot and (group in GROUPS or group in _TABLES):
        return group, key
    if name in _PLAIN:
        return "", name
    if name in _NETWORK:
        return "network", name
    for group, kind in GROUPS.items():
        if name in (each.name for each in fields(kind)):
            return group, name
    listed = ", ".join(each.name for kind in GROUPS.values() for each in fields(kind))
    raise ConfigError(f"unknown setting {name!r}; known are {', '.join(_PLAIN)}, {', '.join(_NETWORK)}, {listed}")


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        try:
            return float(text)  # ".5" is no TOML
        except ValueError:
            return text


def _group(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    unknown = [name for name in values if name not in {each.name for each in fields(kind)}]
    if unknown:
        raise ConfigError(
            f"unknown value {', '.join(unknown)}; known are {', '.join(each.name for each in fields(kind))}"
        )
    return {name: _typed(name, value, hints[name]) for name, value in values.items()}


def _table(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if name == "shares":
        return {key.lower(): _typed(f"shares.{key}", value, float) for key, value in values.items()}
    return dict(values)  # TMANetConfig checks its own


def _typed(name: str, value: Any, kind: Any) -> Any:
    """The value as its type. Raises ConfigError when it is not of it."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, get_args(kind)))}")
        return value
    if get_origin(kind) is tuple:
        values = value if isinstance(value, list | tuple) else [part for part in str(value).split(",") if part]
        return tuple(_typed(name, each, str) for each in values)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # a text that looks like a number
    right = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not right or (isinstance(value, bool) and kind is not bool):
        words = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
        raise ConfigError(f"{name} is {value!r}; it must be {words[kind]}")
    return kind(value)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)
