"""Runs as tasks of a Ray cluster: each with its CPU or GPU needs, results back to the driver, which stays the only writer.

Ray repeats the tasks of a lost node elsewhere. Decoded images, progress and checkpoints go to the scratch folder, which may be shared by the
nodes (a repeated run then goes on from its checkpoint) or stay on each. Kept weights travel back with the result, and what a finished run has
left in the scratch folder is removed, unless that is the driver's own store.
"""

import os
import pickle
import socket
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import resnet_lab
from resnet_lab.runs.files import StoreError, write_atomically, writing
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import CHECKPOINTS, Failure, RunStore, weights_name
from resnet_lab.spec.run import TRAINING_VERSION
from resnet_lab.study.tasks import Result, Task, WorkerContext
from resnet_lab.study.worker import run_task

LOST_NODES = 3
"""How often Ray repeats a task whose node or worker was lost."""
CONNECT_SECONDS = 30.0
CLEAR_SECONDS = 5.0
"""How long the end of a study waits for nodes to remove what finished runs have left there."""
VERSION = (resnet_lab.__version__, TRAINING_VERSION)


@dataclass(frozen=True)
class Delivery:
    """What comes back from a node: a result, and the weights it was asked to keep, `last` or `best` -> content of the file."""

    result: Result
    node: str
    weights: dict[str, bytes] = field(default_factory=dict)


class RayCluster:
    """An executor whose places are the cluster's CPUs (or GPUs) divided by what a run needs; it follows nodes that come and go."""

    def __init__(self, context: WorkerContext) -> None:
        connect(context.ray_address)
        self._context = context
        self._needs: dict[str, float] = {"num_cpus": context.threads}
        if context.device.startswith("cuda"):
            self._needs["num_gpus"] = 1 / context.runs_per_device
        self._remote = ray.remote(max_retries=LOST_NODES, retry_exceptions=False, **self._needs)(run_remotely)
        self._flying: set[Any] = set()
        self._delivered: dict[tuple[str, int], Delivery] = {}
        self._clearing: list[Any] = []

    @property
    def free(self) -> int:
        """Places in the cluster as it is now, less the tasks in flight; at least one, so that Ray can wait for a node to come."""
        there = ray.cluster_resources()
        places = int(there.get("CPU", 0) // self._needs["num_cpus"])
        if "num_gpus" in self._needs:
            places = min(places, int(there.get("GPU", 0) / self._needs["num_gpus"]))
        return max(0, max(1, places) - len(self._flying))

    def submit(self, task: Task) -> "Future[Result]":
        """Hand the task to Ray. The future fails where Ray has given the task up."""
        reference = self._remote.remote(pickle.dumps((task, self._context)), list(sys.path), VERSION)
        self._flying.add(reference)
        future: Future[Result] = Future()

        def arrived(sent: "Future[Delivery]") -> None:
            self._flying.discard(reference)
            if (error := sent.exception()) is not None:
                future.set_exception(error)
                return
            delivery = sent.result()
            if isinstance(delivery.result, RunRecord):
                self._delivered[task.fingerprint, task.seed] = delivery
            future.set_result(delivery.result)

        reference.future().add_done_callback(arrived)
        return future

    def bring(self, task: Task) -> None:
        """Write the weights that came with a result into the driver's store. Raises StoreError."""
        delivery = self._delivered.get((task.fingerprint, task.seed))
        if delivery is None or not delivery.weights or self._context.store is None:
            return
        folder = RunStore(self._context.store).folder(task.fingerprint, task.seed)
        with writing(folder):
            for which, content in delivery.weights.items():
                write_atomically(folder / weights_name(which), content)

    def clear(self, task: Task) -> None:
        """Remove what the run has left on its node, unless that is the driver's store itself."""
        delivery, left = self._delivered.pop((task.fingerprint, task.seed), None), self._context.folder(task)
        if delivery is None or left is None or self._context.store is None:
            return
        there = NodeAffinitySchedulingStrategy(node_id=delivery.node, soft=True)
        remove = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(remove_left)
        stored = RunStore(self._context.store).folder(task.fingerprint, task.seed)
        self._clearing.append(remove.remote(left, weights=left.resolve() != stored.resolve()))

    def stop(self) -> None:
        """Cancel what is in flight and leave the cluster."""
        for reference in list(self._flying):
            ray.cancel(reference, force=True)
        self._flying.clear()
        if self._clearing:
            ray.wait(self._clearing, num_returns=len(self._clearing), timeout=CLEAR_SECONDS)
            self._clearing.clear()
        ray.shutdown()


def connect(address: str | None) -> None:
    """Connect to a cluster, or to one of its own on this machine. Raises StoreError where it cannot be used."""
    _check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise StoreError(f"the Ray cluster {address or 'of this machine'} cannot be used: {error}") from error


def run_remotely(order: bytes, path: list[str], version: tuple[str, int]) -> Delivery:
    """What a Ray worker does with a pickled (task, context); a worker of another version refuses before it reads them."""
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    if version != VERSION:
        message = f"this worker ({socket.gethostname()}) has resnet_lab {VERSION}, the driver {version}: install the same on every node"
        return Delivery(Failure(error=message, traceback=message, tries=1), node)
    sys.path += [folder for folder in path if folder not in sys.path]
    task: Task
    context: WorkerContext
    task, context = pickle.loads(order)
    result, folder = run_task(task, context), context.folder(task)
    if not isinstance(result, RunRecord) or folder is None:
        return Delivery(result, node)
    return Delivery(result, node, {which: (folder / weights_name(which)).read_bytes() for which in result.weights})


def remove_left(folder: Path, *, weights: bool) -> None:
    """Remove a finished run's checkpoints on its node, and its weights where the folder is not the driver's own."""
    names = [*CHECKPOINTS, *([path.name for path in folder.glob(weights_name("*"))] if weights else [])]
    if not (folder / "result.json").exists():  # else it is the driver's own under another name
        for name in names:
            (folder / name).unlink(missing_ok=True)


def _check_reachable(address: str | None) -> None:
    """Let another process try first, which can be ended: Ray itself waits for minutes on an address that does not answer, whatever its settings say."""
    if address in (None, "auto", "local"):
        return
    try_it = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", try_it, address], capture_output=True, text=True, timeout=CONNECT_SECONDS, check=False
        )
        why = tried.stderr.strip().rpartition("\n")[2] if tried.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"no answer within {CONNECT_SECONDS:.0f} s"
    if why:
        raise StoreError(
            f"no Ray cluster can be used at {address} ({why}): is it up, and is this HOST:PORT of its head, as in 10.0.0.1:6379?"
        )
