"""Where runs are done: executors, which take tasks and give futures.

`processes` keeps one pool of a single process per worker: the death of one worker breaks its own pool and no other run's future, and the
pool is made anew. `inline` does each run in this process, for debuggers and small machines. `ray` hands runs to a Ray cluster.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from types import ModuleType
from typing import Any, Protocol

from resnet_lab.records.record import RunRecord
from resnet_lab.records.store import Failure
from resnet_lab.study.planning import Task
from resnet_lab.study.stopping import blocked
from resnet_lab.study.worker import Interrupted, Workplace, run_task, start_worker

Result = RunRecord | Failure | Interrupted


class Executor(Protocol):
    """Takes tasks while it has free places; never queues."""

    @property
    def free(self) -> int:
        """How many tasks it would take now."""

    def submit(self, task: Task) -> "Future[Result]":
        """Begin a task. The future fails only where the worker itself died."""

    def stop(self) -> None:
        """End everything at once; running tasks are lost."""


class Inline:
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


class Processes:
    """N worker processes, each a pool of its own."""

    def __init__(self, workplace: Workplace, workers: int) -> None:
        self._workplace = workplace
        self._busy: dict[Future[Result], ProcessPoolExecutor] = {}
        self._idle = [self._pool() for _ in range(workers)]
        try:
            for pool in self._idle:
                _submit(pool, warm_up)  # workers import torch while the driver plans
        except BaseException:
            self.stop()
            raise

    @property
    def free(self) -> int:
        """Idle workers."""
        return len(self._idle)

    def submit(self, task: Task) -> "Future[Result]":
        """Give the task to an idle worker."""
        pool = self._idle.pop()
        try:
            future = _submit(pool, run_task, task, self._workplace)
        except BrokenProcessPool:  # the worker died while it had nothing to do
            pool = self._pool()
            future = _submit(pool, run_task, task, self._workplace)
        self._busy[future] = pool
        future.add_done_callback(self._done)
        return future

    def stop(self) -> None:
        """Kill the workers."""
        for pool in [*self._idle, *list(self._busy.values())]:
            processes = list((pool._processes or {}).values())  # the public way to kill workers (kill_workers) comes with Python 3.14
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()
        self._idle.clear()

    def _done(self, future: "Future[Result]") -> None:
        pool = self._busy.pop(future, None)
        if pool is None:
            return
        died = not future.cancelled() and future.exception() is not None
        self._idle.append(self._pool() if died else pool)

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=start_worker, initargs=(self._workplace, list(sys.path)))


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
