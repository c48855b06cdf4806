"""CompilePolicy: when a stream's network is compiled: at once, never, or once it is known to repay."""

from statistics import median
from time import perf_counter

from tmaseg.errors import ConfigError
from tmaseg.inference.compiler import CompileChoice, CompiledBefore, repays
from tmaseg.inference.device import Arrival
from tmaseg.inference.engine import Engine

_TIMED_FRAMES = 5  # the first left out


class CompilePolicy:
    """Follows one video at a time."""

    def __init__(self, engine: Engine, choice: CompileChoice) -> None:
        self._engine = engine
        self._choice = choice
        self._seconds: list[float] = []
        self._left: int | None = None
        self._tried = False
        self._no_compiler = False
        self._noted: tuple[tuple[int, int], int] | None = None
        self.warnings: tuple[str, ...] = ()
        """Why this video is not compiled although that was wanted, or would repay and is not known to be in vain."""

    def begin(self, frames: int | None) -> None:
        """A video of `frames` frames begins; None: nobody knows how many."""
        self._left = frames
        self._seconds, self.warnings, self._tried = [], (), False
        if self._choice == "on":
            self._compile()
        elif self._choice == "auto":
            self._engine.interpret()  # another size would be compiled anew

    def stepped(self, labels: Arrival, begun: float, input_hw: tuple[int, int], memory_frames: int) -> None:
        """A frame that `begun` at that perf_counter has its `labels`; it passed the network as `input_hw` pixels."""
        engine = self._engine
        if self._tried and engine.failure:
            self.warnings = (f"not compiled: {engine.failure}",)
        if engine.compiled and self._noted != (input_hw, memory_frames):
            self._before(input_hw, memory_frames).note()
            self._noted = input_hw, memory_frames
        if not self._timing:
            return
        assert self._left is not None
        labels.wait()  # a GPU is not done when the step returns
        self._seconds.append(perf_counter() - begun)
        self._left -= 1
        if len(self._seconds) == _TIMED_FRAMES:
            again = bool(self._before(input_hw, memory_frames))
            if repays(median(self._seconds[1:]), self._left, engine.dtype, engine.device, again=again):
                self._compile()

    def give_up(self) -> bool:
        """Memory ran out: until the next video the network is not compiled. False: it already is not."""
        if not self._engine.compiled:
            return False
        self._engine.interpret(free=True)
        self.warnings = ("memory is short: it goes on without compiling",)
        return True

    @property
    def _timing(self) -> bool:
        """Whether what a frame takes still decides anything."""
        decided = len(self._seconds) >= _TIMED_FRAMES or self._left is None
        vain = self._no_compiler or self._engine.failure
        return self._choice == "auto" and not (decided or self._engine.compiled or vain)

    def _compile(self) -> None:
        self._tried = True
        try:
            self._engine.compile()
        except ConfigError as error:
            self._no_compiler = True
            self.warnings = (f"not compiled: {error}",)

    def _before(self, input_hw: tuple[int, int], memory_frames: int) -> CompiledBefore:
        engine = self._engine
        return CompiledBefore(
            engine.net.config.to_dict(), input_hw, memory_frames, str(engine.dtype), engine.device.type
        )
