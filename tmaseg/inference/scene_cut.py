"""Where a video is discontinuous: a cut between two shots, or a gap in time."""

from collections import deque
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

Grey = NDArray[np.uint8]  # (_HEIGHT, _WIDTH)


class SceneCutDetector:
    """Compares each frame with the one before it, to find where a new shot begins.

    Twelve patches of a small grey copy of the last frame are searched for in the new one, by normalised correlation,
    near where they were and near where the camera's motion carries them. A pan moves all and a passing car hides many,
    yet enough are found; after a cut few are. Brightness and contrast do not matter, so neither does a tunnel or a
    flash. Frames far apart in time are little alike all along: only a drop against the last few is a cut.
    """

    _last: Grey | None
    _recent: deque[float]

    def __init__(self) -> None:
        self.reset()

    def is_cut(self, rgb: NDArray[np.uint8]) -> bool:
        """rgb (H, W, 3) uint8, the next frame of the video. False for the first."""
        grey = _small(rgb)
        last, self._last = self._last, grey
        if last is None:
            return False
        similarity = _similarity(last, grey)
        usual = float(np.median(self._recent)) if self._recent else 1.0
        self._recent.append(similarity)
        return similarity < min(_LOST, usual - _DROP)

    def reset(self) -> None:
        """The next frame is the first of a video."""
        self.state = {"last": None, "recent": []}

    @property
    def state(self) -> dict[str, Any]:
        """All that later frames depend on, as JSON takes it; may be set."""
        return {"last": None if self._last is None else self._last.tolist(), "recent": list(self._recent)}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._last = None if state["last"] is None else np.array(state["last"], np.uint8)
        self._recent = deque(state["recent"], maxlen=_HISTORY)


class TimeGapDetector:
    """Finds frames so much later than those before them, or earlier, that they do not continue the video."""

    _seconds: float | None
    _intervals: deque[float]

    def __init__(self) -> None:
        self.reset()

    def is_gap(self, seconds: float | None) -> bool:
        """`seconds`: the next frame's time; None: unknown. False for the first."""
        last, self._seconds = self._seconds, seconds
        if seconds is None or last is None:
            return False
        interval = seconds - last
        if interval < 0:
            return True
        usual = float(np.median(self._intervals)) if self._intervals else interval
        self._intervals.append(interval)
        return interval > max(_GAP_SECONDS, _GAP_INTERVALS * usual)

    def reset(self) -> None:
        """The next frame is the first of a video."""
        self.state = {"seconds": None, "intervals": []}

    @property
    def state(self) -> dict[str, Any]:
        """All that later frames depend on, as JSON takes it; may be set."""
        return {"seconds": self._seconds, "intervals": list(self._intervals)}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._seconds = state["seconds"]
        self._intervals = deque(state["intervals"], maxlen=_INTERVALS)


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = max(1, min(rgb.shape[0] // (4 * _HEIGHT), rgb.shape[1] // (4 * _WIDTH)))  # skipping first is far cheaper
    small = cv2.resize(rgb[::step, ::step], (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _similarity(last: Grey, grey: Grey) -> float:
    """How well the textured patches of `last` are found in `grey`, at most 1."""
    corners = _textured(last)
    if len(corners) < _ROWS * _COLUMNS // 3:
        # The last frame was nearly flat: black, fog, a wall. The shot goes on if this one is nearly flat as well.
        return 1.0 if len(_textured(grey)) < _ROWS * _COLUMNS // 2 else 0.0
    return max(_matched(last, grey, corners, shift) for shift in ((0, 0), _camera_shift(last, grey)))


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
