"""Driving a study: keeping the executor busy with missing runs and storing what they leave. The driver alone writes results and the database.

A run that raises, or whose worker dies, is tried once more; then it is shown as failed and the others go on. A death does not count where the
run had written a checkpoint since it was last begun: it goes on from there. Asked to stop, the driver begins nothing more and waits for the
runs in flight to write their checkpoints.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from filelock import FileLock

from resnet_lab.records.record import RunRecord
from resnet_lab.records.store import Failure, RunStore
from resnet_lab.study.deadline import Deadline
from resnet_lab.study.executors import Executor, Result
from resnet_lab.study.locks import try_run_lock
from resnet_lab.study.planning import Task, keeps_enough
from resnet_lab.study.sharding import NoTrials
from resnet_lab.study.stopping import Stop
from resnet_lab.study.trials import Trials
from resnet_lab.study.worker import Interrupted

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

    def stopping(self, runs: int) -> None:
        """The study was asked to stop; `runs` are in flight and write their checkpoints."""

    def stopped(self, task: Task, where: Interrupted) -> None:
        """A run in flight has stopped."""

    def tick(self) -> None:
        """Called a few times a second."""


@dataclass
class Driver:
    """Drives one study to its end; `failures` holds what failed for good."""

    store: RunStore
    trials: Trials | NoTrials
    executor: Executor
    watcher: Watcher
    stop: Stop = field(default_factory=Stop)
    deadline: Deadline = field(default_factory=Deadline)
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Fingerprint -> predicted seconds of a run, for the deadline."""
    failures: dict[tuple[str, int], Failure] = field(default_factory=dict)
    trained: int = 0
    _flying: "dict[Future[Result], _Flight]" = field(default_factory=dict)

    def drive(self, tasks: Sequence[Task]) -> None:
        """Do the tasks. Asked to stop, KeyboardInterrupt is raised once the runs in flight have stopped, unless nothing was left to do.

        On any other KeyboardInterrupt runs in flight are told FAIL, their workers are ended, and the interrupt goes on up.
        """
        waiting, told = list(tasks), False
        try:
            while (self._flying and not self.stop.overdue) or (waiting and not self.stop.asked):
                if self.deadline.reached and not self.stop.asked:
                    self.stop.ask()
                waiting = waiting if self.stop.asked else self._launch(waiting)
                if waiting and not self._flying and not any(self.deadline.leaves(self.seconds.get(t.fingerprint, 0.0)) for t in waiting):
                    self.stop.ask()  # nothing that is left fits before the deadline
                if waiting and not self._flying and self.executor.free:
                    time.sleep(POLL_SECONDS)  # all that is left is in another study's hands
                done, _ = wait(self._flying, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                if self.stop.asked and not told:  # asked while waiting: said before those that have stopped since are counted out
                    told = True
                    self.watcher.stopping(len(self._flying))
                for future in done:
                    again = self._land(future)
                    waiting = [again, *waiting] if again else waiting
                self.watcher.tick()
            if waiting or self._flying:
                raise KeyboardInterrupt
        finally:
            self.executor.stop()
            for flight in self._flying.values():
                self.trials.fail(flight.trial, "stopped before it was finished")
                flight.lock.release()

    def _launch(self, waiting: list[Task]) -> list[Task]:
        """Start what there is room for, unless a run that is done waits to be stored (an inline one always does); returns what is left."""
        held: list[Task] = []
        while waiting and self.executor.free and not any(future.done() for future in self._flying):
            task, waiting = waiting[0], waiting[1:]
            if not self.deadline.leaves(self.seconds.get(task.fingerprint, 0.0)):
                held.append(task)  # a shorter one may still fit
                continue
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
            written = self.store.checkpoint_time(task.fingerprint, task.seed)
            self._flying[self.executor.submit(task)] = _Flight(task, trial, lock, tries + 1, written)
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
            if isinstance(result, Interrupted):
                self.trials.fail(flight.trial, f"stopped after iteration {result.iteration} of {result.iterations}")
                self.watcher.stopped(task, result)
                return task
            advanced = error is not None and self.store.checkpoint_time(task.fingerprint, task.seed) != flight.checkpoint
            failure = Failure(result.error, result.traceback, flight.tries - advanced)
            self.failures[task.fingerprint, task.seed] = failure
            self.trials.fail(flight.trial, failure.error)
            again = failure.tries < TRIES
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
    checkpoint: float | None
    """When the run's newest checkpoint was written, as the flight began."""
