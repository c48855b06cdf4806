"""Recipes: presets are whole, values are checked, what is written is what is read."""

import re
import tomllib
from dataclasses import fields

import pytest

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig
from tmaseg.training.presets import from_values, load_recipe, override, preset_names, to_toml, to_values
from tmaseg.training.recipe import GROUPS, Recipe


def test_the_presets_are_there_and_survive_being_written_down():
    assert preset_names() == ("camvid", "finetune", "paper-camvid", "paper-cityscapes", "scratch", "street")
    for name in preset_names():
        recipe = load_recipe(name)
        assert recipe.about
        assert from_values(tomllib.loads(to_toml(recipe))) == recipe
        assert from_values(to_values(recipe)) == recipe


def test_the_papers_recipe_is_the_papers():
    for name, crop, frames in (("paper-camvid", (640, 640), 4), ("paper-cityscapes", (769, 769), 2)):
        recipe = load_recipe(name)
        descent, augment = recipe.descent, recipe.augment
        assert (descent.optimiser, descent.momentum, descent.weight_decay) == ("sgd", 0.9, 5e-4)
        assert (descent.decline, descent.power, descent.lr, descent.lr_end) == ("poly", 0.9, 0.01, 0.0)
        assert (descent.batch, descent.steps, descent.decay_all) == (8, 80_000, True)
        assert (augment.scale_from, augment.scale_to, augment.flip, augment.crop_most) == (0.5, 2.0, 0.5, 0.75)
        assert (augment.brightness, augment.contrast, augment.saturation, augment.hue) == (32, 0.5, 0.5, 18)
        assert (augment.crop_hw, recipe.network["memory_frames"]) == (crop, frames)
        assert (recipe.loss.auxiliary, recipe.network["backbone"], recipe.network["output_stride"]) == (
            0.4,
            "resnet50",
            8,
        )


def test_names_of_values_are_unique_so_that_no_group_need_be_said():
    kinds = [Recipe, TMANetConfig, *GROUPS.values()]
    names = [each.name for kind in kinds for each in fields(kind)]
    assert len(names) == len(set(names))


def test_values_are_set_by_name_alone_or_with_their_group():
    settings = [
        "lr=1e-4",
        "descent.batch=2",
        "backbone=resnet34",
        "shares.camvid=.3",
        "crop=128x96",
        "freeze=stem,layer1",
    ]
    recipe = override(load_recipe("scratch"), [*settings, "freeze_norms=true", "init=street"])
    assert (recipe.descent.lr, recipe.descent.batch, recipe.network["backbone"]) == (1e-4, 2, "resnet34")
    assert (dict(recipe.shares), recipe.augment.crop_hw, recipe.init) == ({"camvid": 0.3}, (96, 128), "street")
    assert (recipe.descent.freeze, recipe.descent.freeze_norms) == (("stem", "layer1"), True)
    assert recipe.loss == load_recipe("scratch").loss


def test_a_length_in_steps_takes_the_place_of_the_preset_s_minutes_and_both_are_refused():
    timed = load_recipe("scratch")
    assert timed.descent.minutes > 0
    assert override(timed, ["lr=1"]).descent.minutes == timed.descent.minutes
    descent = override(timed, ["descent.steps=5"]).descent
    assert (descent.steps, descent.minutes) == (5, 0)
    for settings in (["steps=5", "minutes=3"], ["minutes=3", "steps=5"]):
        with pytest.raises(ConfigError, match=r"steps is 5 and minutes is 3; .* leave the other out"):
            override(timed, settings)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("lr=fast", "lr is 'fast'; it must be a number"),
        ("lr=0", "lr is 0.0; it must be above 0"),
        ("speed=1", "unknown setting 'speed'"),
        ("lr", "must be name=value"),
        ("optimiser=adam", "one of sgd, adamw"),
        ("crop=640", "crop is '640'; it must be WIDTHxHEIGHT"),
        ("batch=1.5", "a whole number"),
        ("freeze=layer9", "freeze is layer9"),
        ("own_share=0.5", "own_share + moved_share + past_share"),
        ("backbone=vgg", "backbone is 'vgg'"),
        ("stride=7", "a multiple of the loss's stride 7"),
        ("compile=1", "true or false"),
        ("frames_from=3", "0 to frames_to"),
    ],
)
def test_a_value_that_cannot_work_is_named(setting, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        override(Recipe(), [setting])


def test_a_file_that_is_no_recipe_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    for text, said in (("lr 3", "cannot be read"), ("[descent]\nlt = 3", "lt"), ("speed = 3", "unknown entry 'speed'")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=rf"mine\.toml.*{said}"):
            load_recipe(path)
    path.write_text("[descent]\nlr = 1")
    assert load_recipe(path).descent.lr == 1.0
    with pytest.raises(ConfigError, match="unknown preset 'fast'; choose camvid, finetune"):
        load_recipe("fast")
