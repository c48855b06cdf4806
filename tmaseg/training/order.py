"""Order: which picture comes when. Any place may be asked for, so a run goes on exactly where it stopped."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Order:
    """An endless list of (data set, picture), shuffled anew each epoch; a function of the seed and the place alone.

    An epoch has as many places as there are pictures. Each data set takes its share of them, and goes through all of
    its own pictures before it shows one again.
    """

    def __init__(self, counts: Sequence[int], shares: Sequence[float], *, seed: int) -> None:
        """`counts`: pictures of each data set; `shares`: of the places, in any unit."""
        assert counts
        assert all(count > 0 for count in counts)
        self.epoch = sum(counts)
        """Places in an epoch."""
        self._counts = tuple(counts)
        self._seed = seed
        weights = np.array(shares, np.float64)
        ends = np.round(np.cumsum(weights) / weights.sum() * self.epoch).astype(int)
        self._takes = np.diff(ends, prepend=0)
        # Pictures are drawn by several threads at once.
        self._shuffled = lru_cache(maxsize=4)(self._shuffle)
        self._dealt = lru_cache(maxsize=4 * len(counts))(self._deal)

    def __getitem__(self, place: int) -> tuple[int, int]:
        """The data set and the picture at a place, from 0."""
        epoch, offset = divmod(place, self.epoch)
        data, picture = self._shuffled(epoch)[offset]
        return int(data), int(picture)

    def _shuffle(self, epoch: int) -> NDArray[np.int64]:
        """(epoch, 2): data set and picture of each place of an epoch."""
        entries = []
        for data, take in enumerate(self._takes):
            for turn in range(epoch * take, (epoch + 1) * take):
                round_, place = divmod(turn, self._counts[data])
                entries.append((data, self._dealt(data, round_)[place]))
        return np.random.default_rng((self._seed, 1, epoch)).permutation(np.array(entries, np.int64))

    def _deal(self, data: int, round_: int) -> NDArray[np.int64]:
        """The order of a data set's pictures in one round through all of them."""
        return np.random.default_rng((self._seed, 2, data, round_)).permutation(self._counts[data])
