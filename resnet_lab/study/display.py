"""What a person, or a program, is told while a study runs: a live table in a terminal or notebook, plain lines elsewhere, events as JSON."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from resnet_lab.console import make_table, say
from resnet_lab.runs.plan import Plan
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.estimate import Pace
from resnet_lab.study.searches import SearchStanding
from resnet_lab.study.tasks import Interrupted, Task, WorkerContext, read_told
from resnet_lab.text import duration

MOST_CELLS = 40
"""Rows of the live table."""


class Watcher:
    """Is told what happens to a study's runs, and does nothing about it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """The drive is over."""

    def begun(self, task: Task) -> None:
        """A run has started."""

    def finished(self, task: Task, record: RunRecord) -> None:
        """A run is in the store."""

    def pruned(self, task: Task) -> None:
        """A trial of a search was ended early."""

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


class Display(Watcher):
    """What all displays have in common: they count runs done, running and failed, errors so far and time left, and say what is out of the ordinary."""

    def __init__(
        self,
        plan: Plan,
        tasks: Sequence[Task],
        searching: Sequence[SearchStanding],
        store: RunStore,
        workers: int,
        device_name: str,
        *,
        console: Console,
        context: WorkerContext,
    ) -> None:
        self._console, self._context = console, context
        self.plan, self.pace, self.workers = plan, Pace(plan), workers
        self.todo = {(task.fingerprint, task.seed): task for task in tasks}
        self.left = {each.searched.name: each.runs_left for each in searching}
        """Searched cell -> runs of trials that it may still ask for, those in flight included."""
        self.budget = {each.searched.name: each.searched.spec.trials * each.searched.spec.seeds_per_trial for each in searching}
        self.best = {
            each.searched.name: min((trial.values[0] for trial in each.trials if trial.values), default=None) for each in searching
        }
        self.total = len(plan.cells) * len(plan.seeds) + sum(self.budget.values())
        self.running: dict[tuple[str, int], Task] = {}
        self._since: dict[tuple[str, int], float] = {}
        self.failures = 0
        self._shown: set[str] = set()
        self._began = time.monotonic()
        self.errors: dict[str, list[tuple[float | None, float | None]]] = {cell.name: [] for cell in plan.cells}
        cells = {cell.name: cell for cell in plan.cells}
        for name, cell in cells.items():
            for seed in plan.seeds:
                if (cell.fingerprint, seed) not in self.todo and (record := store.load(cell.fingerprint, seed)):
                    self.errors[name].append((record.train_error, record.test_error))
                    self.pace.stored([record], device_name)

    def begun(self, task: Task) -> None:
        """A run has started."""
        self._since.setdefault((task.fingerprint, task.seed), time.monotonic())
        self.pace.expect(task)
        self.running[task.fingerprint, task.seed] = task

    def finished(self, task: Task, record: RunRecord) -> None:
        """A run is in the store: count it for every cell that shares it."""
        self._drop(task)
        if task.search and record.validation_error is not None:
            self.best[task.search] = min(record.validation_error, self.best[task.search] or 100.0)
        for cell in self.plan.cells:
            if cell.fingerprint == task.fingerprint:
                self.errors[cell.name].append((record.train_error, record.test_error))
        if record.status == "done":
            self.pace.expect(task)  # it may have been in the store
            self.pace.finished(task.fingerprint, record.seconds)
        if line := self._result(task, record):
            self._line(line)
        for note in record.notes:
            self._line(f"{task.name}: note: {note}", "yellow")

    def pruned(self, task: Task) -> None:
        """Count it: it was part of the search's budget."""
        self._drop(task)
        if line := self._result(task, None):
            self._line(line)

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        """Say what went wrong; after the last try with its traceback, once for all runs that share it: what breaks one run often breaks all."""
        self.running.pop((task.fingerprint, task.seed), None)
        if not again:
            self.failures += 1
            self._drop(task)
        whole = not again and failure.traceback not in self._shown
        alone = ", with the device to itself" if failure.out_of_memory else ""
        rest = f"; trying again{alone}" if again else "" if whole else " (the traceback is above)"
        self._line(f"{task.name} failed: {failure.error}{rest}", "red")
        if whole:
            self._shown.add(failure.traceback)
            self._line(failure.traceback.rstrip(), "dim")

    def stopping(self, runs: int) -> None:
        """The study was asked to stop."""
        in_flight = f"{runs} run{'s' if runs > 1 else ''} in progress, saving checkpoints" if runs else "no run is in flight"
        self._line(f"stopping; {in_flight} (Ctrl-C again stops at once)")

    def stopped(self, task: Task, where: Interrupted) -> None:
        """Say where the run stopped, and whether it will go on from there."""
        self.running.pop((task.fingerprint, task.seed), None)
        kept = "the next call resumes it there" if where.kept else "its last checkpoint could not be written, so an earlier one is used"
        self._line(f"{task.name}: stopped after iteration {where.iteration} of {where.iterations}, {kept}")

    def refused(self, why: str) -> None:
        """Say why results cannot be written down now."""
        self._line(f"{why} (trying again for a while)", "yellow")

    def _result(self, task: Task, record: RunRecord | None) -> str:
        """What is printed of a finished run, or of one that was pruned."""
        return ""

    def _line(self, text: str, style: str = "") -> None:
        say(self._console, text)

    @property
    def done(self) -> int:
        """Finished runs of the study, those of earlier calls included."""
        return sum(len(errors) for errors in self.errors.values()) + sum(self.budget.values()) - sum(self.left.values())

    def seconds_left(self) -> float:
        """As long as runs have taken so far, here and in the store; 0 where none has finished."""
        now, running = time.monotonic(), list(self.running)
        rests = [max(0.0, self.pace.of(key[0]) - (now - self._since[key])) for key in running]
        proposed = sum(bool(task.search) for task in list(self.running.values()))
        more = self.pace.typical * (sum(self.left.values()) - proposed)
        return self.pace.left((key[0] for key in list(self.todo) if key not in running), rests, self.workers, more)

    def _drop(self, task: Task) -> None:
        self.running.pop((task.fingerprint, task.seed), None)
        self.todo.pop((task.fingerprint, task.seed), None)
        if task.search:
            self.left[task.search] -= 1


class PlainLines(Display):
    """One line per run, for pipes and log files."""

    def _result(self, task: Task, record: RunRecord | None) -> str:
        left = f", {duration(seconds, rough=True)} left" if (seconds := self.seconds_left()) else ""
        says = "pruned" if record is None else f"{record.status} in {record.seconds:.1f} s"
        if record is not None and record.status == "done":
            judged = f"validation error {record.validation_error:6.2f} %" if task.search else f"test error {record.test_error:6.2f} %"
            says = f"train error {record.train_error:6.2f} %, {judged} in {record.seconds:.1f} s"
        return f"[{self.done}/{self.total}] {task.name}: {says}{left}"


class LiveTable(Display):
    """A table that redraws itself: one row per cell, the runs in flight, a bar with the time left. What else is said is printed above it."""

    def __enter__(self) -> Self:
        self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._render)
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))

    def _render(self) -> RenderableType:
        return Group(self._cells(), *self._flights(), self._bar())

    def _cells(self) -> Table:
        table = make_table("cell", "runs", "train error", "test error", left=("cell",))
        running = [task.search or task.cell for task in list(self.running.values())]
        for name, left in self.left.items():
            found = "" if (best := self.best[name]) is None else f"best {best:.2f} % on validation images"
            mark = " ●" if name in running else ""
            table.add_row(Text(f"search {name}{mark}"), f"{self.budget[name] - left}/{self.budget[name]}", "", found)
        for name, errors in list(self.errors.items())[:MOST_CELLS]:
            mark = " ●" if name in running else ""
            table.add_row(
                Text(name + mark),
                f"{len(errors)}/{len(self.plan.seeds)}",
                _mean([train for train, _ in errors]),
                _mean([test for _, test in errors]),
            )
        if len(self.errors) > MOST_CELLS:
            table.add_row(f"… and {len(self.errors) - MOST_CELLS} more cells")
        return table

    def _flights(self) -> list[Text]:
        lines = []
        for task in list(self.running.values()):
            told = read_told(self._context.progress_file(task))
            lines.append(Text(f"  {told or f'{task.name}: starting'}", style="dim"))
        return lines

    def _bar(self) -> Progress:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} runs"),
            TextColumn("{task.fields[left]}"),
        )
        failed = f", {self.failures} failed" if self.failures else ""
        seconds, spent = self.seconds_left(), duration(time.monotonic() - self._began, rough=True)
        left = f"{duration(seconds, rough=True)} left" if seconds else "" if self.todo else spent
        bar.add_task(self.plan.name, total=self.total, completed=self.done, left=left + failed)
        return bar


class JsonLog(Watcher):
    """Writes `{"time": ..., "event": "finished", "cell": ..., "seed": ..., ...}`, one line per event.

    Events are begun, finished, pruned, failed, stopping, stopped and refused. What it is told it passes on to `shown`.
    Raises SpecError where the file cannot be written at first. Later (a full disk) the study goes on; the next line that can be written says how many
    are lost: `"lost": 3`.
    """

    def __init__(self, file: Path, shown: Watcher) -> None:
        self._file, self._shown, self._lost = file, shown, 0
        try:
            with file.open("a", encoding="utf-8"):
                pass
        except OSError as error:
            raise SpecError.of(f"{file.absolute()} cannot be written to ({error.strerror})", key="--log-json") from error

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._shown.__exit__(*exc)

    def begun(self, task: Task) -> None:
        """A run has started."""
        self._shown.begun(task)
        self._write("begun", task)

    def finished(self, task: Task, record: RunRecord) -> None:
        """A run is in the store."""
        self._shown.finished(task, record)
        told = ("status", "train_error", "validation_error" if task.search else "test_error", "seconds")
        self._write("finished", task, **{name: getattr(record, name) for name in told})

    def pruned(self, task: Task) -> None:
        """A trial of a search was ended early."""
        self._shown.pruned(task)
        self._write("pruned", task)

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        """A run raised."""
        self._shown.failed(task, failure, again)
        self._write("failed", task, error=failure.error, traceback=failure.traceback, again=again)

    def stopping(self, runs: int) -> None:
        """The study was asked to stop."""
        self._shown.stopping(runs)
        self._write("stopping", None, runs=runs)

    def stopped(self, task: Task, where: Interrupted) -> None:
        """A run in flight has stopped."""
        self._shown.stopped(task, where)
        self._write("stopped", task, iteration=where.iteration, iterations=where.iterations)

    def refused(self, why: str) -> None:
        """The store or the database refuses a write."""
        self._shown.refused(why)
        self._write("refused", None, why=why)

    def tick(self) -> None:
        """Called a few times a second."""
        self._shown.tick()

    def _write(self, event: str, task: Task | None, **values: Any) -> None:
        about = {} if task is None else {"cell": task.cell, "seed": task.seed, "fingerprint": task.fingerprint}
        lost = {"lost": self._lost} if self._lost else {}
        line = json.dumps({"time": time.time(), "event": event, **about, **values, **lost}).encode() + b"\n"
        try:
            with self._file.open("ab", buffering=0) as stream:
                begun = stream.tell()
                if stream.write(line) < len(line):
                    stream.truncate(begun)  # no half line is left for whoever reads along
                    raise OSError
            self._lost = 0
        except OSError:
            self._lost += 1


def _mean(errors: Sequence[float | None]) -> str:
    known = [error for error in errors if error is not None]
    lost = f" ({len(errors) - len(known)} diverged)" if len(known) < len(errors) else ""
    return (f"{sum(known) / len(known):.2f} %" if known else "") + lost
