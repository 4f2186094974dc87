"""Driving a study: keeping the executor busy with missing runs and storing what they leave. The driver alone writes results and the database.

A run that raises, or whose worker dies, is tried once more; then it is shown as failed and the others go on.
"""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from filelock import FileLock

from resnet_lab.records.record import RunRecord
from resnet_lab.records.store import Failure, RunStore
from resnet_lab.study.executors import Executor, Result
from resnet_lab.study.locks import try_run_lock
from resnet_lab.study.planning import Task, keeps_enough
from resnet_lab.study.trials import Trials

TRIES = 2
POLL_SECONDS = 0.25
"""How often the display is refreshed and a run that another study has in flight is looked for."""


class Watcher:
    """What a display is told. The methods do nothing here; a display overrides what it shows."""

    def begun(self, task: Task) -> None:
        """A run has started."""

    def finished(self, task: Task, record: RunRecord) -> None:
        """A run is in the store."""

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        """A run raised; `again` where it will be tried once more."""

    def tick(self) -> None:
        """Called a few times a second."""


@dataclass
class Driver:
    """Drives one study to its end; `failures` holds what failed for good."""

    store: RunStore
    trials: Trials
    executor: Executor
    watcher: Watcher
    failures: dict[tuple[str, int], Failure] = field(default_factory=dict)
    trained: int = 0
    _flying: "dict[Future[Result], _Flight]" = field(default_factory=dict)

    def drive(self, tasks: Sequence[Task]) -> None:
        """Do the tasks. On KeyboardInterrupt runs in flight are told FAIL, their workers are ended, and the interrupt goes on up."""
        waiting = list(tasks)
        try:
            while waiting or self._flying:
                waiting = self._launch(waiting)
                if waiting and not self._flying and self.executor.free:
                    time.sleep(POLL_SECONDS)  # all that is left is in another study's hands
                done, _ = wait(self._flying, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    again = self._land(future)
                    waiting = [again, *waiting] if again else waiting
                self.watcher.tick()
        finally:
            self.executor.stop()
            for flight in self._flying.values():
                self.trials.fail(flight.trial, "stopped before it was finished")
                flight.lock.release()

    def _launch(self, waiting: list[Task]) -> list[Task]:
        """Start what there is room for; returns what is left."""
        held: list[Task] = []
        while waiting and self.executor.free:
            task, waiting = waiting[0], waiting[1:]
            lock = try_run_lock(self.store.folder(task.fingerprint, task.seed))
            if lock is None:
                held.append(task)  # another study trains the very same run: its result will do
                continue
            ready = self.store.load(task.fingerprint, task.seed)
            if ready is not None and keeps_enough(ready, task.run):
                self._keep(task, self.trials.begin(task.cell, task.seed), ready)
                lock.release()
                continue
            self._start(task, lock)
        return [*waiting, *held]

    def _start(self, task: Task, lock: FileLock) -> None:
        trial = self.trials.begin(task.cell, task.seed)
        self.watcher.begun(task)
        tries = self.failures[task.fingerprint, task.seed].tries if (task.fingerprint, task.seed) in self.failures else 0
        try:
            self._flying[self.executor.submit(task)] = _Flight(task, trial, lock, tries + 1)
        except BaseException:  # an interrupt of an inline run
            self.trials.fail(trial, "stopped before it was finished")
            lock.release()
            raise

    def _land(self, future: "Future[Result]") -> Task | None:
        """Store what a finished future brought; returns the task where it is to be tried again."""
        flight = self._flying.pop(future)
        task, error = flight.task, future.exception()
        result: Result = (
            future.result() if error is None else Failure(f"the worker died: {error}", f"{type(error).__name__}: {error}", flight.tries)
        )
        try:
            if isinstance(result, RunRecord):
                self.store.save(result)
                self.trained += 1
                self.failures.pop((task.fingerprint, task.seed), None)
                self._keep(task, flight.trial, result)
                return None
            failure = Failure(result.error, result.traceback, flight.tries)
            self.failures[task.fingerprint, task.seed] = failure
            self.trials.fail(flight.trial, failure.error)
            again = flight.tries < TRIES
            if not again:
                self.store.save_failure(task.fingerprint, task.seed, failure)
            self.watcher.failed(task, failure, again)
            return task if again else None
        finally:
            flight.lock.release()

    def _keep(self, task: Task, trial: int, record: RunRecord) -> None:
        self.trials.end(trial, record)
        self.watcher.finished(task, record)


@dataclass(frozen=True)
class _Flight:
    task: Task
    trial: int
    lock: FileLock
    tries: int
