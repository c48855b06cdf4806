"""Several sources on several devices: a process for each, which loads its network once and takes job after job."""

import multiprocessing
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from tmaseg.errors import ShortageError, TmasegError
from tmaseg.pipeline.batch import JobResult, Progress, Update, load, run_job
from tmaseg.pipeline.jobs import Job
from tmaseg.signals import StopRequest
from tmaseg.video.address import hidden

_PATIENCE_SECONDS = 0.2  # between checks whether to stop
_UNWIND_SECONDS = 6.0  # for a process to remove its part files


def choose_devices(names: Sequence[str]) -> list[str]:
    """What `names` stand for; "auto": all accelerators, or the CPU. Raises ConfigError for one that is not there."""
    from tmaseg.inference.device import accelerators, choose_device

    found: list[str] = []
    for name in names:
        found += ([str(each) for each in accelerators()] or ["cpu"]) if name == "auto" else [name]
        choose_device(found[-1])
    return list(dict.fromkeys(found))


def on_device(job: Job, device: str) -> Job:
    """The job, to run there."""
    return replace(job, options=replace(job.options, model=replace(job.options.model, device=device)))


def run_on_devices(
    jobs: Sequence[Job], devices: Sequence[str], *, progress: Progress, stop: Callable[[], bool]
) -> Iterator[JobResult]:
    """Runs each job on the device that is free first. No error ends another job, nor does a process that is killed.

    When `stop()` is true, the jobs in progress are finished with the frames so far, and no other is begun.
    """
    waiting = deque(jobs)
    with ExitStack() as stack:
        busy: dict[Connection, _Process] = {}
        for device in devices[: len(jobs)]:
            process = stack.enter_context(_Process(device, progress))
            process.begin(waiting.popleft())
            busy[process.connection] = process
        while busy:
            if stop():
                waiting.clear()
                for process in busy.values():
                    process.finish_early()
            for connection in wait(list(busy), _PATIENCE_SECONDS):
                process = busy[connection]  # type: ignore[index]
                result = process.receive()
                if result is None:
                    continue
                yield result
                if not process.alive and waiting:
                    process = stack.enter_context(_Process(process.device, progress))
                del busy[connection]  # type: ignore[arg-type]
                if waiting:
                    process.begin(waiting.popleft())
                    busy[process.connection] = process


class _Process:
    """A process on one device, as its parent sees it. Leaving the block by an exception gives up what it does."""

    def __init__(self, device: str, progress: Progress) -> None:
        self.device, self._progress = device, progress
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        self.connection, inner = context.Pipe()
        self._process = context.Process(target=_serve, args=(inner, device), name=f"tmaseg {device}", daemon=True)
        self._process.start()
        inner.close()
        self.alive = True
        self._told = False
        self._job: Job | None = None
        self._shown = ExitStack()
        self._update: Update

    def begin(self, job: Job) -> None:
        """Starts a job; the process does nothing."""
        self._job = job
        self._update = self._shown.enter_context(self._progress(hidden(job.source)))
        self.connection.send(job)

    def receive(self) -> JobResult | None:
        """What the process sent: the result of the job, or its progress, which is shown."""
        assert self._job is not None
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            self.alive = False
            ended = f"the process on {self.device} was killed (exit code {self._process.exitcode}): memory may be short"
            error = None if self._told else ShortageError(f"{hidden(self._job.source)}: {ended}")
            message = JobResult(self._job, error=error)
        if isinstance(message, JobResult):
            self._shown.close()
            return message
        self._update(*message)
        return None

    def finish_early(self) -> None:
        """Ends the job with the frames so far."""
        if not self._told:
            self._told = True
            self._process.terminate()  # SIGTERM, which it takes for that

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.close()
        self.connection.close()  # it ends when it reads the next job, or tells of the next frame
        self._process.join(_UNWIND_SECONDS)
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, device: str) -> None:
    """The process: jobs come in, progress and results go out, until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):  # the terminal sends them to both; the parent decides
        signal.signal(number, signal.SIG_IGN)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    load_once = lru_cache(maxsize=1)(load)
    with StopRequest() as stop, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job: Job = connection.recv()
            try:
                report = run_job(
                    on_device(job, device),
                    load_once,
                    progress=lambda done, total: connection.send((done, total)),
                    stop=stop,
                )
                result = JobResult(job, report)
            except KeyboardInterrupt:
                result = JobResult(job)
            except TmasegError as error:
                result = JobResult(job, error=error)
            except Exception as error:  # of any kind, which need not survive the way to the parent
                result = JobResult(job, error=RuntimeError(f"{type(error).__name__}: {error}"))
            connection.send(result)
