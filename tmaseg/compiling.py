"""Compiling: when a stream's network is compiled: at once, never, or once it is known to repay."""

from statistics import median

from tmaseg.errors import ConfigError
from tmaseg.model.compiler import CompileChoice, CompiledBefore, can_compile, repays
from tmaseg.model.engine import Engine

_LOOKED_AT = 5  # frames, the first left out, tell what a frame takes


class Compiling:
    """Follows one video at a time."""

    def __init__(self, engine: Engine, choice: CompileChoice) -> None:
        self._engine = engine
        self._choice = choice
        self._seconds: list[float] = []
        self._left: int | None = None
        self._before: CompiledBefore | None = None
        self.warnings: tuple[str, ...] = ()
        """Why it was not compiled although it was asked for."""

    def begin(self, frames: int | None) -> None:
        """A video of `frames` frames begins; None: nobody knows how many."""
        self._left = frames
        self._seconds = []
        if self._choice == "on":
            try:
                self._engine.compile()
            except ConfigError as error:
                self.warnings = (f"not compiled: {error}",)
        elif self._choice == "auto":
            self._engine.interpret()  # another size would be compiled anew

    @property
    def watching(self) -> bool:
        """Whether it still wants to know what a frame takes, labels in hand."""
        looked = len(self._seconds) >= _LOOKED_AT or self._left is None
        return self._choice == "auto" and not (looked or self._engine.compiled or self._engine.failure)

    def stepped(self, size_hw: tuple[int, int], seconds: float) -> None:
        """A frame of `size_hw` took so long."""
        if self._before and self._engine.compiled and not self._engine.failure:
            self._before.remember()
            self._before = None
        if self._engine.failure:
            self.warnings = (f"not compiled: {self._engine.failure}",)
        if not self.watching:
            return
        assert self._left is not None
        self._left -= 1
        self._seconds.append(seconds)
        if len(self._seconds) == _LOOKED_AT and can_compile():
            before = CompiledBefore(self._engine.net.config.to_dict(), size_hw, str(self._engine.dtype))
            if repays(median(self._seconds[1:]), self._left, self._engine.dtype, again=bool(before)):
                self._before = before
                self._engine.compile()
