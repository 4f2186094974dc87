"""Driving a study: keeping the executor busy with missing runs and storing what they leave. The driver alone writes results and the database.

A run that raises, or whose worker dies, is tried once more; then it is shown as failed and the others go on. A death does not count where the
run had written a checkpoint since it was last begun: it goes on from there. A run for which the device's memory did not do is tried again once
it has the device to itself. Asked to stop, the driver begins nothing more and waits for the runs in flight to write their checkpoints.

Where the store or the database refuses a write (a full disk, a lock, a server that is down) the driver tries for a while. If that does not
help, it stops as if it had been asked to, and says why: results that are files stay, and the next call goes on from there.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import TypeVar

from filelock import FileLock

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.study.executors import Executor
from resnet_lab.study.locks import Held, StudyLockedError, try_run_lock
from resnet_lab.study.planning import keeps_enough
from resnet_lab.study.stopping import Stop
from resnet_lab.study.tasks import Interrupted, Refused, Result, Task
from resnet_lab.study.trials import Trials

T = TypeVar("T")
TRIES = 2
INSIST_SECONDS = 60.0
"""How long a write is tried again that the store or the database refuses."""
PAUSE_SECONDS = 1.0
"""Between two such tries."""
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

    def refused(self, why: str) -> None:
        """The store or the database refuses a write, which is tried again for a while."""

    def tick(self) -> None:
        """Called a few times a second."""


@dataclass
class Driver:
    """Drives one study to its end; `failures` holds what failed for good."""

    store: RunStore
    trials: Trials | None
    """None for a share of a study, which writes results and nothing else."""
    executor: Executor
    watcher: Watcher
    stop: Stop = field(default_factory=Stop)
    held: Held | None = None
    """The study's lock, which a driver on another machine may take over."""
    failures: dict[tuple[str, int], Failure] = field(default_factory=dict)
    trained: int = 0
    _flying: "dict[Future[Result], _Flight]" = field(default_factory=dict)
    _trouble: StoreError | StudyLockedError | None = None
    """Why the study has to stop."""
    _unstored: "list[tuple[_Flight, RunRecord]]" = field(default_factory=list)
    """Results that the store refused; offered once more at the end."""
    _alone: set[tuple[str, int]] = field(default_factory=set)
    """Runs for which the device's memory did not do: begun only where nothing else is in flight."""

    def drive(self, tasks: Sequence[Task]) -> None:
        """Do the tasks. Asked to stop, KeyboardInterrupt is raised once the runs in flight have stopped, unless nothing was left to do.

        On any other KeyboardInterrupt the workers are ended, and the interrupt goes on up. Raises StoreError where
        the store or the database could not be used for a while, StudyLockedError where another driver has taken the study over.
        """
        waiting, told = list(tasks), False
        try:
            while (self._flying and not self.stop.overdue) or (waiting and not self.stop.asked):
                if self.held is not None and self.held.lost_to:
                    self._give_up(StudyLockedError(f"another driver has taken this study over: {self.held.lost_to}. This one stops"))
                waiting = waiting if self.stop.asked else self._launch(waiting)
                self._record()  # while the workers are at work: a write takes a twentieth of a second
                if waiting and not self._flying and self.executor.free and not self.stop.asked:
                    time.sleep(POLL_SECONDS)  # all that is left is in another study's hands
                done, _ = wait(self._flying, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                if self.stop.asked and not told:  # asked while waiting: said before those that have stopped since are counted out
                    told = True
                    self.watcher.stopping(len(self._flying))
                for future in done:
                    again = self._land(future)
                    waiting = [again, *waiting] if again else waiting
                self.watcher.tick()
            self._offer_again()
            self._record()
            if self._trouble is not None:
                raise self._trouble
            if waiting or self._flying:
                raise KeyboardInterrupt
        finally:
            self.executor.stop()
            for flight in self._flying.values():
                flight.lock.release()

    def _launch(self, waiting: list[Task]) -> list[Task]:
        """Start what there is room for, unless a run that is done waits to be stored (an inline one always does); returns what is left."""
        held: list[Task] = []
        while waiting and self._has_room():
            task, waiting = waiting[0], waiting[1:]
            if _key(task) in self._alone and self._flying:
                held.append(task)  # until it has the device to itself
                continue
            try:
                begun = self._begin(task)
            except StoreError as error:
                self._give_up(error)
                return [task, *waiting, *held]
            if not begun:
                held.append(task)
        return [*waiting, *held]

    def _has_room(self) -> bool:
        alone = any(_key(flight.task) in self._alone for flight in self._flying.values())
        return bool(self.executor.free) and not alone and not self.stop.asked and not any(future.done() for future in self._flying)

    def _begin(self, task: Task) -> bool:
        """Begin a run, or take its result from the store; False where another study has it in flight: its result will do.

        Raises StoreError where the store or the database cannot be used.
        """
        lock = self._insist(lambda: try_run_lock(self.store.folder(task.fingerprint, task.seed)))
        if lock is None:
            return False
        try:
            ready = self.store.load(task.fingerprint, task.seed)
            if ready is not None and keeps_enough(ready, task.run):
                self._keep(task, ready)
                lock.release()
            else:
                self._start(task, lock)
        except BaseException:
            lock.release()
            raise
        return True

    def _start(self, task: Task, lock: FileLock) -> None:
        self.watcher.begun(task)
        tries = self.failures[_key(task)].tries if _key(task) in self.failures else 0
        flight = _Flight(task, lock, tries + 1, self.store.checkpoint_time(task.fingerprint, task.seed))
        self._flying[self.executor.submit(task)] = flight

    def _land(self, future: "Future[Result]") -> Task | None:
        """Store what a finished future brought; returns the task where it is to be tried again."""
        flight = self._flying.pop(future)
        task, error = flight.task, future.exception()
        result: Result = (
            future.result() if error is None else Failure(f"the worker died: {error}", f"{type(error).__name__}: {error}", flight.tries)
        )
        if isinstance(result, RunRecord):
            self._store(flight, result)
            return None
        try:
            if isinstance(result, Interrupted):
                self.watcher.stopped(task, result)
                return task
            if isinstance(result, Refused):
                self._give_up(StoreError(result.why))
                return task
            advanced = error is not None and self.store.checkpoint_time(task.fingerprint, task.seed) != flight.checkpoint
            return self._failed(flight, replace(result, tries=flight.tries - advanced))
        finally:
            flight.lock.release()

    def _store(self, flight: "_Flight", record: RunRecord) -> None:
        """Write a result down, and only then tell anybody. One that the store refuses for too long is kept until the end."""
        try:
            self._insist(lambda: self._save(flight.task, record))
        except StoreError as error:
            self._unstored.append((flight, record))
            self._give_up(error)
            return
        self.trained += 1
        self.failures.pop(_key(flight.task), None)
        try:
            self._keep(flight.task, record)
        finally:
            flight.lock.release()

    def _save(self, task: Task, record: RunRecord) -> None:
        self.executor.bring(task)
        self.store.save(record)
        self.executor.clear(task)

    def _offer_again(self) -> None:
        """Offer the results that the store refused once more: other runs may have freed what they needed, or somebody has."""
        refused, self._unstored = self._unstored, []
        for flight, record in refused:
            self._store(flight, record)
        for flight, _ in self._unstored:
            flight.lock.release()

    def _failed(self, flight: "_Flight", failure: Failure) -> Task | None:
        """Note that a run raised; returns it where it is to be tried again."""
        task = flight.task
        again = failure.tries < TRIES or (failure.out_of_memory and _key(task) not in self._alone)
        if failure.out_of_memory:
            self._alone.add(_key(task))
        self.failures[_key(task)] = failure
        if not again:
            self._tell(task, failure)
            try:
                self._insist(lambda: self.store.save_failure(task.fingerprint, task.seed, failure))
            except StoreError as error:
                self._give_up(error)
        self.watcher.failed(task, failure, again)
        return task if again else None

    def _keep(self, task: Task, record: RunRecord) -> None:
        """Tell of a result that is in the store."""
        self._tell(task, record)
        self.watcher.finished(task, record)

    def _tell(self, task: Task, ended: RunRecord | Failure) -> None:
        if self.trials is not None:
            self.trials.tell(task.fingerprint, task.seed, ended)

    def _record(self) -> None:
        """Have the database written; what it cannot be told it finds out at the next start."""
        try:
            if self.trials is not None and self._trouble is None:
                self._insist(self.trials.write)
        except StoreError as refusal:
            self._give_up(refusal)

    def _insist(self, write: Callable[[], T]) -> T:
        """The write's value, tried for a while. Raises StoreError where it does not come through, at once where the study is stopping anyway."""
        began, said = time.monotonic(), False
        while True:
            try:
                return write()
            except StoreError as error:
                if self.stop.asked or time.monotonic() - began > INSIST_SECONDS:
                    raise
                if not said:
                    self.watcher.refused(str(error))
                    said = True
            self.watcher.tick()
            time.sleep(PAUSE_SECONDS)

    def _give_up(self, error: StoreError | StudyLockedError) -> None:
        """Stop as if asked to, and remember why."""
        self._trouble = self._trouble or error
        self.stop.ask()


@dataclass(frozen=True)
class _Flight:
    task: Task
    lock: FileLock
    tries: int
    checkpoint: float | None
    """When the run's newest checkpoint was written, as the flight began."""


def _key(task: Task) -> tuple[str, int]:
    return task.fingerprint, task.seed
