"""What evaluation reports against what its own saved masks say to scikit-learn and to plain loops."""

import math

import cv2
import numpy as np
import pytest
import yaml
from drawn import write_drawn
from PIL import Image
from scenes import SIZE_HW, write_frame
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from tmaseg.data import open_dataset
from tmaseg.errors import ConfigError, DataError, LabelError, OutputError
from tmaseg.evaluation import EvalOptions, Shard, evaluate
from tmaseg.evaluation.frames import is_close, limited
from tmaseg.evaluation.scores import moving_means
from tmaseg.inference import scene_cut
from tmaseg.inference.segmenter import Segmenter
from tmaseg.labels import CAMVID, CAMVID12, CITYSCAPES, LabelSet, map_by_name
from tmaseg.metrics import ConfusionMatrix, FlowConsistency
from tmaseg.model.config import InputGeometry
from tmaseg.training.validation import validate
from tmaseg.video.images import read_image
from tmaseg.video.optical_flow import FlowEstimator


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def predictions(folder, dataset, split):
    return [read(folder / "masks" / f"{sample.frame.name}.png") for sample in dataset.samples(split)]


def truths(dataset, split):
    return [dataset.truth(sample.frame) for sample in dataset.samples(split)]


def windows(frames, masks, labels, *, published):
    """VC over all windows of one run, pixel by pixel."""
    values = []
    for start in range(len(masks) - frames + (0 if published else 1)):
        truth, predicted = (np.stack(maps[start : start + frames]) for maps in (labels, masks))
        still = (truth == truth[0]).all(0) if published else (truth == truth[0]).all(0) & (truth[0] != 11)
        agrees = (predicted == predicted[0]).all(0) if published else (predicted == truth).all(0)
        if still.any():
            values.append((still & agrees).sum() / still.sum())
    return float(np.mean(values))


def test_every_figure_again_from_the_saved_masks(camvid, weights, tmp_path):
    result = evaluate(camvid, weights(CITYSCAPES), EvalOptions(split="val", save=tmp_path))
    report = result.to_dict()
    masks, labels = predictions(tmp_path, camvid, "val"), truths(camvid, "val")
    assert len({value for mask in masks for value in np.unique(mask).tolist()}) > 2  # or the test says nothing
    true, said = np.concatenate([label.ravel() for label in labels]), np.concatenate([mask.ravel() for mask in masks])
    scored = true != 11
    true, said = true[scored], said[scored]
    expected = confusion_matrix(true, np.minimum(said, 11), labels=range(12))[:11]
    np.testing.assert_array_equal(np.array(report["confusion"]), expected)
    assert report["pixel_accuracy"] == pytest.approx(accuracy_score(true, said))
    seen = sorted({*true.tolist(), *said.tolist()} - {11})
    iou = dict(zip(seen, jaccard_score(true, said, labels=seen, average=None, zero_division=0), strict=True))
    assert report["miou"] == pytest.approx(np.mean(list(iou.values())))
    for index, name in enumerate(CAMVID.names):
        assert report["classes"][name] == (pytest.approx(iou[index]) if index in iou else None)
    for frames in (8, 16):
        assert report[f"vc{frames}"] == pytest.approx(windows(frames, masks, labels, published=True))
        assert report[f"vc{frames}_corrected"] == pytest.approx(windows(frames, masks, labels, published=False))
        assert report[f"vc{frames}_windows"] == 21 - frames
    motion, flow = FlowEstimator(), FlowConsistency(11, ignore_index=11)
    for sample, mask in zip(camvid.samples("val"), masks, strict=True):
        flow.update(mask, motion.update(camvid.image(sample.frame)))
    assert report["tc"] == pytest.approx(flow.tc)
    assert report["flicker"] == pytest.approx(flow.flicker)
    assert (report["images"], report["scored_classes"], report["tc_pairs"]) == (20, 11, 19)
    errors = read(tmp_path / "errors" / "0016E5_07959.png")
    wrong = (masks[0] != labels[0]) & (labels[0] != 11)
    assert (errors[labels[0] == 11] == 0).all()
    np.testing.assert_array_equal(errors[..., 0].astype(int) > errors[..., 1].astype(int) + 50, wrong)


def test_masks_are_those_of_the_segmenter(camvid, weights, tmp_path):
    """The same stream as `run` makes of each film; classes by name."""
    evaluate(camvid, weights(CITYSCAPES), EvalOptions(split="test", save=tmp_path))
    ready = weights(CITYSCAPES)
    table = map_by_name(CITYSCAPES, CAMVID).table
    for clip in camvid.split("test"):
        segmenter = Segmenter(ready.engine, CITYSCAPES, detect_cuts=False)
        for frame in clip.frames:
            expected = table[segmenter.step(camvid.image(frame)).labels]
            np.testing.assert_array_equal(read(tmp_path / "masks" / f"{frame.name}.png"), expected)


def test_memory_and_none_side_by_side(camvid, weights, tmp_path):
    both = evaluate(camvid, weights(), EvalOptions(split="val", memories=(None, 0), save=tmp_path))
    assert [each.memory_frames for each in both.passes] == [3, 0]
    alone = evaluate(camvid, weights(), EvalOptions(split="val", memories=(0,), batch=6, save=tmp_path / "batch"))
    for sample in camvid.samples("val"):
        segmenter = Segmenter(weights().engine, CAMVID, memory_frames=0)
        expected = segmenter.step(camvid.image(sample.frame)).labels
        for folder in (tmp_path / "memory-0", tmp_path / "batch"):
            np.testing.assert_array_equal(read(folder / "masks" / f"{sample.frame.name}.png"), expected)
    rows = both.to_dict()["passes"]
    assert rows[1]["miou"] == alone.to_dict()["miou"]
    assert rows[1]["vc8"] == alone.to_dict()["vc8"]
    assert rows[0]["gmacs_per_frame"] > rows[1]["gmacs_per_frame"]  # attention over three frames
    np.testing.assert_raises(
        AssertionError,
        np.testing.assert_array_equal,
        predictions(tmp_path / "memory-3", camvid, "val"),
        predictions(tmp_path / "memory-0", camvid, "val"),
    )
    for options in ({"memories": (0, 0)}, {"memories": (3, None)}):
        with pytest.raises(ConfigError, match="--compare-memory has nothing to compare"):
            evaluate(camvid, weights(), EvalOptions(split="val", **options))
    with pytest.raises(ConfigError, match="frames of this data have others in memory: leave it out"):
        evaluate(camvid, weights(), EvalOptions(split="val", batch=2))


def test_films_a_second_apart_are_no_runs(camvid, weights):
    report = evaluate(camvid, weights(), EvalOptions(split="test")).to_dict()
    assert report["images"] == 6
    assert report["tc"] is report["vc8"] is report["flicker"] is None
    assert any("follow each other closely" in note for note in report["notes"])
    assert [(row["name"], row["images"]) for row in report["per_sequence"]] == [("0001TP", 3), ("Seq05VD", 3)]
    quiet = evaluate(camvid, weights(), EvalOptions(split="val", no_temporal=True)).to_dict()
    assert quiet["vc8"] is quiet["tc"] is None


def test_scales_and_mirroring_average_probabilities(camvid, weights, tmp_path):
    ready = weights(geometry=InputGeometry(size=40))
    evaluate(camvid, ready, EvalOptions(split="test", scales=(1.0, 1.5), flip=True, save=tmp_path))
    for clip in camvid.split("test"):
        streams = {
            (size, flip): Segmenter(ready.engine, CAMVID, geometry=InputGeometry(size=size), detect_cuts=False)
            for size in (40, 60)
            for flip in (False, True)
        }
        for frame in clip.frames:
            total = 0
            for (_, flip), segmenter in streams.items():
                rgb = camvid.image(frame)
                logits = segmenter.step(rgb[:, ::-1].copy() if flip else rgb, logits=True).logits
                chances = logits.softmax(0).numpy()
                total = total + (chances[..., ::-1] if flip else chances)
            same = read(tmp_path / "masks" / f"{frame.name}.png") == total.argmax(0)
            assert same.mean() > 0.999  # ties may fall either way


def test_windows_are_those_of_the_segmenter(camvid, weights, tmp_path):
    geometry = InputGeometry(window=32, stride=16)
    evaluate(camvid, weights(), EvalOptions(split="test", geometry=geometry, save=tmp_path))
    clip = camvid.split("test")[0]
    segmenter = Segmenter(weights().engine, CAMVID, geometry=geometry, detect_cuts=False)
    for frame in clip.frames:
        expected = segmenter.step(camvid.image(frame)).labels
        np.testing.assert_array_equal(read(tmp_path / "masks" / f"{frame.name}.png"), expected)
    with pytest.raises(ConfigError, match="in windows of 32, one frame at a time: leave out --batch"):
        evaluate(camvid, weights(geometry=InputGeometry(window=32)), EvalOptions(split="test", memories=(0,), batch=2))


def test_only_the_frames_that_memory_needs_are_shown(weights, tmp_path):
    """The authors' layout: three frames before each labelled one give what the whole film gives."""
    for number in range(70):
        write_frame(tmp_path, "image_sequence", "unused", f"Seq05VD_f{number:05d}", number)
    for number in (30, 60, 62):
        write_frame(tmp_path, "images", "unused", f"Seq05VD_f{number:05d}", number)
        rgb_free = np.zeros(SIZE_HW, np.uint8)
        (tmp_path / "labels").mkdir(exist_ok=True)
        Image.fromarray(rgb_free + 1).save(tmp_path / f"labels/Seq05VD_f{number:05d}_L.png")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/test.txt").write_text("Seq05VD_f00030\nSeq05VD_f00060\nSeq05VD_f00062\n")
    dataset = open_dataset("camvid", tmp_path)
    result = evaluate(dataset, weights(), EvalOptions(split="test", save=tmp_path / "out"))
    assert (result.images, result.frames) == (3, 10)  # 27 to 30 and 57 to 62
    segmenter = Segmenter(weights().engine, CAMVID, detect_cuts=False)
    for number in range(63):
        labels = segmenter.step(read_image(tmp_path / f"image_sequence/Seq05VD_f{number:05d}.png")).labels
        if number in (30, 60, 62):
            saved = read(tmp_path / f"out/masks/Seq05VD_f{number:05d}.png")
            np.testing.assert_array_equal(saved, labels)


def test_twelve_classes_with_void(camvid, weights, tmp_path):
    """The authors' count: void is scored, and their output 0 answers it."""
    ready = weights(CAMVID12)
    eleven = evaluate(camvid, ready, EvalOptions(split="val", no_temporal=True))
    twelve = evaluate(camvid, ready, EvalOptions(split="val", score_void=True, no_temporal=True, save=tmp_path))
    assert (len(eleven.scored), len(twelve.scored)) == (11, 12)
    assert "void" in twelve.to_dict()["classes"]
    assert "void" not in eleven.to_dict()["classes"]
    assert any("the 11 classes and void" in note for note in twelve.notes)
    assert any("void is not scored" in note for note in eleven.notes)
    masks = np.stack(predictions(tmp_path, camvid, "val"))
    labels = np.stack(truths(camvid, "val"))  # void is 11 in both
    expected = jaccard_score(labels.ravel(), masks.ravel(), labels=[11], average=None, zero_division=0)[0]
    assert twelve.to_dict()["classes"]["void"] == pytest.approx(expected)
    assert twelve.passes[0].matrix.counts.sum() == labels.size


def test_other_classes_are_said(camvid, weights):
    report = evaluate(camvid, weights(CITYSCAPES), EvalOptions(split="test")).to_dict()
    assert any("19 classes of cityscapes, mapped by name to 11 of camvid" in note for note in report["notes"])
    odd = LabelSet("farm", ("road", "cow", "barn"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    notes = "\n".join(evaluate(camvid, weights(odd), EvalOptions(split="test")).notes)
    assert "no counterpart, and wrong wherever predicted: cow, barn" in notes
    assert "never predicted by these weights: sky, building" in notes
    same = evaluate(camvid, weights(CAMVID), EvalOptions(split="test")).notes
    assert not any("by name" in note for note in same)


def coarse(root):
    """A data set whose class "far" is a union of two finer classes of the weights, and those weights' label set."""
    write_drawn(root, val=3)
    labels = {"name": "coarse", "names": ["ground", "far", "box", "ball"], "union": {"far": ["sky", "building"]}}
    (root / "labels.yaml").write_text(yaml.safe_dump(labels))
    names = ("sky", "building", "ground", "box", "ball")
    fine = LabelSet("fine", names, tuple((index, index, index) for index in range(5)))
    return open_dataset("folder", root), fine


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"memories": (0,), "batch": 2}])
def test_probabilities_of_a_unions_members_are_summed(options, weights, tmp_path):
    dataset, fine = coarse(tmp_path / "data")
    network = weights(fine)
    result = evaluate(dataset, network, EvalOptions(split="val", save=tmp_path / "out", no_temporal=True, **options))
    matrix, differs = ConfusionMatrix(4), 0
    for sample in dataset.samples("val"):
        total = 0
        for step in (1, -1) if options.get("flip") else (1,):
            rgb = np.ascontiguousarray(dataset.image(sample.frame)[:, ::step])
            logits = Segmenter(network.engine, fine, detect_cuts=False).step(rgb, logits=True).logits
            total = total + logits.softmax(0).numpy()[..., ::step]
        sky, building, ground, box, ball = total
        expected = np.stack([ground, sky + building, box, ball]).argmax(0).astype(np.uint8)
        np.testing.assert_array_equal(read(tmp_path / "out/masks" / f"{sample.frame.name}.png"), expected)
        differs += (expected != np.array([1, 1, 0, 2, 3])[total.argmax(0)]).sum()
        matrix.update(expected, dataset.truth(sample.frame))
    assert differs  # the class of the single highest probability would not do
    assert result.to_dict()["miou"] == pytest.approx(matrix.compute().miou)
    with pytest.raises(ConfigError, match="--key-frames is 2, but coarse has unions"):
        evaluate(dataset, network, EvalOptions(split="val", key_frames=2))


def test_what_is_one_class_to_the_weights_is_scored_as_one(weights, tmp_path):
    """As in training's validation: CamVid's car is Cityscapes' car, truck, bus and train."""
    dataset = cityscapes(tmp_path / "data")
    bands = np.resize(np.repeat([7, 26, 27, 28, 31], 8), (36, 48)).astype(np.uint8)  # road, car, truck, bus, train
    (sample,) = dataset.samples("val")
    Image.fromarray(bands).save(sample.frame.mask)
    network = weights(CAMVID)
    result = evaluate(dataset, network, EvalOptions(split="val", save=tmp_path))
    car, truck = (CITYSCAPES.names.index(name) for name in ("car", "truck"))
    assert car in result.scored
    assert truck not in result.scored
    assert any(note.endswith("scored as one: car, truck, bus, train") for note in result.notes)
    assert "truck" not in result.to_dict()["classes"]
    mask = read(tmp_path / "masks" / f"{sample.frame.name}.png")
    expected = jaccard_score((bands != 7).ravel(), (mask == car).ravel())
    assert result.to_dict()["classes"]["car"] == pytest.approx(expected)
    assert expected > 0  # or the test says nothing
    found = validate(network, {"cityscapes": dataset}, "val", Shard())
    assert found.miou["cityscapes"] == pytest.approx(result.to_dict()["miou"])


def test_weights_without_a_common_class_are_refused(camvid, weights):
    fish = LabelSet("fish", ("carp", "eel"), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(LabelError, match="among those of the weights, carp, eel: choose other weights"):
        evaluate(camvid, weights(fish), EvalOptions(split="test"))


def test_squashed_pictures_are_shown_with_square_pixels(weights, tmp_path):
    for split in ("train", "val"):
        for number in (1, 2):
            write_frame(tmp_path, split, f"{split}annot", f"{number:04d}", number)
    dataset = open_dataset("cityscapes256", tmp_path)
    ready = weights(CITYSCAPES)
    evaluate(dataset, ready, EvalOptions(split="val", save=tmp_path / "out", batch=2))
    for sample in dataset.samples("val"):
        wide = cv2.resize(dataset.image(sample.frame), (96, 36), interpolation=cv2.INTER_LINEAR)
        expected = Segmenter(ready.engine, CITYSCAPES).step(wide).labels[:, 1::2]
        saved = read(tmp_path / "out/masks" / f"{sample.frame.name}.png")
        assert (saved == expected).all() or (
            saved == Segmenter(ready.engine, CITYSCAPES).step(wide).labels[:, ::2]
        ).all()


def cityscapes(root):
    for stem in ("berlin_000000_000019", "berlin_000001_000019"):
        write_frame(root, "leftImg8bit/test/berlin", "unused", f"{stem}_leftImg8bit", 3)
    write_frame(root, "leftImg8bit/val/bonn", "gtFine/val/bonn", "bonn_000000_000019_leftImg8bit", 4)
    mask = root / "gtFine/val/bonn/bonn_000000_000019_leftImg8bit.png"
    mask.rename(mask.with_name("bonn_000000_000019_gtFine_labelIds.png"))
    return open_dataset("cityscapes", root)


def test_a_folder_for_the_server(weights, tmp_path):
    dataset, out = cityscapes(tmp_path / "data"), tmp_path / "submission"
    report = evaluate(dataset, weights(CITYSCAPES), EvalOptions(split="test", submit=out)).to_dict()
    assert (report["images"], report["miou"]) == (0, None)
    assert any("no ground truth" in note for note in report["notes"])
    frames = [frame for clip in dataset.split("test") for frame in clip.frames]
    assert sorted(path.name for path in out.iterdir()) == ["berlin_000000_000019.png", "berlin_000001_000019.png"]
    ids = read(out / "berlin_000000_000019.png")
    expected = Segmenter(weights(CITYSCAPES).engine, CITYSCAPES).step(dataset.image(frames[0])).labels
    np.testing.assert_array_equal(ids, CITYSCAPES.encode_table()[expected])
    for frame in frames:
        with Image.open(out / f"{frame.name.rpartition('/')[2]}.png") as mask, Image.open(frame.image) as picture:
            assert (mask.mode, mask.size) == ("L", picture.size)
            assert set(np.unique(mask).tolist()) <= set(CITYSCAPES.ids)
    with pytest.raises(OutputError, match="holds pictures already"):
        evaluate(dataset, weights(CITYSCAPES), EvalOptions(split="test", submit=out))


def test_submissions_are_for_their_benchmarks(camvid, weights, tmp_path):
    with pytest.raises(ConfigError, match="--submit is for cityscapes and kitti, but the data set is camvid"):
        evaluate(camvid, weights(), EvalOptions(submit=tmp_path))


def test_limit_and_progress(camvid, weights):
    told = []
    options = EvalOptions(split="test", limit=4)
    result = evaluate(camvid, weights(), options, progress=lambda done, total: told.append((done, total)))
    assert result.images == 4
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    clips = list(limited(camvid.split("test"), 4))
    assert [len(clip.frames) for clip in clips] == [3, 1]


def test_parts_of_two_processes_are_the_whole(camvid):
    """Each sequence goes to one process, the long ones first."""
    clips = [*camvid.split("test"), *camvid.split("val")]
    parts = [Shard(rank, 2).select(clips, lambda clip: len(clip.frames)) for rank in (0, 1)]
    assert [[clip.name for clip in part] for part in parts] == [["0016E5"], ["0001TP", "Seq05VD"]]


def test_frames_are_close_by_time_or_by_number(camvid):
    val, test = camvid.split("val")[0], camvid.split("test")[0]
    assert is_close(val, val.frames[0], val.frames[3])
    assert not is_close(val, val.frames[0], val.frames[4])
    assert not is_close(test, test.frames[0], test.frames[1])


def test_bad_masks_stop_with_their_name(weights, tmp_path):
    for split in ("train", "val"):
        write_frame(tmp_path, split, f"{split}annot", "0001", 1)
    Image.fromarray(np.zeros((36, 48, 3), np.uint8) + np.arange(3, dtype=np.uint8)).save(tmp_path / "valannot/0001.png")
    with pytest.raises(DataError, match=r"0001\.png: a colour picture"):
        evaluate(open_dataset("cityscapes256", tmp_path), weights(CITYSCAPES), EvalOptions())
    Image.fromarray(np.zeros((30, 48), np.uint8)).save(tmp_path / "valannot/0001.png")
    with pytest.raises(DataError, match=r"0001\.png: the mask is 48x30 but its picture 48x36"):
        evaluate(open_dataset("cityscapes256", tmp_path), weights(CITYSCAPES), EvalOptions())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": (0.0, 1.0)}, "--scales is '0,1'"),
        ({"scales": ()}, "--scales is ''"),
        ({"limit": 0}, "--limit is 0"),
        ({"batch": 0}, "--batch is 0"),
        ({"batch": 2, "smooth": True}, "--batch is 2, but --smooth averages over frames in order"),
        ({"batch": 2, "flip": True}, "--batch is 2, but --scales, --flip and --window"),
        ({"key_frames": 0}, "--key-frames is 0; it must be 1"),
        ({"key_frames": 2, "flip": True}, "--key-frames is 2, which needs each frame once"),
        ({"key_frames": 2, "batch": 2}, "--key-frames is 2, which needs each frame once"),
    ],
)
def test_options_that_cannot_work(values, message):
    with pytest.raises(ConfigError, match=message):
        EvalOptions(**values)


@pytest.mark.parametrize(("split", "same"), [("val", False), ("test", True)])
def test_what_a_moving_camera_saw_a_second_ago_is_not_in_memory(camvid, weights, tmp_path, monkeypatch, split, same):
    """`val` has 15 frames a second, `test` one."""
    monkeypatch.setattr(scene_cut, "_STILL", 2.0)  # nothing stands still
    evaluate(camvid, weights(self_in_memory=True), EvalOptions(split=split, memories=(None, 0), save=tmp_path))
    kept, alone = (sorted((tmp_path / f"memory-{frames}").rglob("*.png")) for frames in (3, 0))
    assert len(kept) == len(alone) > 5
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(kept, alone, strict=True)) == same


@pytest.mark.parametrize("values", [{"geometry": InputGeometry(window=64)}, {"memories": (0,)}])
def test_smoothing_that_would_do_nothing_is_an_error(camvid, weights, values):
    with pytest.raises(ConfigError, match="--smooth has nothing to average"):
        evaluate(camvid, weights(), EvalOptions(smooth=True, **values))
    assert evaluate(camvid, weights(), EvalOptions(split="val", smooth=True, memories=(None, 0))).to_dict()["smooth"]


def test_gmacs_grow_with_what_is_seen(camvid, weights):
    def gmacs(**options):
        return evaluate(camvid, weights(), EvalOptions(split="test", limit=1, **options)).passes[0].gmacs

    plain = gmacs()
    assert gmacs(flip=True) == pytest.approx(2 * plain)
    assert gmacs(scales=(1.0, 1.0)) == pytest.approx(2 * plain)
    assert gmacs(geometry=InputGeometry(size=72)) > 3 * plain
    assert math.isfinite(plain)


def test_key_frames_are_those_of_the_segmenter_and_cost_less(camvid, weights, tmp_path):
    plain = evaluate(camvid, weights(), EvalOptions(split="val")).to_dict()
    report = evaluate(camvid, weights(), EvalOptions(split="val", key_frames=3, save=tmp_path)).to_dict()
    segmenter = Segmenter(weights().engine, CAMVID, detect_cuts=False, key_frames=3)
    for sample, mask in zip(camvid.samples("val"), predictions(tmp_path, camvid, "val"), strict=True):
        np.testing.assert_array_equal(mask, segmenter.step(camvid.image(sample.frame)).labels)
    assert segmenter.network_frames == 7
    assert report["key_frames"] == 3
    assert plain["key_frames"] == 1
    assert report["gmacs_per_frame"] == pytest.approx(plain["gmacs_per_frame"] / 3)
    assert any("both are flattered" in note for note in report["notes"])
    assert moving_means([4, 1, 1, 4, 1, 1, 4], 3) == (2, 2, 2, 2, 2)
    assert (moving_means([3, 5], 1), moving_means([3, 5], 3), moving_means([], 2)) == ((3, 5), (4,), ())


@pytest.mark.parametrize(("split", "seconds"), [("val", 1 / 15), ("test", 1.0)])
def test_smoothing_is_that_of_the_segmenter_at_the_times_of_the_frames(camvid, weights, tmp_path, split, seconds):
    network = weights(aggregation="decoder")
    report = evaluate(camvid, network, EvalOptions(split=split, smooth=True, save=tmp_path)).to_dict()
    plain, smooth = (Segmenter(network.engine, CAMVID, detect_cuts=False, smooth=each) for each in (False, True))
    changed, last = 0, None
    masks = predictions(tmp_path, camvid, split)
    for index, (sample, mask) in enumerate(zip(camvid.samples(split), masks, strict=True)):
        if sample.clip is not last:
            plain.reset()
            smooth.reset()
        last, rgb = sample.clip, camvid.image(sample.frame)
        np.testing.assert_array_equal(mask, smooth.step(rgb, seconds=index * seconds).labels)
        changed += int((mask != plain.step(rgb).labels).sum())
    assert (changed > 0) == (split == "val")
    assert report["smooth"]
    assert any("both are flattered" in note for note in report["notes"])


def test_sparsely_scored_frames_are_the_last_before_a_key_frame(camvid, weights, monkeypatch):
    """Else every scored frame of such data were a key frame, and carrying labels would seem to cost nothing."""
    asked = []
    monkeypatch.setattr(type(camvid), "streams", lambda self, split, *, past: asked.append(past) or self.split(split))
    evaluate(camvid, weights(), EvalOptions(split="test", no_temporal=True))
    evaluate(camvid, weights(), EvalOptions(split="test", no_temporal=True, key_frames=4))
    evaluate(camvid, weights(), EvalOptions(split="test", no_temporal=True, smooth=True))
    assert asked == [3, 15, 6]
