"""Where runs are done: executors, which take tasks and give futures.

`processes` starts worker processes, `inline` does each run in this process (for debuggers and small machines), `ray` hands runs to a Ray cluster.
"""

import pickle
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from resnet_lab.runs.files import StoreError
from resnet_lab.study.tasks import Result, Task, WorkerContext

SERVE = "import sys; sys.path[:] = sys.argv[1:]; from resnet_lab.study.worker import serve; serve()"
"""What a worker process runs, never the caller's script. It finds modules where the driver finds them: blocks from outside, too."""


class WorkerDiedError(RuntimeError):
    """A worker process ended before its run did."""


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

    free = 1

    def __init__(self, context: WorkerContext, workers: int) -> None:
        from resnet_lab.study.worker import run_task  # torch: with other executors only the workers need it

        self._context, self._run = context, run_task

    def submit(self, task: Task) -> "Future[Result]":
        """Run the task now."""
        future: Future[Result] = Future()
        future.set_result(self._run(task, self._context))
        return future

    def stop(self) -> None:
        """Nothing is running between two submits."""


class Processes(Local):
    """So many worker processes, shared out over the devices. Each stays on its device; one that has died is started anew when it is next needed."""

    def __init__(self, context: WorkerContext, workers: int) -> None:
        devices = context.devices or (context.device,)
        self._workers = [_Worker(replace(context, device=devices[number % len(devices)])) for number in range(workers)]

    @property
    def free(self) -> int:
        """Idle workers."""
        return sum(not worker.busy for worker in self._workers)

    def submit(self, task: Task) -> "Future[Result]":
        """Give the task to an idle worker on the device with the fewest runs."""
        runs = Counter(worker.context.device for worker in self._workers if worker.busy)
        idle = [worker for worker in self._workers if not worker.busy]
        return min(idle, key=lambda worker: runs[worker.context.device]).submit(task)

    def stop(self) -> None:
        """Kill the workers."""
        for worker in self._workers:
            worker.kill()


class _Worker:
    """A process that does one task at a time (`resnet_lab.study.worker.serve`). It ends when its driver does, however that ended."""

    def __init__(self, context: WorkerContext) -> None:
        self.context = context
        self._future: Future[Result] | None = None
        self._listener: threading.Thread | None = None
        self._process = _start()

    @property
    def busy(self) -> bool:
        """Whether it has a task."""
        return self._future is not None and not self._future.done()

    def submit(self, task: Task) -> "Future[Result]":
        """Send a task; a thread waits for the answer."""
        if self._process.poll() is not None:
            self.kill()
            self._process = _start()
        future: Future[Result] = Future()
        self._future = future
        self._listener = threading.Thread(target=self._exchange, args=(task, future), daemon=True)
        self._listener.start()
        return future

    def _exchange(self, task: Task, future: "Future[Result]") -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((task, self.context), self._process.stdin)
            self._process.stdin.flush()
            future.set_result(pickle.load(self._process.stdout))
        except (OSError, EOFError, pickle.UnpicklingError):
            code = self._process.wait()
            killed = f"it was killed by signal {-code}, perhaps because memory ran out" if code < 0 else f"exit code {code}"
            future.set_exception(WorkerDiedError(killed))

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        if self._listener is not None:
            self._listener.join()
        self._process.communicate()


def _start() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, *map(str, sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in a terminal is for the driver alone, which asks the runs to stop
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
    )


def _ray(context: WorkerContext, workers: int) -> Executor:
    try:
        from resnet_lab.study.ray_cluster import RayCluster  # Ray is an extra, and slow to import
    except ImportError as error:
        raise StoreError("the ray executor needs Ray: pip install 'resnet_lab[ray]'") from error
    return RayCluster(context)


EXECUTORS: dict[str, Callable[[WorkerContext, int], Executor]] = {"inline": Inline, "processes": Processes, "ray": _ray}
