"""Outputs lie in the folder that was named, two inputs never share one, and nothing that is read is ever written."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

LONG = "漢" * 82  # 246 bytes


def picture(path, seed=0, *, mask=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray((pixels[..., 0] > 128).astype(np.uint8) if mask else pixels).save(path)
    return path


def state(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def listed(folder, pairs):
    """A data set described by a list of (picture, mask) as given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list.txt").write_text("".join(f"{image} {mask}\n" for image, mask in pairs))
    (folder / "data.yaml").write_text("val: list.txt\nnames: [road, car]\n")
    return folder / "data.yaml"


@pytest.fixture
def evaluate(tmaseg, weights):
    def call(data, *arguments):
        common = ("--weights", weights, "--no-temporal", "--precision", "fp32", "--device", "cpu")
        return tmaseg("eval", "--dataset", data, *common, *arguments)

    return call


@pytest.mark.parametrize("kind", ["absolute", "above", "beside", "long"])
def test_what_eval_saves_stays_in_its_folder_and_spares_what_is_read(evaluate, tmp_path, kind):
    inputs, saved = tmp_path / "inputs", tmp_path / "deep" / "saved"
    stems = [f"{LONG}{number}" for number in range(2)] if kind == "long" else ["f0", "f1"]
    images = [picture(inputs / "images" / f"{stem}.png", number) for number, stem in enumerate(stems)]
    masks = [picture(inputs / "masks" / f"{stem}.png", number, mask=True) for number, stem in enumerate(stems)]
    folder = inputs / "lists"
    if kind == "above":
        images = [os.path.relpath(path, folder) for path in images]
        masks = [os.path.relpath(path, folder) for path in masks]
    if kind == "beside":  # f0.jpg and its mask f0.png, and f0.bmp with another
        images = [picture(inputs / "images" / f"f0.{suffix}", 3) for suffix in ("jpg", "bmp")]
    data = listed(folder, zip(images, masks, strict=True))
    before = state(inputs)
    assert evaluate(data, "--save", saved, "-q").code == 0
    assert state(inputs) == before
    assert len(list((saved / "masks").rglob("*.png"))) == len(list((saved / "errors").rglob("*.png"))) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"inputs", "deep"}


def test_eval_refuses_to_save_over_what_it_reads(evaluate, tmp_path):
    images = [picture(tmp_path / "masks" / f"f{number}.png", number) for number in range(2)]
    truths = [picture(tmp_path / "errors" / f"f{number}.png", number, mask=True) for number in range(2)]
    data = listed(tmp_path, zip(images, truths, strict=True))
    data.write_text("val: list.txt\nnames: [road, car]\n")
    before = state(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "masks").symlink_to(tmp_path / "masks")
    for outputs in (("--report", images[0]), ("--report", data), ("--report", tmp_path / "list.txt")):
        answer = evaluate(data, *outputs)
        assert (answer.code, "is the input itself" in answer.err) == (1, True)
    # The list lies above both folders, so names are masks/f0, which would become masks/masks/f0.png; one folder each:
    (tmp_path / "masks" / "list.txt").write_text("".join(f"f{n}.png {truths[n]}\n" for n in range(2)))
    (tmp_path / "masks" / "data.yaml").write_text("val: list.txt\nnames: [road, car]\n")
    before = state(tmp_path)
    for folder in (tmp_path, tmp_path / "other"):
        answer = evaluate(tmp_path / "masks" / "data.yaml", "--save", folder)
        assert (answer.code, "is the input itself" in answer.err) == (1, True)
    assert state(tmp_path) == before


def test_run_takes_names_of_every_length(tmaseg, clip, tmp_path):
    sources = [tmp_path / f"{LONG}.mp4", tmp_path / f"{'x' * 251}.mkv"]
    for source in sources:
        shutil.copy(clip, source)
    out = tmp_path / "out"
    names = ("-o", out / "video", "--masks", out / "masks", "--stats", out / "stats", "--end", 0.1)
    assert tmaseg("run", *sources, *names).code == 0
    assert {path.name for path in (out / "video").iterdir()} == {source.name for source in sources}
    assert len(list((out / "masks").iterdir())) == len(list((out / "stats").iterdir())) == 2
    assert tmaseg("run", sources[0], "-o", f"{out}/one/", "--end", 0.1).code == 0


def test_run_never_writes_what_another_source_or_image_is(tmaseg, clip, tmp_path):
    (tmp_path / "out").mkdir()
    first, second = tmp_path / "clip.mp4", tmp_path / "out" / "clip.mp4"
    shutil.copy(clip, first)
    shutil.copy(clip, second)
    shutil.copy(clip, tmp_path / "other.mp4")
    images = [picture(tmp_path / "images" / f"{number:06d}.png", number) for number in range(2)]
    before = state(tmp_path)
    for arguments in (
        (first, tmp_path / "out" / "clip.mp4", "-o", tmp_path / "out"),
        (tmp_path / "other.mp4", second, "-o", tmp_path / "out"),
        (images[0].parent, "--masks", images[0].parent),
        (images[0].parent, "-o", images[1].with_suffix(".mp4"), "--stats", images[1]),
    ):
        answer = tmaseg("run", *arguments, "--overwrite")
        assert answer.code == 1
        assert "itself" in answer.err or "are read" in answer.err or "would both become" in answer.err
    assert state(tmp_path) == before


def test_frames_takes_names_of_every_length_and_keeps_inputs_apart(tmaseg, tmp_path):
    names = [
        f"{LONG}1.png",
        f"{'x' * 251}.png",
        f"{'x' * 251}.bmp",
        "a.jpg",
        "a.png",
        "a.jpg.png",
        "é.png",
        "e\u0301.png",
    ]
    for number, name in enumerate(names):
        picture(tmp_path / "in" / name, number)
    for formats in ("ids", "ids,overlay"):
        answer = tmaseg("frames", tmp_path / "in", "-o", tmp_path / formats, "--format", formats)
        assert answer.code == 0, answer.err
        for folder in {path.parent for path in (tmp_path / formats).rglob("*.png")}:
            assert len(list(folder.iterdir())) == len(names)
    again = tmaseg("frames", tmp_path / "in", "-o", tmp_path / "ids", "--skip-existing", "--json")
    assert again.json["skipped"] == len(names)


def test_train_spares_its_weights_its_recipe_and_its_pictures(tmaseg, weights, tmp_path):
    out = tmp_path / "out"
    for number in range(2):
        picture(tmp_path / "data" / "images" / f"f{number}.png", number)
        picture(tmp_path / "data" / "masks" / f"f{number}.png", number, mask=True)
    (tmp_path / "data" / "labels.yaml").write_text("name: two\nnames: [road, car]\n")
    out.mkdir()
    shutil.copy(weights, out / "best.safetensors")
    common = ("--dataset", "folder", "--data", tmp_path / "data", "--steps", 1, "-o", out)
    for start in (("--init", out / "best.safetensors"), ("--preset", out / "recipe.toml")):
        (out / "recipe.toml").write_text("# mine\n" + tmaseg("train", "--show-preset").out)
        before = state(tmp_path)
        answer = tmaseg("train", *common, *start)
        assert (answer.code, "is the input itself" in answer.err) == (1, True), answer.err
        name = start[1].relative_to(tmp_path).as_posix()
        assert state(tmp_path)[name] == before[name]


def test_convert_and_data_check_spare_what_they_read(tmaseg, tmp_path):
    image, mask = picture(tmp_path / "images" / "f-val.png"), picture(tmp_path / "masks" / "f-val.png", mask=True)
    (tmp_path / "data.yaml").write_text("val: {images: images, masks: masks}\nnames: [road, car]\n")
    before = state(tmp_path)
    answer = tmaseg("data", "check", tmp_path / "data.yaml", "--samples", image.with_stem("f"))
    assert "is the input itself" in answer.err
    shutil.copy(mask, tmp_path / "w.safetensors")
    answer = tmaseg("convert", tmp_path / "w.safetensors", "-o", tmp_path / "w.safetensors", "--overwrite")
    assert (answer.code, "is the input itself" in answer.err) == (1, True)
    assert {name: state(tmp_path)[name] for name in before} == before
