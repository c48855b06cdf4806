"""Where a video is discontinuous: a cut between two shots, a gap in time, frames far apart of a camera that moves."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 64, 36
_ROWS, _COLUMNS = 3, 4
_SIDE = 10
_REACH = 3  # pixels of the small copy that a patch may move beside the camera's own motion
_FLAT = 4.0  # grey levels of deviation under which a patch is not used
_FOUND = 60  # percentile: two fifths of the patches found again are enough, the others may be hidden
# Correlation under which the picture is lost, and by how much it must lie under what is usual lately. Measured at this
# percentile: driving at 15 Hz and more 0.9 and up, pans of a quarter of the width a frame 0.97, cuts between street
# scenes 0.3 to 0.8, CamVid's frames a second apart 0.4 to 0.95.
_LOST = 0.85
_DROP = 0.15
_HISTORY = 8
_GAP_INTERVALS = 8  # a frame this many usual intervals late is another moment ...
_GAP_SECONDS = 0.5  # ... if it is this late at least: variable-rate video holds still frames for long
_INTERVALS = 16
# Measured with the weights `street` and `camvid`: memory helps up to 0.13 s (CamVid val, every 2nd frame), costs
# 0.15 mIoU at 0.33 s and 0.5 at 1 s; but nothing at 1 s where patches are found this well in place (CamVid train).
_FAR_SECONDS = 0.25
_STILL = 0.97

Grey = NDArray[np.uint8]  # (_HEIGHT, _WIDTH)


class DiscontinuityDetector:
    """Finds frames that do not continue the video: after a scene cut, at another time, or too late for the memory."""

    _last: Grey | None
    _similarities: deque[float]
    _seconds: float | None
    _intervals: deque[float]

    def __init__(self, *, cuts: bool = True, far: bool = False) -> None:
        """`cuts`: whether scene cuts are found; `far`: and late frames, by when a moving camera sees other things."""
        self._cuts, self._far = cuts, far
        self.reset()

    def found(self, rgb: NDArray[np.uint8], seconds: float | None = None, *, continues: bool = False) -> bool:
        """The next frame (H, W, 3) uint8 and its time, None if unknown. False for the first.

        `continues`: the frame is known to continue the video; cuts and gaps are not looked for.
        """
        last, self._last = self._last, _small(rgb) if self._cuts or self._far else None
        earlier, self._seconds = self._seconds, seconds
        interval = None if seconds is None or earlier is None else seconds - earlier
        found = not continues and interval is not None and self._is_gap(interval)
        if last is not None and self._last is not None:
            found |= not continues and self._cuts and self._is_cut(last, self._last)
            late = self._far and interval is not None and interval > _FAR_SECONDS
            found |= late and _similarity(last, self._last, [(0, 0)]) < _STILL
        return found

    def reset(self) -> None:
        """The next frame is the first of a video."""
        self.state = {"last": None, "similarities": [], "seconds": None, "intervals": []}

    @property
    def state(self) -> dict[str, Any]:
        """All that later frames depend on, as JSON takes it; may be set."""
        last = None if self._last is None else self._last.tolist()
        recent = {"similarities": list(self._similarities), "intervals": list(self._intervals)}
        return {"last": last, "seconds": self._seconds, **recent}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._last = None if state["last"] is None else np.array(state["last"], np.uint8)
        self._seconds = state["seconds"]
        self._similarities = deque(state["similarities"], maxlen=_HISTORY)
        self._intervals = deque(state["intervals"], maxlen=_INTERVALS)

    def _is_cut(self, last: Grey, grey: Grey) -> bool:
        # Twelve patches of a small grey copy of the last frame are searched for in the new one, by normalised
        # correlation, near where they were and near where the camera's motion carries them. A pan moves all and a
        # passing car hides many, yet enough are found; after a cut few are. Brightness and contrast do not matter, so
        # neither does a tunnel or a flash. Frames far apart in time are little alike all along: only a drop against
        # the last few is a cut.
        similarity = _similarity(last, grey, [(0, 0), _camera_shift(last, grey)])
        usual = float(np.median(self._similarities)) if self._similarities else 1.0
        self._similarities.append(similarity)
        return similarity < min(_LOST, usual - _DROP)

    def _is_gap(self, interval: float) -> bool:
        """Whether a frame is so much later than those before it, or earlier, that it does not continue the video."""
        if interval < 0:
            return True
        usual = float(np.median(self._intervals)) if self._intervals else interval
        self._intervals.append(interval)
        return interval > max(_GAP_SECONDS, _GAP_INTERVALS * usual)


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = max(1, min(rgb.shape[0] // (4 * _HEIGHT), rgb.shape[1] // (4 * _WIDTH)))  # skipping first is far cheaper
    small = cv2.resize(rgb[::step, ::step], (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _similarity(last: Grey, grey: Grey, shifts: Iterable[tuple[int, int]]) -> float:
    """How well the textured patches of `last` are found in `grey`, moved by the best of the shifts; at most 1."""
    corners = _textured(last)
    if len(corners) < _ROWS * _COLUMNS // 3:
        # The last frame was nearly flat: black, fog, a wall. The shot goes on if this one is nearly flat as well.
        return 1.0 if len(_textured(grey)) < _ROWS * _COLUMNS // 2 else 0.0
    return max(_matched(last, grey, corners, shift) for shift in shifts)


def _textured(grey: Grey) -> list[tuple[int, int]]:
    """(top, left) of the patches with texture."""
    tops = np.linspace(0, _HEIGHT - _SIDE, _ROWS).astype(int)
    lefts = np.linspace(0, _WIDTH - _SIDE, _COLUMNS).astype(int)
    corners = [(int(top), int(left)) for top in tops for left in lefts]
    return [(y, x) for y, x in corners if grey[y : y + _SIDE, x : x + _SIDE].std() > _FLAT]


def _camera_shift(last: Grey, grey: Grey) -> tuple[int, int]:
    """(down, right): shift of the middle of `last`."""
    top, left = _HEIGHT // 6, _WIDTH // 3
    middle = last[top : _HEIGHT - top, left : _WIDTH - left]
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(grey, middle, cv2.TM_CCOEFF_NORMED))
    return y - top, x - left


def _matched(last: Grey, grey: Grey, corners: list[tuple[int, int]], shift: tuple[int, int]) -> float:
    scores = []
    for y, x in corners:
        top, left = y + shift[0], x + shift[1]
        if not (0 <= top <= _HEIGHT - _SIDE and 0 <= left <= _WIDTH - _SIDE):
            continue  # carried out of the picture
        around = grey[max(0, top - _REACH) : top + _SIDE + _REACH, max(0, left - _REACH) : left + _SIDE + _REACH]
        patch = last[y : y + _SIDE, x : x + _SIDE]
        scores.append(float(cv2.matchTemplate(around, patch, cv2.TM_CCOEFF_NORMED).max()))
    return float(np.percentile(scores, _FOUND)) if len(scores) > 2 else -1.0
