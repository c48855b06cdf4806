"""A batch on a Ray cluster of several nodes on this machine, one of which is killed."""

import signal
import sys
from pathlib import Path

import pytest
from films import film, moving

from tmaseg.options import ModelOptions, OutputOptions, RunOptions
from tmaseg.pipeline.jobs import plan_jobs


def test_without_ray_or_a_cluster(tmaseg, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = tmaseg("run", clip, "-o", tmp_path / "out.mp4", "--cluster", "ray")
    assert (answer.code, answer.err) == (1, "error: --cluster needs Ray: pip install 'tmaseg[ray]'\n")


@pytest.fixture
def cluster(monkeypatch):
    """A head that takes no tasks, and two nodes that take one each."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'tmaseg[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    before = signal.getsignal(signal.SIGTERM)
    small = {"object_store_memory": 80 * 2**20, "num_gpus": 0}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    for _ in range(2):
        cluster.add_node(num_cpus=1, **small)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    signal.signal(signal.SIGTERM, before)  # a node that begins in this process sets its own


def writer(folder):
    """The process that writes one of the part files in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [file.readlink() for file in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(link.parent == folder and link.suffix == ".part" for link in links):
            return int(process.name)
    return None


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.timeout(300)
def test_a_node_that_dies_costs_no_video(cluster, weights, tmp_path):
    from tmaseg.pipeline.workers import run_on_ray

    sources = [str(film(tmp_path / f"clip{number}.mp4", moving(400))) for number in range(3)]
    model = ModelOptions(weights=str(weights), device="cpu", precision="fp32", compile="off")
    jobs = plan_jobs(sources, RunOptions(output=OutputOptions(output=str(tmp_path / "out")), model=model))
    (tmp_path / "out").mkdir()
    killed = []

    def kill_a_node(*_):
        pid = None if killed else writer(tmp_path / "out")
        if pid is not None:
            raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
            killed.append(raylets[parent(pid)])
            cluster.remove_node(killed[0], allow_graceful=False)

    results = list(run_on_ray(jobs, "ray", show=kill_a_node, stop=lambda: False))
    assert killed
    assert sorted(result.job.source for result in results) == sources
    assert [result.report.frames for result in results] == [400] * 3
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 3
