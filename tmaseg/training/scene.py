"""Scenes: a labelled frame and what came before it, drawn as plans of crops; and how a plan becomes pixels."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmaseg.data import ClipFrame, Sample
from tmaseg.data.transforms import Light, Matrix, Motion, moved, place, place_varied, relight, warp_labels, warp_picture
from tmaseg.training.recipe import Augment, Remember
from tmaseg.training.sets import TrainSet

Kind = Literal["own", "moved", "past"]
VOID = 255  # in batches, whatever a data set's own void is


@dataclass(frozen=True, eq=False)
class View:
    """One crop, as a plan."""

    data: TrainSet
    frame: ClipFrame
    matrix: Matrix
    """From its stored pixels to the crop's."""
    light: Light

    def picture(self, crop_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """(*crop_hw, 3) uint8. Raises DataError when the file cannot be read."""
        return relight(warp_picture(self.data.cache.picture(self.frame), self.matrix, crop_hw), self.light)

    def labels(self, crop_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """crop_hw uint8: the data set's class ids; VOID where none is known."""
        if self.frame.mask is None:
            return np.full(crop_hw, VOID, np.uint8)
        ignore = self.data.dataset.labels.ignore_index
        labels = warp_labels(self.data.cache.labels(self.data.dataset, self.frame), self.matrix, crop_hw, void=ignore)
        return np.asarray(self.data.known[labels], np.uint8)


class Scenes:
    """Draws scenes as a recipe says."""

    def __init__(self, augment: Augment, remember: Remember) -> None:
        self._augment = augment
        self._remember = remember

    def kind(self, rng: np.random.Generator) -> Kind:
        """What a frame's memory is."""
        kinds: tuple[Kind, ...] = ("own", "moved", "past")
        shares = np.array([self._remember.own_share, self._remember.moved_share, self._remember.past_share])
        return kinds[int(rng.choice(3, p=shares / shares.sum()))]

    def draw(
        self,
        data: TrainSet,
        sample: Sample,
        past: int,
        *,
        kind: Kind,
        rng: np.random.Generator,
        shows: tuple[int, ...] = (),
    ) -> list[View]:
        """The views of a scene, newest first: the labelled frame and `past` earlier moments, in one geometry.

        The labelled frame is cut so that one of the classes `shows` is seen, if ten tries find a place for that.

        Real frames keep the placement, since the camera's own motion shows in them. Moved copies, and frames that are
        missing and repeat another, move with their age.
        """
        matrix = self._place(data, sample.frame, rng, shows)
        motion, light = self._motion(rng), self._light(rng)
        views, seen = [], set()
        for age, frame in enumerate((sample.frame, *self._past(sample, past, kind, rng))):
            repeated = frame.name in seen
            seen.add(frame.name)
            own = light if self._remember.light_together or age == 0 else self._light(rng)
            if repeated:
                own = replace(own, brightness=own.brightness + age * motion.brightness)
            own = replace(own, noise_seed=int(rng.integers(2**31)))
            views.append(View(data, frame, moved(matrix, motion, age) if repeated else matrix, own))
        return views

    def _past(self, sample: Sample, past: int, kind: Kind, rng: np.random.Generator) -> tuple[ClipFrame, ...]:
        """The frames of the earlier moments, newest first; the frame itself where it is to be moved."""
        if kind != "past":
            return (sample.frame,) * past
        steps = range(1, past + 1)
        if self._remember.sampling == "random":
            reach = max(self._remember.past_reach, past)
            steps = sorted(1 + rng.choice(reach, past, replace=False))  # type: ignore[assignment]
        return sample.clip.past(sample.frame, [int(step) for step in steps])

    def _place(self, data: TrainSet, frame: ClipFrame, rng: np.random.Generator, shows: tuple[int, ...]) -> Matrix:
        labels = data.cache.labels(data.dataset, frame)
        stored_hw = (labels.shape[0], labels.shape[1])
        shown_hw = data.shown_hw(stored_hw, self._augment.size)
        flip = bool(rng.random() < self._augment.flip)
        scale = self._scale(rng)

        def draw() -> Matrix:
            # Only the position again, as in the authors' code: larger scales are redrawn more often and would be rarer.
            return place(stored_hw, shown_hw, self._augment.crop_hw, scale=scale, flip=flip, rng=rng)

        ignore = data.dataset.labels.ignore_index
        most = self._augment.crop_most
        return place_varied(draw, labels, self._augment.crop_hw, most=most, void=ignore, shows=shows)

    def _scale(self, rng: np.random.Generator) -> float:
        low, high = self._augment.scale_from, self._augment.scale_to
        if self._augment.scale_even == "logarithm":
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return float(rng.uniform(low, high))

    def _motion(self, rng: np.random.Generator) -> Motion:
        height, width = self._augment.crop_hw
        rule = self._remember
        shift_x, shift_y = rng.normal(0, rule.motion_shift * width, 2)
        return Motion(
            zoom=float(rng.normal(0, rule.motion_zoom)),
            shift_px=(float(shift_x), float(shift_y)),
            rotation_degrees=float(rng.normal(0, rule.motion_rotation)),
            centre_px=(float(width * rng.uniform(0.3, 0.7)), float(height * rng.uniform(0.3, 0.7))),
            brightness=float(rng.normal(0, rule.motion_brightness)),
        )

    def _light(self, rng: np.random.Generator) -> Light:
        rule = self._augment

        def sometimes(share: float, low: float, high: float, otherwise: float) -> float:
            happens, value = rng.random() < share, rng.uniform(low, high)
            return float(value) if happens else otherwise

        return Light(
            brightness=sometimes(rule.light_share, -rule.brightness, rule.brightness, 0.0),
            contrast=sometimes(rule.light_share, 1 - rule.contrast, 1 + rule.contrast, 1.0),
            saturation=sometimes(rule.colour_share, 1 - rule.saturation, 1 + rule.saturation, 1.0),
            hue=sometimes(rule.colour_share, -rule.hue, rule.hue, 0.0),
            blur_px=sometimes(rule.blur_share, 0.5, 1.5, 0.0),
            noise=sometimes(rule.noise_share, 2, 10, 0.0),
        )
