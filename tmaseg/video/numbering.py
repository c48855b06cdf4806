"""Numbers in file names: natural order, and what a sequence lacks."""

import re
from collections import Counter, defaultdict
from itertools import pairwise


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as people do: digits by their value, letters without regard to case."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts]


def wording(stem: str) -> str:
    """The name with its numbers left out: the same for all pictures of a sequence."""
    return re.sub(r"\d+", "#", stem)


def missing_numbers(stems: list[str]) -> int:
    """How many names a numbered sequence lacks, going by its usual step (1, or 30 where every 30th is kept)."""
    numbers = defaultdict(list)
    for stem in stems:
        numbers[wording(stem)].append([int(number) for number in re.findall(r"\d+", stem)])
    missing = 0
    for rows in numbers.values():
        varying = [column for column in range(len(rows[0])) if len({row[column] for row in rows}) > 1]
        if varying:
            missing += _holes(rows, varying[-1])
    return missing


def _holes(rows: list[list[int]], column: int) -> int:
    sequences = defaultdict(set)
    for row in rows:
        sequences[tuple(row[:column])].add(row[column])
    gaps = Counter[int]()
    for values in sequences.values():
        ordered = sorted(values)
        gaps.update(after - before for before, after in pairwise(ordered))
    if not gaps:
        return 0
    step, times = max(gaps.items(), key=lambda item: (item[1], -item[0]))
    if 2 * times < gaps.total():  # no step to speak of: times of day, chosen frames
        return 0
    return sum(count * (gap // step - 1) for gap, count in gaps.items() if gap > step)
