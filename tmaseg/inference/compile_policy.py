"""Compiling: when a stream's network is compiled: at once, never, or once it is known to repay."""

from statistics import median

from tmaseg.errors import ConfigError
from tmaseg.inference.compiler import CompileChoice, CompiledBefore, repays
from tmaseg.inference.engine import Engine

_LOOKED_AT = 5  # frames, the first left out, tell what a frame takes


class Compiling:
    """Follows one video at a time."""

    def __init__(self, engine: Engine, choice: CompileChoice) -> None:
        self._engine = engine
        self._choice = choice
        self._seconds: list[float] = []
        self._left: int | None = None
        self._asked = False
        self._no_compiler = False
        self._remembered: tuple[tuple[int, int], int] | None = None
        self.warnings: tuple[str, ...] = ()
        """Why this video is not compiled although that was asked for, or would repay and is not known to be vain."""

    def begin(self, frames: int | None) -> None:
        """A video of `frames` frames begins; None: nobody knows how many."""
        self._left = frames
        self._seconds, self.warnings, self._asked = [], (), False
        if self._choice == "on":
            self._compile()
        elif self._choice == "auto":
            self._engine.interpret()  # another size would be compiled anew

    @property
    def watching(self) -> bool:
        """Whether it still wants to know what a frame takes, labels in hand."""
        looked = len(self._seconds) >= _LOOKED_AT or self._left is None
        vain = self._no_compiler or self._engine.failure
        return self._choice == "auto" and not (looked or self._engine.compiled or vain)

    def stepped(self, input_hw: tuple[int, int], frames: int, seconds: float) -> None:
        """A frame took so long; the network sees `input_hw` pixels at once and reads `frames` T past ones."""
        if self._asked and self._engine.failure:
            self.warnings = (f"not compiled: {self._engine.failure}",)
        if self._engine.compiled and self._remembered != (input_hw, frames):
            self._before(input_hw, frames).remember()
            self._remembered = input_hw, frames
        if not self.watching:
            return
        assert self._left is not None
        self._left -= 1
        self._seconds.append(seconds)
        if len(self._seconds) == _LOOKED_AT:
            engine, again = self._engine, bool(self._before(input_hw, frames))
            if repays(median(self._seconds[1:]), self._left, engine.dtype, engine.device, again=again):
                self._compile()

    def give_up(self) -> bool:
        """Memory ran out: until the next video the passes are as they were. False: they already are."""
        if not self._engine.compiled:
            return False
        self._engine.interpret(free=True)
        self.warnings = ("memory is short: it goes on without compiling",)
        return True

    def _compile(self) -> None:
        self._asked = True
        try:
            self._engine.compile()
        except ConfigError as error:
            self._no_compiler = True
            self.warnings = (f"not compiled: {error}",)

    def _before(self, input_hw: tuple[int, int], frames: int) -> CompiledBefore:
        engine = self._engine
        return CompiledBefore(engine.net.config.to_dict(), input_hw, frames, str(engine.dtype), engine.device.type)
