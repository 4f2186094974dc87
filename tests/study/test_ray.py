"""Runs on a real Ray cluster of several nodes on this machine: every cell once, also when a node is lost on the way."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import resnet_lab
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.training.weights import load_weights

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'resnet_lab[ray]'")

from resnet_lab.study import ray_cluster  # noqa: E402

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


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None], ids=["a web server", "silence", "nobody"])
def test_an_address_where_no_cluster_answers_is_named_in_time(answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself waits for minutes on an address where nobody listens, the port of a web server, or a server that accepts and says nothing."""
    monkeypatch.setattr(ray_cluster, "CONNECT_SECONDS", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(answer or b"")
                accepted.recv(1000)

        if answer is None:
            server.close()
        else:
            threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"no Ray cluster can be used at .* \(no answer within 5 s\)"):
            ray_cluster.connect(f"127.0.0.1:{port}")
        assert time.monotonic() - began < 20


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(StoreError, match="is this HOST:PORT of its head"):
        ray_cluster.connect("head-node")


def test_a_worker_of_another_version_refuses(tmp_path: Path) -> None:
    """Would catch results of two versions in one study: the fingerprint cannot tell, the nodes' environments differ."""
    refused = ray_cluster.run_remotely(b"no pickle that this version could read", [], ("0.0.0", 0)).result
    assert isinstance(refused, Failure)
    assert "install the same on every node" in refused.error


@pytest.mark.slow
def test_a_node_of_another_version_is_named(cluster, tmp_path: Path) -> None:
    """The real thing: a node whose environment has another resnet_lab. Would catch an error from deep within unpickling, or results that are mixed."""
    other = tmp_path / "environment"
    shutil.copytree(Path(resnet_lab.__file__).parent, other / "resnet_lab", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "resnet_lab" / "__init__.py").write_text('__version__ = "0.0.99"\n')
    node = cluster.add_node(num_cpus=1, resources={"other": 1}, env_vars={"PYTHONPATH": str(other)})
    try:
        said = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(ASK_OTHER), cluster.address],
            cwd=tmp_path,  # Ray puts the driver's folder on its workers' paths
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    finally:
        cluster.remove_node(node)
    assert "has resnet_lab ('0.0.99'," in said.stdout, said.stdout + said.stderr
    assert "install the same on every node" in said.stdout


ASK_OTHER = """
    import sys
    import ray
    from resnet_lab.study.ray_cluster import VERSION, connect, run_remotely

    connect(sys.argv[1])
    print(ray.get(ray.remote(resources={"other": 1})(run_remotely).remote(b"", [], VERSION)).result.error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["on a shared folder", "on each node"])
def test_kept_weights_come_back_from_the_nodes(cluster, tmp_path: Path, shared: bool) -> None:
    """Would catch a record that names weights which lie on a node, and checkpoints of finished runs that fill its disk.

    A scratch folder that is not the driver's own, which only nodes write to, stands for a node's disk.
    """
    scratch = [] if shared else ["--scratch", str(tmp_path / "node")]
    words = [
        "--scale",
        "smoke",
        "--set",
        "grid.network.layers=[8]",
        "--set",
        "training.epochs=2",
        "--set",
        "record.weights=true",
        "--seeds",
        "1",
        "--executor",
        "ray",
    ]
    command = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", *words, "--ray-address", cluster.address, *scratch]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    store = RunStore(tmp_path / "studies")
    records = list(store)
    assert len(records) == 2
    for record in records:
        assert load_weights(store.weights_path(record), record.weights["last"])
    assert list(tmp_path.rglob("checkpoint*")) == []
    if not shared:
        assert list((tmp_path / "node").rglob("weights*")) == []


@pytest.mark.slow
def test_a_search_on_a_cluster_proposes_prunes_and_ends_in_cells(cluster, tmp_path: Path) -> None:
    """Would catch trials that only this machine's workers can do: pauses for a pruner, whose checkpoint lies on a node, and runs without a test error."""
    command = [
        sys.executable,
        "-m",
        "resnet_lab.study",
        "search_under_macs",
        "--scale",
        "smoke",
        "--executor",
        "ray",
        "--ray-address",
        cluster.address,
    ]
    command += ["--set", "search.pruner=median", "--set", "training.epochs=4", "--set", "search.trials=8"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "search tpe: all 8 trials are done" in done.stdout
    assert {record.status for record in RunStore(tmp_path / "studies")} == {"done"}
    for name in ("tpe/1", "tpe/2", "random/1", "random/2", "resnet20"):
        assert f"{name} seed 1: train error" in done.stdout
