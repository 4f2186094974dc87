"""What a person sees while a study runs: a live table in a terminal or notebook, plain lines elsewhere."""

import json
import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from resnet_lab.console import say
from resnet_lab.runs.plan import Plan
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.study.driving import Watcher
from resnet_lab.study.estimate import Pace
from resnet_lab.study.tasks import Interrupted, Task, WorkerContext
from resnet_lab.text import duration


class Tally(Watcher):
    """Counts what every display shows: runs done, running, failed, errors so far, time left."""

    def __init__(self, plan: Plan, tasks: Sequence[Task], store: RunStore, workers: int, device_name: str) -> None:
        self.plan, self.pace, self.workers = plan, Pace(plan), workers
        self.total, self.todo = len(plan.cells) * len(plan.seeds), {(task.fingerprint, task.seed): task for task in tasks}
        self.running: dict[tuple[str, int], Task] = {}
        self._since: dict[tuple[str, int], float] = {}
        self.failures = 0
        self._shown: set[str] = set()
        self.began = time.monotonic()
        self.errors: dict[str, list[tuple[float | None, float | None]]] = {cell.name: [] for cell in plan.cells}
        cells = {cell.name: cell for cell in plan.cells}
        for name, cell in cells.items():
            for seed in plan.seeds:
                if (cell.fingerprint, seed) not in self.todo and (record := store.load(cell.fingerprint, seed)):
                    self.errors[name].append((record.train_error, record.test_error))
                    self.pace.stored([record], device_name)

    def begun(self, task: Task) -> None:
        """A run has started."""
        self._since[task.fingerprint, task.seed] = time.monotonic()
        self.running[task.fingerprint, task.seed] = task

    def finished(self, task: Task, record: RunRecord) -> None:
        """A run is in the store: count it for every cell that shares it."""
        self._drop(task)
        for cell in self.plan.cells:
            if cell.fingerprint == task.fingerprint:
                self.errors[cell.name].append((record.train_error, record.test_error))
        if record.status == "done":
            self.pace.finished(task.fingerprint, record.seconds)

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        """A run raised."""
        self.running.pop((task.fingerprint, task.seed), None)
        if not again:
            self.failures += 1
            self._drop(task)

    def is_new(self, failure: Failure) -> bool:
        """Whether this traceback has not been shown yet: what breaks one run often breaks all."""
        known = failure.traceback in self._shown
        self._shown.add(failure.traceback)
        return not known

    def stopped(self, task: Task, where: Interrupted) -> None:
        """A run in flight has stopped."""
        self.running.pop((task.fingerprint, task.seed), None)

    @property
    def done(self) -> int:
        """Finished runs of the study, those of earlier calls included."""
        return sum(len(errors) for errors in self.errors.values())

    def seconds_left(self) -> float:
        """As long as runs have taken so far, here and in the store; 0 where none has finished."""
        now, running = time.monotonic(), list(self.running)
        rests = [max(0.0, self.pace.of(key[0]) - (now - self._since[key])) for key in running]
        return self.pace.left((key[0] for key in list(self.todo) if key not in running), rests, self.workers)

    def _drop(self, task: Task) -> None:
        self.running.pop((task.fingerprint, task.seed), None)
        self.todo.pop((task.fingerprint, task.seed), None)


class PlainLines(Tally):
    """A line a run, for pipes and log files."""

    def __init__(self, *args: object, console: Console, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._console = console

    def finished(self, task: Task, record: RunRecord) -> None:
        """Print the run's errors."""
        super().finished(task, record)
        errors = (
            "diverged" if record.status == "diverged" else f"train error {record.train_error:6.2f} %, test error {record.test_error:6.2f} %"
        )
        left = f", {duration(seconds, rough=True)} left" if (seconds := self.seconds_left()) else ""
        self._line(f"[{self.done}/{self.total}] {task.name}: {errors} in {record.seconds:.1f} s{left}")
        for note in record.notes:
            self._line(f"{task.name}: note: {note}")

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        """Print what went wrong: the last line on the first try, the whole traceback on the last."""
        super().failed(task, failure, again)
        whole = not again and self.is_new(failure)
        self._line(failure_words(task, failure, again, whole))
        if whole:
            self._line(failure.traceback.rstrip())

    def stopping(self, runs: int) -> None:
        """Print that the study stops."""
        self._line(stopping_words(runs))

    def stopped(self, task: Task, where: Interrupted) -> None:
        """Print where the run stopped."""
        super().stopped(task, where)
        self._line(f"{task.name}: {stopped_words(where)}")

    def refused(self, why: str) -> None:
        """Print why results cannot be written down now."""
        self._line(refused_words(why))

    def _line(self, text: str) -> None:
        say(self._console, text)


class LiveTable(Tally):
    """A table that redraws itself: a row a cell, the runs in flight, a bar with the time left."""

    def __init__(self, *args: object, console: Console, context: WorkerContext, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._context, self._console = context, console
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        """Show the traceback above the table once the run has failed for good."""
        super().failed(task, failure, again)
        whole = not again and self.is_new(failure)
        self._console.print(Text(failure_words(task, failure, again, whole), style="red"))
        if whole:
            self._console.print(Text(failure.traceback.rstrip(), style="dim"))

    def finished(self, task: Task, record: RunRecord) -> None:
        """Print above the table what a person should know about the run."""
        super().finished(task, record)
        for note in record.notes:
            self._console.print(Text(f"{task.name}: note: {note}", style="yellow"))

    def stopping(self, runs: int) -> None:
        """Print that the study stops."""
        self._console.print(Text(stopping_words(runs)))

    def stopped(self, task: Task, where: Interrupted) -> None:
        """Print where the run stopped."""
        super().stopped(task, where)
        self._console.print(Text(f"{task.name}: {stopped_words(where)}"))

    def refused(self, why: str) -> None:
        """Print why results cannot be written down now."""
        self._console.print(Text(refused_words(why), style="yellow"))

    def _render(self) -> RenderableType:
        return Group(self._cells(), *self._flights(), self._bar())

    def _cells(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("cell", "runs", "train error", "test error"):
            table.add_column(heading, justify="left" if heading == "cell" else "right")
        running = [task.cell for task in list(self.running.values())]
        for name, errors in list(self.errors.items())[:40]:
            mark = " ●" if name in running else ""
            table.add_row(
                Text(name + mark),
                f"{len(errors)}/{len(self.plan.seeds)}",
                _mean([train for train, _ in errors]),
                _mean([test for _, test in errors]),
            )
        if len(self.errors) > 40:
            table.add_row(f"… and {len(self.errors) - 40} more cells")
        return table

    def _flights(self) -> list[Text]:
        lines = []
        for task in list(self.running.values()):
            try:
                told = json.loads(self._context.progress_file(task).read_text(encoding="utf-8"))
                where = f"epoch {told['epoch']}/{told['epochs']}, train error {told['train_error']:.1f} %"
            except (OSError, json.JSONDecodeError, KeyError):
                where = "starting"
            lines.append(Text(f"  {task.name}: {where}", style="dim"))
        return lines

    def _bar(self) -> Progress:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} runs"),
            TextColumn("{task.fields[left]}"),
        )
        failed = f", {self.failures} failed" if self.failures else ""
        seconds, spent = self.seconds_left(), duration(time.monotonic() - self.began, rough=True)
        left = f"{duration(seconds, rough=True)} left" if seconds else "" if self.todo else spent
        bar.add_task(self.plan.name, total=self.total, completed=self.done, left=left + failed)
        return bar


def failure_words(task: Task, failure: Failure, again: bool, whole: bool) -> str:
    """One line on a run that raised; `whole` where its traceback follows, which is shown once for all runs that share it."""
    alone = ", with the device to itself" if failure.out_of_memory else ""
    rest = f"; trying once more{alone}" if again else "" if whole else " (the traceback is above)"
    return f"{task.name} failed: {failure.error}{rest}"


def stopping_words(runs: int) -> str:
    """What is said when a study is asked to stop."""
    in_flight = f"{runs} run{'s' if runs > 1 else ''} in flight: checkpoints are written" if runs else "no run is in flight"
    return f"stopping; {in_flight} (Ctrl-C again stops at once)"


def refused_words(why: str) -> str:
    """What is said while a write is refused and tried again."""
    return f"{why} (trying again for a while)"


def stopped_words(where: Interrupted) -> str:
    """Where a run stopped, and whether it will go on from there."""
    kept = "goes on from there next time" if where.kept else "its last checkpoint could not be written, an earlier one will do"
    return f"stopped after iteration {where.iteration} of {where.iterations}, {kept}"


def _mean(errors: Sequence[float | None]) -> str:
    known = [error for error in errors if error is not None]
    lost = f" ({len(errors) - len(known)} diverged)" if len(known) < len(errors) else ""
    return (f"{sum(known) / len(known):.2f} %" if known else "") + lost
