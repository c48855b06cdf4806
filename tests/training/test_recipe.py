"""Recipes: presets are complete, values are checked, what is written is what is read, old ones are understood."""

import re
import tomllib
from dataclasses import fields

import pytest

from tmaseg.errors import ConfigError
from tmaseg.model.config import TMANetConfig
from tmaseg.training.recipe import GROUPS, Recipe, from_values, load_recipe, override, preset_names, to_toml


def test_the_presets_are_there_and_survive_being_written():
    assert preset_names() == ("camvid", "finetune", "paper-camvid", "paper-cityscapes", "scratch", "street")
    for name in preset_names():
        recipe = load_recipe(name)
        assert recipe.about
        assert from_values(tomllib.loads(to_toml(recipe))) == recipe
        assert from_values(recipe.model_dump(mode="json")) == recipe


def test_the_papers_recipe_is_the_papers():
    for name, crop, frames in (("paper-camvid", (640, 640), 4), ("paper-cityscapes", (769, 769), 2)):
        recipe = load_recipe(name)
        optimizer, augmentation = recipe.optimizer, recipe.augmentation
        assert (optimizer.algorithm, optimizer.weight_decay, optimizer.batch) == ("sgd", 5e-4, 8)
        assert (optimizer.lr_schedule, optimizer.lr, recipe.run.steps) == ("poly", 0.01, 80_000)
        assert (augmentation.scale_min, augmentation.scale_max, augmentation.flip) == (0.5, 2.0, 0.5)
        light = (augmentation.brightness, augmentation.contrast, augmentation.saturation, augmentation.hue)
        assert light == (32, 0.5, 0.5, 36)
        assert (augmentation.crop_hw, recipe.network["memory_frames"]) == (crop, frames)
        assert (recipe.loss.auxiliary, recipe.network["backbone"]) == (0.4, "resnet50")
        assert recipe.network["output_stride"] == 8


def test_names_of_settings_are_unique_so_that_no_group_need_be_given():
    names = [name for kind in (Recipe, *GROUPS.values()) for name in kind.model_fields]
    names += [each.name for each in fields(TMANetConfig)]
    assert len(names) == len(set(names))


def test_settings_are_set_by_name_alone_or_with_their_group():
    settings = ["lr=1e-4", "optimizer.batch=2", "backbone=resnet34", "mixture.camvid=.3", "crop=128x96"]
    recipe = override(load_recipe("scratch"), [*settings, "freeze=stem,layer1", "freeze_norms=true", "init=street"])
    assert (recipe.optimizer.lr, recipe.optimizer.batch, recipe.network["backbone"]) == (1e-4, 2, "resnet34")
    assert (recipe.mixture, recipe.augmentation.crop_hw, recipe.init) == ({"camvid": 0.3}, (96, 128), "street")
    assert (recipe.optimizer.freeze, recipe.optimizer.freeze_norms) == (("stem", "layer1"), True)
    assert recipe.loss == load_recipe("scratch").loss
    assert override(Recipe(), ["init=2024", "freeze="]).init == "2024"


def test_a_length_in_steps_takes_the_place_of_the_preset_s_minutes_and_both_are_refused():
    timed = load_recipe("scratch")
    assert timed.run.minutes > 0
    assert override(timed, ["lr=1"]).run.minutes == timed.run.minutes
    run = override(timed, ["run.steps=5"]).run
    assert (run.steps, run.minutes) == (5, 0)
    for settings in (["steps=5", "minutes=3"], ["minutes=3", "steps=5"]):
        with pytest.raises(ConfigError, match=r"steps is 5 and minutes is 3; .* leave the other out"):
            override(timed, settings)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lr=fast", "optimizer.lr is 'fast'; it must be a valid number"),
        ("lr=0", "optimizer.lr is 0; it must be greater than 0"),
        ("lr=nan", "optimizer.lr is nan; it must be a finite number"),
        ("lr=true", "optimizer.lr is True; it must be a valid number"),
        ("flip=1.5", "augmentation.flip is 1.5; it must be less than or equal to 1"),
        ("speed=1", "unknown setting 'speed'; known are about, init"),
        ("descent.lr=1", "unknown setting 'descent.lr'"),
        ("optimizer.speed=1", "unknown setting 'speed' in [optimizer]; known are algorithm, lr"),
        ("lr", "must be name=value"),
        ("algorithm=adam", "optimizer.algorithm is 'adam'; it must be 'sgd' or 'adamw'"),
        ("crop=640", "crop is '640'; it must be WIDTHxHEIGHT"),
        ("crop=16x640", "crop is 16x640; it must be at least 32 pixels"),
        ("batch=1.5", "optimizer.batch is 1.5; it must be a valid integer"),
        ("freeze=layer9", "optimizer.freeze is 'layer9'; it must be 'stem', 'layer1', 'layer2', 'layer3' or 'layer4'"),
        ("self_probability=0.5", "self_probability + moved_probability + past_probability is 1.5; it must be 1"),
        ("backbone=vgg", "backbone is 'vgg'"),
        ("network.depths=1", "unknown configuration value depths"),
        ("stride=7", "a multiple of the loss's stride 7"),
        ("compile=1", "run.compile is 1; it must be a valid boolean"),
        ("frames_min=3", "frames_min is 3 and frames_max is 0"),
        ("mixture.camvid=0", "mixture.camvid is 0; it must be greater than 0"),
    ],
)
def test_a_value_that_cannot_work_is_named(setting, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        override(Recipe(), [setting])
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_recipe_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    for text, message in (
        ("lr 3", "cannot be read"),
        ("[optimizer]\nlt = 3", r"unknown setting 'lt' in \[optimizer\]"),
        ("speed = 3", "unknown setting 'speed' in a recipe; known are about"),
        ("optimizer = 3", "optimizer is 3; it must be a table of settings"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=rf"mine\.toml.*{message}"):
            load_recipe(path)
    path.write_text("[optimizer]\nlr = 1")
    assert load_recipe(path).optimizer.lr == 1.0
    with pytest.raises(ConfigError, match="unknown preset 'fast'; choose camvid, finetune"):
        load_recipe("fast")
