"""Where runs are done: executors, which take tasks and give futures.

`processes` keeps one pool of a single process per worker: the death of one worker breaks its own pool and no other run's future, and the
pool is made anew. `inline` does each run in this process, for debuggers and small machines. `ray` hands runs to a Ray cluster.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from types import ModuleType
from typing import Any, Protocol

from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure
from resnet_lab.study.planning import Task
from resnet_lab.study.stopping import blocked
from resnet_lab.study.worker import Interrupted, Refused, Workplace, run_task, start_worker

Result = RunRecord | Failure | Interrupted | Refused


class Executor(Protocol):
    """Takes tasks while it has free places; never queues."""

    @property
    def free(self) -> int:
        """How many tasks it would take now."""

    def submit(self, task: Task) -> "Future[Result]":
        """Begin a task. The future fails only where the worker itself died."""

    def bring(self, task: Task) -> None:
        """Put what a finished run has kept elsewhere into the driver's store, before its result. Raises StoreError."""

    def clear(self, task: Task) -> None:
        """Remove what a finished run has left elsewhere: its result is in the store."""

    def stop(self) -> None:
        """End everything at once; running tasks are lost."""


class Local:
    """What executors of this machine have in common: runs keep what they keep in the driver's own store."""

    def bring(self, task: Task) -> None:
        """It is there."""

    def clear(self, task: Task) -> None:
        """Storing a result clears the run's folder."""


class Inline(Local):
    """Runs each task in this process, before `submit` returns."""

    def __init__(self, workplace: Workplace, workers: int) -> None:
        from resnet_lab.training.runtime import configure

        configure(workplace.threads)
        self._workplace = workplace
        self.free = 1

    def submit(self, task: Task) -> "Future[Result]":
        """Run the task now."""
        future: Future[Result] = Future()
        future.set_result(run_task(task, self._workplace))
        return future

    def stop(self) -> None:
        """Nothing is running between two submits."""


class Processes(Local):
    """N worker processes, each a pool of its own, shared out over the devices; each stays on its device."""

    def __init__(self, workplace: Workplace, workers: int) -> None:
        self._busy: dict[Future[Result], _Worker] = {}
        self._idle: list[_Worker] = []
        devices = workplace.devices or (workplace.device,)
        try:
            for number in range(workers):
                worker = _Worker(replace(workplace, device=devices[number % len(devices)]))
                self._idle.append(worker)
                _submit(worker.pool, warm_up)  # workers import torch while the driver plans
        except BaseException:
            self.stop()
            raise

    @property
    def free(self) -> int:
        """Idle workers."""
        return len(self._idle)

    def submit(self, task: Task) -> "Future[Result]":
        """Give the task to an idle worker on the device with the fewest runs."""
        runs = Counter(worker.place.device for worker in self._busy.values())
        worker = min(self._idle, key=lambda worker: runs[worker.place.device])
        self._idle.remove(worker)
        try:
            future = _submit(worker.pool, run_task, task, worker.place)
        except BrokenProcessPool:  # the worker died while it had nothing to do
            worker = _Worker(worker.place)
            future = _submit(worker.pool, run_task, task, worker.place)
        self._busy[future] = worker
        future.add_done_callback(self._done)
        return future

    def stop(self) -> None:
        """Kill the workers."""
        for worker in [*self._idle, *list(self._busy.values())]:
            worker.kill()
        self._idle.clear()

    def _done(self, future: "Future[Result]") -> None:
        worker = self._busy.pop(future, None)
        if worker is None:
            return
        died = not future.cancelled() and future.exception() is not None
        self._idle.append(_Worker(worker.place) if died else worker)


class _Worker:
    """A pool of one process, and the place where it works."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=start_worker, initargs=(place, list(sys.path)))

    def kill(self) -> None:
        """End the process at once."""
        processes = list((self.pool._processes or {}).values())  # the public way to kill workers (kill_workers) comes with Python 3.14
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()


def _submit(pool: ProcessPoolExecutor, function: Callable[..., Any], *arguments: object) -> "Future[Any]":
    """Submit to a pool, which may start its process here."""
    with blocked(), _empty_main():
        return pool.submit(function, *arguments)


@contextmanager
def _empty_main() -> Iterator[None]:
    """Within, a process that is started does not run the caller's script, as spawning has it.

    A script without a `__main__` guard would start the study again in every worker. Nothing that workers are sent lives in `__main__`.
    """
    caller = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = caller


def warm_up() -> None:
    """Import in a fresh worker what every run needs."""
    import resnet_lab.training.train  # noqa: F401


def _ray(workplace: Workplace, workers: int) -> Executor:
    from resnet_lab.study.ray_cluster import RayCluster  # Ray is an extra, and slow to import

    return RayCluster(workplace)


EXECUTORS: dict[str, Callable[[Workplace, int], Executor]] = {"inline": Inline, "processes": Processes, "ray": _ray}
