"""Kept: what was read from files, kept in memory while there is room."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """An array or a tensor."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""


Value = TypeVar("Value", bound=Sized)


class Kept(Generic[Value]):
    """Reads each file once while there is room; any number of threads may ask."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._values: dict[Path, Value] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, read: Callable[[], Value]) -> Value:
        """What is kept of the file, else what `read` gives, kept if it fits."""
        found = self._values.get(path)
        return self.keep(path, read()) if found is None else found

    def keep(self, path: Path, value: Value) -> Value:
        """The value, kept if it fits and the file has none."""
        with self._lock:
            if path not in self._values and value.nbytes <= self._left:
                self._values[path] = value
                self._left -= value.nbytes
        return value
