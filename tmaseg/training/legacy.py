"""Recipes and states of older versions: settings that have other names now, and those that are gone.

A run that was begun with an older version is resumed by `tmaseg train --resume` with what stands in its folder.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tmaseg.errors import ConfigError

_GROUPS = {
    "augment": "augmentation",
    "remember": "memory",
    "loss": "loss",
    "descent": "optimizer",
    "running": "run",
    "shares": "mixture",
}
_IN_RUN = ("steps", "minutes")  # were in [descent]

RENAMED = {
    "view": "input_size",
    "scale_from": "scale_min",
    "scale_to": "scale_max",
    "scale_even": "scale_distribution",
    "rare_share": "rare_class_probability",
    "light_share": "light_probability",
    "colour_share": "colour_probability",
    "blur_share": "blur_probability",
    "noise_share": "noise_probability",
    "own_share": "self_probability",
    "moved_share": "moved_probability",
    "past_share": "past_probability",
    "frames_from": "frames_min",
    "frames_to": "frames_max",
    "light_together": "same_light",
    "hide_share": "hide_probability",
    "optimiser": "algorithm",
    "decline": "lr_schedule",
    "average": "ema_decay",
    "norms": "sync_bn",
    "depth": "backbone",
}
"""Setting of an older version -> its name now."""

_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "scale_even": lambda value: {"factor": "uniform", "logarithm": "log-uniform"}.get(value, value),
    "norms": lambda value: value == "auto",
    "hue": lambda value: 2 * value,  # were OpenCV's half degrees
}

_BUILT_IN: dict[str, tuple[Any, ...]] = {
    "crop_most": (0.75,),
    "motion_zoom": (0.05,),
    "motion_shift": (0.02,),
    "motion_rotation": (1.0,),
    "motion_brightness": (4.0,),
    "ohem": (0.0,),
    "ohem_least": (),
    "momentum": (0.9,),
    "decay_all": (),
    "power": (0.9,),
    "lr_end": (0.0,),
    "augment_on": (),
    "deterministic": (),
}
"""Settings that are gone, and the values that are built in now; () where nothing depends on it."""


def is_legacy(values: Mapping[str, Any]) -> bool:
    """Whether a recipe's values are those of an older version."""
    return any(name in values for name in _GROUPS if name != "loss")


def upgrade_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's values under today's names; those of today are returned as they are.

    Raises ConfigError for a setting that is gone, if it had another value than the one that is built in now.
    """
    if not is_legacy(values):
        return dict(values)
    upgraded: dict[str, Any] = {}
    for group, settings in values.items():
        if group not in _GROUPS or not isinstance(settings, Mapping):
            upgraded[group] = settings
            continue
        for name, value in settings.items():
            if name in _BUILT_IN:
                _check_built_in(group, name, value, settings)
                continue
            target = "run" if name in _IN_RUN else _GROUPS[group]
            converted = _CONVERTED.get(name, lambda same: same)(value)
            upgraded.setdefault(target, {})[RENAMED.get(name, name)] = converted
    return upgraded


def _check_built_in(group: str, name: str, value: Any, settings: Mapping[str, Any]) -> None:
    allowed = _BUILT_IN[name]
    if name == "decay_all":  # now goes by the algorithm
        allowed = (settings.get("optimiser", "sgd") == "sgd",)
    if allowed and value not in allowed:
        raise ConfigError(
            f"{group}.{name} is {value!r}; this setting of an older tmaseg is gone, only {allowed[0]!r} is left: "
            "take the line out, or use the older version"
        )


def upgrade_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state of the first format under today's keys; others are returned as they are."""
    if state.get("format") != 1:
        return dict(state)
    renamed = {"average": "ema", "optimiser": "optimizer", "scored": "scored_step"}
    upgraded = {renamed.get(name, name): value for name, value in state.items()}
    return {**upgraded, "format": 2, "scored_step": upgraded.get("scored_step", upgraded["step"])}
