"""Runs on a real Ray cluster of several nodes on this machine: every cell once, also when a node is lost on the way."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from resnet_lab.records.store import RunStore, StoreError

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'resnet_lab[ray]'")

SMALL = ["--scale", "smoke", "--set", "grid.network.layers=[8, 14]", "--set", "training.epochs=30", "--executor", "ray"]


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes_to_lose = [made.add_node(num_cpus=1), made.add_node(num_cpus=1)]
    yield made
    made.shutdown()


def study(folder: Path, address: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", *SMALL, "--ray-address", address]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_a_study_survives_the_loss_of_a_node(cluster, tmp_path: Path) -> None:
    """A node is killed once the first result is in: its run is repeated on the other, and no cell is lost or done twice."""
    store = RunStore(tmp_path / "studies")
    driver = study(tmp_path, cluster.address)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(driver.stdout or ()), daemon=True)
    reader.start()
    deadline = time.monotonic() + 240
    while not list(store.root.glob("*/*/result.json")) and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    cluster.remove_node(cluster.nodes_to_lose.pop(), allow_graceful=False)
    driver.wait(timeout=280)
    reader.join(timeout=10)
    assert driver.returncode == 0, "".join(said)
    assert len(list(store)) == 8
    finished = [line for line in said if line.startswith("[")]
    assert len(finished) == 8, "each run is finished once"
    assert list(tmp_path.glob("reports/plain_vs_residual/*/report.html"))


def test_a_cluster_that_does_not_answer_is_named_at_once() -> None:
    """Ray itself waits for minutes on an address where nobody listens."""
    from resnet_lab.study.ray_cluster import connect

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(StoreError, match="no Ray cluster answers"):
        connect(f"127.0.0.1:{port}")
    assert time.monotonic() - began < 60


def test_a_worker_of_another_version_refuses(tmp_path: Path) -> None:
    """Would catch results of two versions in one study: the fingerprint cannot tell, the nodes' environments differ."""
    from resnet_lab.records.store import Failure
    from resnet_lab.study.ray_cluster import run_remotely

    refused = run_remotely(None, None, [], ("0.0.0", 0))  # type: ignore[arg-type]  # it must refuse before it looks at them
    assert isinstance(refused, Failure)
    assert "install the same on every node" in refused.error
