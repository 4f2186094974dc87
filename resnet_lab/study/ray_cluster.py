"""Runs as tasks of a Ray cluster: each with its CPU or GPU needs, results back to the driver, which stays the only writer.

Ray repeats the tasks of a lost node elsewhere. Decoded images, progress and checkpoints go to the scratch folder, which may be shared by the
nodes (a repeated run then goes on from its checkpoint) or stay on each.
"""

import os
import socket
import sys
from concurrent.futures import Future
from typing import Any

import resnet_lab
from resnet_lab.records.record import RunRecord
from resnet_lab.records.store import Failure, StoreError
from resnet_lab.spec.run import TRAINING_VERSION
from resnet_lab.study.planning import Task
from resnet_lab.study.worker import Interrupted, Workplace, run_task

LOST_NODES = 3
"""How often Ray repeats a task whose node or worker was lost."""
CONNECT_SECONDS = 10.0
VERSION = (resnet_lab.__version__, TRAINING_VERSION)


class RayCluster:
    """An executor whose places are the cluster's CPUs (or GPUs) divided by what a run needs; it follows nodes that come and go."""

    def __init__(self, workplace: Workplace) -> None:
        ray = connect(workplace.ray_address)
        self._ray, self._workplace = ray, workplace
        self._needs: dict[str, float] = {"num_cpus": workplace.threads}
        if workplace.device.startswith("cuda"):
            self._needs["num_gpus"] = 1 / workplace.runs_per_device
        self._remote = ray.remote(max_retries=LOST_NODES, retry_exceptions=False, **self._needs)(run_remotely)
        self._flying: set[Any] = set()

    @property
    def free(self) -> int:
        """Places in the cluster as it is now, less the tasks in flight; at least one, so that Ray can wait for a node to come."""
        there = self._ray.cluster_resources()
        places = int(there.get("CPU", 0) // self._needs["num_cpus"])
        if "num_gpus" in self._needs:
            places = min(places, int(there.get("GPU", 0) / self._needs["num_gpus"]))
        return max(0, max(1, places) - len(self._flying))

    def submit(self, task: Task) -> "Future[RunRecord | Failure | Interrupted]":
        """Hand the task to Ray. The future fails where Ray has given the task up."""
        reference = self._remote.remote(task, self._workplace, list(sys.path), VERSION)
        self._flying.add(reference)
        future: Future[RunRecord | Failure | Interrupted] = reference.future()
        future.add_done_callback(lambda _: self._flying.discard(reference))
        return future

    def stop(self) -> None:
        """Cancel what is in flight and leave the cluster."""
        for reference in list(self._flying):
            self._ray.cancel(reference, force=True)
        self._flying.clear()
        self._ray.shutdown()


def connect(address: str | None) -> Any:
    """The ray module, connected to a cluster, or to one of its own on this machine. Raises StoreError where it cannot be reached."""
    try:
        import ray
    except ImportError as error:
        raise StoreError("the ray executor needs Ray: pip install 'resnet_lab[ray]'") from error
    _check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise StoreError(f"the Ray cluster {address or 'of this machine'} cannot be used: {error}") from error
    return ray


def run_remotely(task: Task, workplace: Workplace, path: list[str], version: tuple[str, int]) -> RunRecord | Failure | Interrupted:
    """What a Ray worker does with a task; a worker of another version refuses it."""
    if version != VERSION:
        message = f"this worker ({socket.gethostname()}) has resnet_lab {VERSION}, the driver {version}: install the same on every node"
        return Failure(error=message, traceback=message, tries=1)
    sys.path += [folder for folder in path if folder not in sys.path]
    from resnet_lab.training.runtime import configure

    configure(workplace.threads)
    return run_task(task, workplace)


def _check_reachable(address: str | None) -> None:
    """Ask the address for a connection first: Ray itself waits for minutes on one that does not answer."""
    if address is None or address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise StoreError(f"no Ray cluster answers at {address} ({error}): is it up, and is this host:port of its head?") from error
