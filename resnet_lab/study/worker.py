"""What happens inside a worker: one task at a time, a pure function of it, whose only side effect is the task's progress file.

A worker ignores interrupts (the driver decides what they mean) and dies with its driver.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path

from resnet_lab.records.record import RunRecord
from resnet_lab.records.store import Failure
from resnet_lab.spec.data import DatasetFacts, DataSpec
from resnet_lab.study.planning import Task


@dataclass(frozen=True)
class Workplace:
    """Where a run happens: the decoded images, the device, the threads, and where progress is written."""

    cache: Path
    data_root: Path | None
    device: str
    threads: int
    progress: Path


def start_worker(workplace: Workplace, path: list[str]) -> None:
    """Set up a fresh worker process; `path` is the driver's sys.path, so that blocks from outside are found here too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[:] = path
    threading.Thread(target=_die_with_parent, daemon=True).start()
    from resnet_lab.training.runtime import configure

    configure(workplace.threads)


def run_task(task: Task, workplace: Workplace) -> RunRecord | Failure:
    """Do one run. What it raises comes back as a Failure: exceptions of foreign code do not always survive pickling."""
    from resnet_lab.training.train import Progress, train

    workplace.progress.mkdir(parents=True, exist_ok=True)
    file = progress_file(workplace.progress, task)

    def tell(progress: Progress) -> None:
        partial = file.with_suffix(".tmp")
        partial.write_text(json.dumps({"task": task.name, "time": time.time(), **asdict(progress)}), encoding="utf-8")
        partial.replace(file)

    try:
        splits = _open(task.run.data, task.facts, workplace)
        return train(task.run, task.seed, splits, device=workplace.device, cost=task.cost, on_progress=tell)
    except Exception as error:
        return Failure(error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc(), tries=1)
    finally:
        file.unlink(missing_ok=True)


def progress_file(folder: Path, task: Task) -> Path:
    """Where a running task tells how far it is."""
    return folder / f"{task.fingerprint[:16]}-seed{task.seed}.json"


@lru_cache(maxsize=4)
def _open(spec: DataSpec, facts: DatasetFacts, workplace: Workplace):  # type: ignore[no-untyped-def]  # Splits, which would import torch here
    from resnet_lab.data.splits import open_images

    return open_images(spec, facts, data_root=workplace.data_root, cache=workplace.cache)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])  # returns when the parent is gone, however it went
        os._exit(1)
