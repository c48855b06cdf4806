"""The drawn street: repeatable, exact, steady, and not to be told apart by colour alone."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmaseg.errors import ConfigError
from tmaseg.labels import CITYSCAPES
from tmaseg.video.facts import Damage
from tmaseg.video.source import Source
from tmaseg.video.street import Picture, Place, StreetSource
from tmaseg.video.street.canvas import Canvas, Texture
from tmaseg.video.street.view import Bend, Drive, View

SMALL = (48, 64)
PLACES: tuple[Place, ...] = ("street", "motorway")


def test_iteration_is_random_access_and_repeatable() -> None:
    first = StreetSource(size_hw=SMALL, frames=6, seed=3)
    frames = list(first)
    other = StreetSource(size_hw=SMALL, frames=6, seed=3)
    for index in (5, 0, 3, 3):  # any order, and twice
        picture = other.render(index)
        np.testing.assert_array_equal(picture.rgb, frames[index].rgb)
        np.testing.assert_array_equal(picture.labels, first.labels(index))
    np.testing.assert_array_equal(next(iter(first)).rgb, frames[0].rgb)
    assert (StreetSource(size_hw=SMALL, seed=4).render(0).labels != first.labels(0)).mean() > 0.1


def test_it_is_a_source() -> None:
    rate = Fraction(30000, 1001)
    with StreetSource(size_hw=(45, 61), rate=rate, frames=3, seed=1) as street:
        source: Source = street
        info = source.info
        assert (info.width, info.height, info.frames, info.rate) == (61, 45, 3, rate)
        frames = list(source)
        assert [(frame.pts, frame.index, frame.discontinuity) for frame in frames] == [
            (0, 0, False),
            (1, 1, False),
            (2, 2, False),
        ]
        assert [frame.pts * frame.time_base for frame in frames] == [index / rate for index in range(3)]
        assert all(frame.rgb.shape == (45, 61, 3) and frame.rgb.dtype == np.uint8 for frame in frames)
        assert source.damage == Damage()
        assert source.warnings == ()


def test_another_rate_sees_the_same_drive() -> None:
    slow, fast = StreetSource(size_hw=SMALL, rate=Fraction(10)), StreetSource(size_hw=SMALL, rate=Fraction(30))
    for index in (0, 7):
        np.testing.assert_array_equal(slow.labels(index), fast.labels(3 * index))


def test_truth_of_old_frames_is_drawn_again() -> None:
    street = StreetSource(size_hw=(12, 16), frames=80)
    old = street.render(0).labels
    for _ in street:
        pass
    np.testing.assert_array_equal(street.labels(0), old)
    street.close()
    np.testing.assert_array_equal(street.labels(79), StreetSource(size_hw=(12, 16)).render(79).labels)


@given(st.integers(1, 70), st.integers(1, 90), st.integers(0, 40), st.integers(0, 10**6), st.sampled_from(PLACES))
@settings(max_examples=16, deadline=None)
def test_any_size_any_moment(height: int, width: int, seed: int, index: int, place: Place) -> None:
    picture = StreetSource(size_hw=(height, width), seed=seed, place=place).render(index)
    assert picture.rgb.shape == (height, width, 3)
    assert picture.rgb.dtype == picture.labels.dtype == np.uint8
    assert picture.labels.shape == (height, width)
    assert picture.labels.max() < len(CITYSCAPES)


def test_the_street_does_not_depend_on_the_size() -> None:
    small = StreetSource(size_hw=(72, 96), seed=2)
    large = StreetSource(size_hw=(216, 288), seed=2)
    for index in (0, 60):
        assert (small.labels(index) == large.labels(index)[1::3, 1::3]).mean() > 0.85


def test_every_class_appears() -> None:
    always = ["road", "sidewalk", "building", "pole", "vegetation", "sky", "person", "car", "traffic sign", "terrain"]
    seen = np.zeros(len(CITYSCAPES), np.int64)
    for seed in range(4):
        street = StreetSource(size_hw=(90, 120), seed=seed, rate=Fraction(1))
        here = sum(np.bincount(street.labels(second).ravel(), minlength=len(CITYSCAPES)) for second in range(50))
        assert [name for name in always if not here[CITYSCAPES.index(name)]] == []
        seen += here
    assert [name for name, count in zip(CITYSCAPES.names, seen, strict=True) if not count] == []


def test_a_motorway_lies_between_open_ground_and_nobody_walks_there() -> None:
    always = ["road", "terrain", "vegetation", "sky", "car"]
    never = ["sidewalk", "building", "traffic light", "person", "train", "bicycle"]
    seen = np.zeros(len(CITYSCAPES), np.int64)
    for seed in range(6):
        motorway = StreetSource(size_hw=(90, 120), seed=seed, rate=Fraction(1), place="motorway")
        here = sum(np.bincount(motorway.labels(second).ravel(), minlength=len(CITYSCAPES)) for second in range(20))
        assert [name for name in always if not here[CITYSCAPES.index(name)]] == []
        assert [name for name in never if here[CITYSCAPES.index(name)]] == []
        seen += here
    sometimes = ["wall", "fence", "pole", "traffic sign", "truck", "bus", "motorcycle", "rider"]
    assert [name for name in sometimes if not seen[CITYSCAPES.index(name)]] == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_following_frames_of_a_motorway_are_nearer_than_another_motorway(seed: int) -> None:
    """Its own frames of three seconds later will not do: a motorway goes on as it is."""
    motorway, other = (StreetSource(size_hw=(120, 160), seed=each, place="motorway") for each in (seed, seed + 50))
    for index in (0, 100, 200):
        now, soon, elsewhere = motorway.render(index), motorway.render(index + 1), other.render(index)
        assert (now.labels == soon.labels).mean() > 0.9
        assert difference(now, soon) < 0.5 * difference(now, elsewhere)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_following_frames_hang_together(seed: int) -> None:
    street = StreetSource(size_hw=(120, 160), seed=seed)
    for index in (0, 100, 200):
        now, soon, later = street.render(index), street.render(index + 1), street.render(index + 75)
        assert (now.labels == soon.labels).mean() > 0.85
        assert difference(now, soon) < 0.5 * difference(now, later)


def difference(one: Picture, other: Picture) -> float:
    return float(np.abs(one.rgb.astype(int) - other.rgb).mean())


def test_the_light_changes() -> None:
    street = StreetSource(size_hw=SMALL, rate=Fraction(1), seed=1)
    means = []
    for second in range(0, 60, 5):
        picture = street.render(second)
        means.append(picture.rgb[picture.labels == CITYSCAPES.index("road")].mean())
    assert max(means) > 1.1 * min(means)


def test_colour_alone_does_not_give_the_class_away() -> None:
    def pixels(seed: int) -> tuple[np.ndarray, np.ndarray]:
        street = StreetSource(size_hw=(60, 80), seed=seed, rate=Fraction(1))
        pictures = [street.render(second) for second in range(0, 40, 4)]
        return np.concatenate([p.rgb.reshape(-1, 3) for p in pictures]), np.concatenate(
            [p.labels.ravel() for p in pictures]
        )

    colours, labels = pixels(0)
    classes = np.unique(labels)
    means = np.stack([colours[labels == index].mean(0) for index in classes])
    for seed in (1, 2, 3):
        colours, labels = pixels(seed)
        guessed = classes[((colours[:, None] - means) ** 2).sum(-1).argmin(1)]
        assert (guessed == labels).mean() < 0.6


points = st.tuples(st.floats(-40, 80), st.floats(-40, 80))


@given(st.data())
@settings(max_examples=60)
def test_a_stroke_sets_colour_and_class_together(data: st.DataObject) -> None:
    canvas = Canvas(np.zeros((40, 50, 4), np.uint8))
    for label in range(1, 13):
        colour = (20.0 * label, 20.0 * label, 20.0 * label)
        kind = data.draw(st.sampled_from(["polygon", "line", "disc", "surface"]))
        corners = np.array(data.draw(st.lists(points, min_size=4, max_size=4)))
        if kind == "polygon":
            canvas.polygon(corners, colour, label)
        elif kind == "line":
            canvas.line(corners, data.draw(st.floats(0, 20)), colour, label)
        elif kind == "disc":
            canvas.disc(corners[0].tolist(), data.draw(st.floats(0, 30)), colour, label)
        else:
            rgba = np.full((data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)), 4), 200, np.uint8)
            rgba[..., 3] = data.draw(st.sampled_from([0, 100, 128, 255]))
            grade = np.zeros((4, 5))
            grade[:3, 4], grade[3, 4] = colour[0] - 100, label
            grade[:3, :3] = np.eye(3) / 2
            canvas.surface(Texture(rgba), corners, grade)
    np.testing.assert_array_equal(canvas.pixels[..., 0], 20 * canvas.pixels[..., 3])
    np.testing.assert_array_equal(canvas.pixels[..., 0], canvas.pixels[..., 2])


def test_perspective_of_a_straight_road() -> None:
    straight = Bend((0.0, 0.0), (50.0, 20.0), (0.0, 0.0))
    view = View((100, 200), straight, s=30.0, lat=1.0, height=1.5, yaw=0.0, pitch=0.0)
    pixels = view.project(np.array([[1.0, 1.5, 50.0], [3.0, 1.5, 50.0], [1.0, 0.0, 50.0], [3.0, 1.5, 70.0]]))
    focal = 0.87 * 200
    expected = [[100, 47], [100 + focal * 2 / 20, 47], [100, 47 + focal * 1.5 / 20], [100 + focal * 2 / 40, 47]]
    np.testing.assert_allclose(pixels, expected)


@given(st.integers(0, 2**32), st.floats(0, 10**5), st.floats(0.001, 10))
def test_the_camera_only_drives_forward(seed: int, seconds: float, step: float) -> None:
    drive = Drive.draw(np.random.default_rng(seed), 1.7)
    assert drive.distance(0) == 0
    assert (
        0.5 * step * drive.speed < drive.distance(seconds + step) - drive.distance(seconds) < 1.5 * step * drive.speed
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_hw": (0, 64)}, "street size is 0x64"),
        ({"size_hw": (64, 10**6)}, "sides must be 1 to 8192"),
        ({"rate": Fraction(0)}, "street rate is 0"),
        ({"frames": 0}, "street has 0 frames"),
        ({"seed": -1}, "street seed is -1"),
    ],
)
def test_bad_values_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StreetSource(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="street frame -1"):
        StreetSource(size_hw=SMALL).render(-1)
