"""Driving a study: keeping the executor busy with missing runs and storing what they leave. The driver alone writes results and the database.

A run that raises, or whose worker dies, is tried once more; then it is shown as failed and the others go on. A death uses up no try where the
run had written a checkpoint since it was last begun: it is resumed from there. A run that ran out of device memory is tried again alone on the
device. Asked to stop, the driver begins nothing more and waits for the runs in flight to write their checkpoints.

Where the store or the database refuses a write (a full disk, a lock, a server that is down) the driver tries for a while. If that does not
help, it stops as if it had been asked to, and says why: results that are files stay, and the next call resumes.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock
from rich.console import Console

from resnet_lab.console import say
from resnet_lab.data.cache import cache_folder as images_folder
from resnet_lab.data.cache import prepare as prepare_images
from resnet_lab.logs import EpochLog
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.lacking import keeps_enough
from resnet_lab.runs.plan import load_plan, same_study
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.study.display import JsonLog, LiveTable, PlainLines, Watcher
from resnet_lab.study.executors import EXECUTORS, Executor
from resnet_lab.study.locks import Held, StudyLockedError, study_lock, try_run_lock
from resnet_lab.study.plan import StudyPlan, plan_study, register_claims
from resnet_lab.study.stopping import Stop, signals_ask, time_limit
from resnet_lab.study.tasks import Interrupted, Refused, Result, Task
from resnet_lab.study.trials import SearchTrials, Trials, default_url

if TYPE_CHECKING:
    from resnet_lab.study.searching import Searching

T = TypeVar("T")
TRIES = 2
INSIST_SECONDS = 60.0
"""How long a write is tried again that the store or the database refuses."""
PAUSE_SECONDS = 1.0
"""Between two such tries."""
POLL_SECONDS = 0.25
"""How often the display is refreshed and a run that another study has in flight is looked for."""


@dataclass(frozen=True)
class Driven:
    """What a drive did."""

    trained: int
    failures: dict[tuple[str, int], Failure]
    """(fingerprint, seed) -> why the run failed for good."""


def drive_study(study: StudyPlan, *, console: Console | None = None) -> Driven:
    """Drive a study to its end. Raises KeyboardInterrupt where it was stopped: what is stored stays, the next call goes on.

    Raises StudyLockedError where another driver has the study, StoreError where the folder or database cannot be used.
    """
    options, console = study.options, console or Console()
    check_writable(options.studies)
    log = EpochLog(options.log_csv, options.tensorboard, partial(say, console))
    ends = None if options.time_limit is None else time.monotonic() + options.time_limit
    with study_lock(study.folder, take_over=options.take_over) if options.shard is None else nullcontext() as held:
        study = replace(study, plan=register_claims(study.plan))
        done = Driven(0, {})
        if study.searching:
            done, study = _search(study, held, console, ends)
        with closing(log):
            return _drive(study, held, console, ends, done, log)


def _drive(study: StudyPlan, held: Held | None, console: Console, ends: float | None, before: Driven, log: EpochLog) -> Driven:
    """Drive the missing runs of the cells. The log gets the stored ones first, then each as it ends."""
    store = RunStore(study.options.studies)
    _save_plan(study)
    trials = _trials(study, store)

    def write(record: RunRecord) -> None:
        for cell in study.plan.cells if log.is_on else ():
            if cell.fingerprint == record.fingerprint:
                log.write(f"{cell.name}/seed{record.seed}", record.epochs, cell=cell.name, seed=record.seed)

    if log.is_on:
        todo = set(map(_key, study.missing))
        for run in dict.fromkeys((cell.fingerprint, seed) for cell in study.plan.cells for seed in study.plan.seeds):
            if run not in todo and (record := store.load(*run)):
                write(record)
    if not study.missing:
        return before
    with _driver(study, store, trials, held, console, ends) as driver:
        driver.log = write
        driver.drive(study.missing)
    return Driven(before.trained + driver.trained, before.failures | driver.failures)


def _search(study: StudyPlan, held: Held | None, console: Console, ends: float | None) -> tuple[Driven, StudyPlan]:
    """Drive the searches to their end; returns what was done, and the study with their finalists among its cells."""
    from resnet_lab.study.searching import Searching  # Optuna's samplers: nobody waits for them where every search is over

    options, store = study.options, RunStore(study.options.studies)
    study.plan.save(options.studies)
    record = SearchTrials(study.plan, study.question.searches, options.storage or default_url(options.studies))
    searching = Searching(study.searching, study.facts_of, options.studies, study.plan.name, record.note)
    for search in searching.searches.values():
        record.synchronize(search.trials)
    with _driver(study, store, record, held, console, ends) as driver:
        driver.drive((), searching)
    ended = {each.searched.name: searching.planned(each) for each in study.searching}
    plan = replace(study.plan, searches=tuple(ended.get(search.name, search) for search in study.plan.searches))
    plan.save(options.studies)
    for name, planned in ended.items():
        say(console, f"search {name}: {planned.ended}")
    return Driven(driver.trained, driver.failures), plan_study(study.question.ablation, options, command=plan.command)


@contextmanager
def _driver(
    study: StudyPlan, store: RunStore, trials: "Trials | SearchTrials | None", held: Held | None, console: Console, ends: float | None
) -> "Iterator[Driver]":
    """A driver with its workers, who end with the block; asked to stop by signals, and when the time is over."""
    options, context = study.options, study.context
    stop = Stop(context.stop_file)
    shutil.rmtree(context.progress, ignore_errors=True)  # what an earlier driver left: it may have been asked to stop
    executor = EXECUTORS[options.executor](context, study.parallel.runs)
    try:
        with time_limit(None if ends is None else ends - time.monotonic(), stop.ask):
            for spec, facts in study.facts.items():
                if not images_folder(spec, facts, study.cache).exists():
                    say(console, f"decoding {facts.says}")
                prepare_images(spec, facts, data_root=options.data_root, cache=study.cache)
            say(console, str(study.parallel))
            driver = Driver(store, trials, executor, _watcher(study, store, executor.free, console), stop, held)
            with driver.watcher, signals_ask(stop, here=options.executor == "inline"):
                yield driver
    finally:
        executor.stop()
        if held is None or not held.lost_to:
            shutil.rmtree(context.progress, ignore_errors=True)
            with suppress(OSError):  # its folder is there as long as a share or the study's lock is
                context.progress.parent.rmdir()


def _save_plan(study: StudyPlan) -> None:
    """Write the plan down, unless nothing is missing and it is there: when and by what it was last driven stays."""
    there = None if study.missing else load_plan(study.options.studies, study.plan.name)
    if there is None or not same_study(there, study.plan):
        study.plan.save(study.options.studies)


def _trials(study: StudyPlan, store: RunStore) -> Trials | None:
    """The study's record in Optuna, with what the store has; none for a share, which writes results and nothing else: the next ordinary call collects."""
    options = study.options
    if options.shard is not None:
        return None
    trials = Trials(study.plan, options.storage or default_url(options.studies))
    trials.synchronize(store, whole=not study.missing)
    if options.reports is not None:
        trials.note_report(options.reports / study.plan.name / "report.html")
    return trials


def _watcher(study: StudyPlan, store: RunStore, places: int, console: Console) -> Watcher:
    from resnet_lab.training.runtime import device_name  # imports torch: nobody waits for it where nothing is missing

    options, shows = study.options, LiveTable if console.is_terminal or console.is_jupyter else PlainLines
    device = device_name(study.devices[0]) if options.executor != "ray" else ""
    shown = shows(study.plan, study.missing, study.searching, store, places, device, console=console, context=study.context)
    return JsonLog(options.log_json, shown) if options.log_json else shown


def check_writable(folder: Path) -> None:
    """Raises StoreError where a folder cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"{folder.absolute()} cannot be written to ({error.strerror}): choose another folder with --studies or --reports"
        ) from error


@dataclass
class Driver:
    """Drives one study to its end; `failures` holds what failed for good."""

    store: RunStore
    trials: "Trials | SearchTrials | None"
    """None for a share of a study."""
    executor: Executor
    watcher: Watcher
    stop: Stop = field(default_factory=Stop)
    held: Held | None = None
    """The study's lock, which a driver on another machine may take over."""
    searching: "Searching | None" = None
    """The searches whose trials are trained."""
    log: Callable[[RunRecord], None] | None = None
    """Is given each run of a cell that is in the store now."""
    failures: dict[tuple[str, int], Failure] = field(default_factory=dict)
    trained: int = 0
    _flying: "dict[Future[Result], _Flight]" = field(default_factory=dict)
    _trouble: StoreError | None = None
    """Why the study has to stop."""
    _unstored: "list[tuple[_Flight, RunRecord]]" = field(default_factory=list)
    """Results that the store refused; offered once more at the end."""
    _alone: set[tuple[str, int]] = field(default_factory=set)
    """Runs for which the device's memory did not do: begun only where nothing else is in flight."""

    def drive(self, tasks: Sequence[Task], searching: "Searching | None" = None) -> None:
        """Do the tasks, and those that searches ask for.

        Asked to stop, KeyboardInterrupt is raised once the runs in flight have stopped, unless nothing was left to do.

        On any other KeyboardInterrupt the workers are ended, and the interrupt goes on up. Raises StoreError where the store or the database could
        not be used for a while, StudyLockedError where another driver has taken the study over.
        """
        waiting, told, self.searching = list(tasks), False, searching
        if searching is not None:
            searching.insist = self._insist
        try:
            while (self._flying and not self.stop.overdue) or ((waiting or not self._searched) and not self.stop.asked):
                if self.held is not None and self.held.lost_to:
                    raise StudyLockedError(f"another driver has taken over this study: {self.held.lost_to}. This one stops")
                self._propose(waiting)
                for flight in self._ready(waiting):
                    try:
                        self.watcher.begun(flight.task)
                        self._flying[self.executor.submit(flight.task)] = flight
                    except BaseException:  # an inline run was interrupted
                        flight.lock.release()
                        raise
                self._write_trials()  # while the workers are at work: a trial takes a twentieth of a second
                if waiting and not self._flying and self.executor.free and not self.stop.asked:
                    time.sleep(POLL_SECONDS)  # all that is left is in another study's hands
                done, _ = wait(self._flying, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                if self.stop.asked and not told:  # asked while waiting: said before those that have stopped since are counted out
                    told = True
                    self.watcher.stopping(len(self._flying))
                waiting[:0] = [again for future in done if (again := self._land(future))]
                self.watcher.tick()
            self._offer_again()
            self._write_trials()
            if self._trouble is not None:
                raise self._trouble
            if waiting or self._flying or not self._searched:
                raise KeyboardInterrupt
        finally:
            self.executor.stop()
            for flight in self._flying.values():
                flight.lock.release()

    def _ready(self, waiting: list[Task]) -> "Iterator[_Flight]":
        """Take out of the waiting what can be begun now, one by one, each with its run's lock held.

        A run that another study has in flight goes on waiting: its result will do. One whose result is in the store meanwhile is done.
        """
        for task in list(waiting):
            if not self._has_room():
                return
            if _key(task) in self._alone and self._flying:
                continue
            try:
                lock = self._insist(partial(try_run_lock, self.store.folder(task.fingerprint, task.seed)))
                if lock is None:
                    continue
                ready = self.store.load(task.fingerprint, task.seed)
            except StoreError as error:
                self._give_up(error)
                return
            waiting.remove(task)
            if ready is not None and keeps_enough(ready, task.run.record):
                lock.release()
                self.failures.pop(_key(task), None)  # another study has done what failed here
                self._ended(task, ready)
                continue
            tries = self.failures[_key(task)].tries if _key(task) in self.failures else 0
            yield _Flight(task, lock, tries + 1, self.store.checkpoint_time(task.fingerprint, task.seed))

    @property
    def _searched(self) -> bool:
        """Whether no search asks for anything more."""
        return self.searching is None or self.searching.over

    def _propose(self, waiting: list[Task]) -> None:
        """Ask the searches for as many runs as there is room for now: what is proposed later is proposed with more known."""
        while self.searching is not None and len(waiting) < self.executor.free and self._has_room():
            if (task := self._written(self.searching.next)) is None:
                return
            waiting.append(task)

    def _written(self, say: Callable[[], T]) -> T | None:
        """What a search answers, once it has written it down; None where it could not."""
        try:
            return say()
        except StoreError as error:
            self._give_up(error)
            return None

    def _has_room(self) -> bool:
        """A run that is done is stored first (an inline one always is done), and one that is to be alone is left alone."""
        alone = any(_key(flight.task) in self._alone for flight in self._flying.values())
        return bool(self.executor.free) and not alone and not self.stop.asked and not any(future.done() for future in self._flying)

    def _land(self, future: "Future[Result]") -> Task | None:
        """Store what a finished future brought; returns the task where it is to be tried again."""
        flight, error = self._flying.pop(future), future.exception()
        task = flight.task
        result = Failure(f"the worker died: {error}", f"{type(error).__name__}: {error}", tries=1) if error else future.result()
        if isinstance(result, RunRecord):
            self._save(flight, result)
            return None
        try:
            if isinstance(result, Interrupted) and result.errors and self.searching is not None and not self.stop.asked:
                again = self._written(partial(self.searching.paused, task, result))
                if again is None and self._trouble is None:
                    self.watcher.pruned(task)
                    self.store.forget(task.fingerprint, task.seed)
                return again
            if isinstance(result, Interrupted):
                self.watcher.stopped(task, result)
                return task
            if isinstance(result, Refused):
                self._give_up(StoreError(result.why))
                return task
            advanced = error is not None and self.store.checkpoint_time(task.fingerprint, task.seed) != flight.checkpoint
            return self._failed(task, replace(result, tries=flight.tries - advanced))
        finally:
            flight.lock.release()

    def _save(self, flight: "_Flight", record: RunRecord) -> None:
        """Write a result down, and only then tell anybody. One that the store refuses for too long is kept until the end."""
        task = flight.task

        def write() -> None:
            self.executor.bring(task)
            self.store.save(record)
            self.executor.clear(task)

        try:
            self._insist(write)
        except StoreError as error:
            self._unstored.append((flight, record))
            self._give_up(error)
            return
        flight.lock.release()
        self.trained += 1
        self.failures.pop(_key(task), None)
        self._ended(task, record)

    def _offer_again(self) -> None:
        """Offer the results that the store refused once more: other runs may have freed what they needed, or somebody has."""
        refused, self._unstored = self._unstored, []
        for flight, record in refused:
            self._save(flight, record)
        for flight, _ in self._unstored:
            flight.lock.release()

    def _failed(self, task: Task, failure: Failure) -> Task | None:
        """Note that a run raised; returns it where it is to be tried again."""
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
            if self.searching is not None:
                self._written(partial(self.searching.failed, task, failure))
        self.watcher.failed(task, failure, again)
        return task if again else None

    def _ended(self, task: Task, record: RunRecord) -> None:
        self._tell(task, record)
        if self.searching is not None:
            self._written(partial(self.searching.ended, task, record))
        self.watcher.finished(task, record)
        if self.log is not None:
            self.log(record)

    def _tell(self, task: Task, ended: RunRecord | Failure) -> None:
        if self.trials is not None:
            self.trials.tell(task.fingerprint, task.seed, ended)

    def _write_trials(self) -> None:
        """Have the database written; what it cannot be told it finds out at the next start."""
        try:
            if self.trials is not None and self._trouble is None:
                self._insist(self.trials.write)
        except StoreError as error:
            self._give_up(error)

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

    def _give_up(self, error: StoreError) -> None:
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
