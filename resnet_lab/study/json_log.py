"""The study for machines: one JSON object a line for every event, appended as it happens."""

import json
import time
from pathlib import Path
from typing import Any

from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure
from resnet_lab.spec.errors import SpecError
from resnet_lab.study.driving import Watcher
from resnet_lab.study.tasks import Interrupted, Task


class JsonLog(Watcher):
    """Writes `{"time": ..., "event": "begun" | "finished" | "failed" | "stopping" | "stopped" | "refused", "cell": ..., "seed": ..., ...}`.

    Raises SpecError where the file cannot be written at first. Later (a full disk) the study goes on; the next line that can be written says
    how many are lost: `"lost": 3`.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._lost = file, 0
        try:
            with file.open("a", encoding="utf-8"):
                pass
        except OSError as error:
            raise SpecError.of(f"{file.absolute()} cannot be written to ({error.strerror})", key="--log-json") from error

    def begun(self, task: Task) -> None:
        """A run has started."""
        self._write("begun", task)

    def finished(self, task: Task, record: RunRecord) -> None:
        """A run is in the store."""
        errors = {name: getattr(record, name) for name in ("status", "train_error", "test_error", "seconds")}
        self._write("finished", task, **errors)

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        """A run raised."""
        self._write("failed", task, error=failure.error, traceback=failure.traceback, again=again)

    def stopping(self, runs: int) -> None:
        """The study was asked to stop."""
        self._write("stopping", None, runs=runs)

    def stopped(self, task: Task, where: Interrupted) -> None:
        """A run in flight has stopped."""
        self._write("stopped", task, iteration=where.iteration, iterations=where.iterations)

    def refused(self, why: str) -> None:
        """The store or the database refuses a write."""
        self._write("refused", None, why=why)

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


class Watchers(Watcher):
    """Tells several watchers."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def begun(self, task: Task) -> None:
        """A run has started."""
        for watcher in self._watchers:
            watcher.begun(task)

    def finished(self, task: Task, record: RunRecord) -> None:
        """A run is in the store."""
        for watcher in self._watchers:
            watcher.finished(task, record)

    def failed(self, task: Task, failure: Failure, again: bool) -> None:
        """A run raised."""
        for watcher in self._watchers:
            watcher.failed(task, failure, again)

    def stopping(self, runs: int) -> None:
        """The study was asked to stop."""
        for watcher in self._watchers:
            watcher.stopping(runs)

    def stopped(self, task: Task, where: Interrupted) -> None:
        """A run in flight has stopped."""
        for watcher in self._watchers:
            watcher.stopped(task, where)

    def refused(self, why: str) -> None:
        """The store or the database refuses a write."""
        for watcher in self._watchers:
            watcher.refused(why)

    def tick(self) -> None:
        """Called a few times a second."""
        for watcher in self._watchers:
            watcher.tick()
