"""The study for machines: one JSON object a line for every event, appended as it happens."""

import json
import time
from pathlib import Path
from typing import Any

from resnet_lab.records.record import RunRecord
from resnet_lab.records.store import Failure
from resnet_lab.study.driving import Watcher
from resnet_lab.study.planning import Task
from resnet_lab.study.worker import Interrupted


class JsonLog(Watcher):
    """Writes `{"time": ..., "event": "begun" | "finished" | "failed" | "stopping" | "stopped", "cell": ..., "seed": ..., ...}`."""

    def __init__(self, file: Path) -> None:
        self._file = file

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

    def _write(self, event: str, task: Task | None, **values: Any) -> None:
        about = {} if task is None else {"cell": task.cell, "seed": task.seed, "fingerprint": task.fingerprint}
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": time.time(), "event": event, **about, **values}) + "\n")


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

    def tick(self) -> None:
        """Called a few times a second."""
        for watcher in self._watchers:
            watcher.tick()
