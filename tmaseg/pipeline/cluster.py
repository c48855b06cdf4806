"""Several sources as tasks of a Ray cluster, which places them, and runs them again where a node dies."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from tmaseg.errors import ConfigError, ShortageError, TmasegError
from tmaseg.pipeline.batch import JobResult, load, run_job
from tmaseg.pipeline.jobs import Job
from tmaseg.video.address import hidden

_PATIENCE_SECONDS = 0.5  # between checks whether to stop

_load_once = lru_cache(maxsize=1)(load)  # kept for the next task that Ray gives to the same process


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
        task = ray.remote(num_cpus=1, num_gpus=gpus)(_run)
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


def _run(job: Job) -> JobResult:
    """The task."""
    try:
        return JobResult(job, run_job(job, _load_once))
    except TmasegError as error:
        return JobResult(job, error=error)
