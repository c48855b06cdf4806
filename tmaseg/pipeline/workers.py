"""Several sources at once: in a process for each device, or as tasks of a Ray cluster.

A process loads its network once and takes job after job. A cluster places the tasks, and runs them again where a node
dies.
"""

import logging
import multiprocessing
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Self

from tmaseg.errors import ConfigError, ShortageError
from tmaseg.pipeline.jobs import Job, JobResult, Progress, Update, run_job
from tmaseg.signals import StopRequest
from tmaseg.video.address import hidden

_PATIENCE_SECONDS = 0.2  # between checks whether to stop
_UNWIND_SECONDS = 6.0  # for a process to remove its part files

# Devices --------------------------------------------------------------------------------------------------------------


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
        self._terminated = False
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
            error = None if self._terminated else ShortageError(f"{hidden(self._job.source)}: {ended}")
            message = JobResult(self._job, error=error)
        if isinstance(message, JobResult):
            self._shown.close()
            return message
        self._update(*message)
        return None

    def finish_early(self) -> None:
        """Ends the job with the frames so far."""
        if not self._terminated:
            self._terminated = True
            self._process.terminate()  # SIGTERM, which it takes for that

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()
        self.connection.close()  # it ends when it reads the next job, or reports the next frame
        self._process.join(_UNWIND_SECONDS)
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, device: str) -> None:
    """The process: jobs come in, progress and results go out, until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):  # the terminal sends them to both; the parent decides
        signal.signal(number, signal.SIG_IGN)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    with StopRequest() as stop, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job: Job = connection.recv()
            try:
                result = run_job(
                    on_device(job, device),
                    progress=lambda done, total: connection.send((done, total)),
                    stop=stop,
                )
            except KeyboardInterrupt:
                result = JobResult(job)
            except Exception as error:  # of any kind, which need not survive the way to the parent
                result = JobResult(job, error=RuntimeError(f"{type(error).__name__}: {error}"))
            connection.send(replace(result, job=job))


# Ray ------------------------------------------------------------------------------------------------------------------


def run_on_ray(
    jobs: Sequence[Job], address: str, *, show: Callable[[str, float | None], None], stop: Callable[[], bool]
) -> Iterator[JobResult]:
    """Runs each job as a task with one GPU, where the cluster has any, or one CPU.

    `address`: "ray" for RAY_ADDRESS or the cluster of this machine, or ray://host:port. Every node needs tmaseg and the
    same files or URLs. When `stop()` is true, the jobs in progress are finished with the frames so far. Raises
    ConfigError without Ray or a cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--cluster needs Ray: pip install 'tmaseg[ray]'") from error
    _connect(address)
    try:
        has_gpus = any(node["Resources"].get("GPU") for node in ray.nodes())  # type: ignore[no-untyped-call]
        gpus = int(has_gpus and jobs[0].options.model.device != "cpu")
        task = ray.remote(num_cpus=1, num_gpus=gpus)(run_job)
        running = {task.remote(job): job for job in jobs}
        cancelled = False
        while running:
            show(f"{len(jobs) - len(running)} of {len(jobs)} sources done", 1 - len(running) / len(jobs))
            if stop() and not cancelled:
                cancelled = True
                for reference in running:
                    ray.cancel(reference)
            ready, _ = ray.wait(list(running), timeout=_PATIENCE_SECONDS)
            for reference in ready:
                job = running.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.TaskCancelledError:
                    yield JobResult(job)
                except ray.exceptions.RayError as error:
                    reason = str(error).splitlines()[0]
                    yield JobResult(job, error=ShortageError(f"{hidden(job.source)}: Ray gave the task up: {reason}"))
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    import ray

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init("auto" if address == "ray" else address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"--cluster {address}: no Ray cluster answers ({str(error).splitlines()[0]}); run `ray start --head`, set "
            "RAY_ADDRESS, or give --cluster ray://HOST:10001"
        ) from error
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)  # Ray sets its own
