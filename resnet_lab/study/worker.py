"""What happens inside a worker: one task at a time, a pure function of it.

All it writes are the run's checkpoints and kept weights, in the run's folder, and the task's progress file. A worker ignores
interrupts (the driver decides what they mean) and dies with its driver; the run then goes on from its last checkpoint.
"""

import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.spec.data import DatasetFacts, DataSpec
from resnet_lab.study.planning import Task
from resnet_lab.study.stopping import STOP_FILE, deaf, stop_asked


@dataclass(frozen=True)
class Workplace:
    """Where a run happens: the decoded images, the device, the threads, where progress is written, and the studies folder with the runs."""

    cache: Path
    data_root: Path | None
    device: str
    threads: int
    progress: Path
    studies: Path | None = None
    """None: runs write no checkpoints."""
    store: Path | None = None
    """The driver's studies folder, where `studies` need not be that: with Ray, on another machine or in a scratch folder."""
    checkpoint_seconds: float = 60.0
    """At most so often a run writes one."""
    ray_address: str | None = None
    """Of a Ray cluster; None: one of its own on this machine."""
    runs_per_device: int = 1
    """Runs that share a GPU."""
    devices: tuple[str, ...] = ()
    """Where several share the runs; `device` is then one of them, which a worker stays on."""

    @property
    def stop_file(self) -> Path:
        """Is there once runs are to write their checkpoints and end."""
        return self.progress / STOP_FILE

    def folder(self, task: Task) -> Path | None:
        """The run's own folder."""
        return self.studies and RunStore(self.studies).folder(task.fingerprint, task.seed)


@dataclass(frozen=True)
class Interrupted:
    """A run that was stopped. `kept`: it goes on from there."""

    iteration: int
    iterations: int
    kept: bool


@dataclass(frozen=True)
class Refused:
    """A run that cannot go on because the store cannot be used: a full disk, a checkpoint of a newer version. `why` says what to do."""

    why: str


def start_worker(workplace: Workplace, path: list[str]) -> None:
    """Set up a fresh worker process; `path` is the driver's sys.path, so that blocks from outside are found here too."""
    deaf()
    sys.path[:] = path
    threading.Thread(target=_die_with_parent, daemon=True).start()
    from resnet_lab.training.runtime import configure

    configure(workplace.threads)


def run_task(task: Task, workplace: Workplace) -> RunRecord | Failure | Interrupted | Refused:
    """Do one run, or go on with it. What it raises comes back as a Failure: exceptions of foreign code do not always survive pickling."""
    from torch import OutOfMemoryError

    from resnet_lab.training.runtime import free_memory
    from resnet_lab.training.train import Progress, Stopped, train

    file = progress_file(workplace.progress, task)

    def tell(progress: Progress) -> None:
        partial = file.with_suffix(".tmp")
        with suppress(OSError):  # a full disk: nobody sees how far the run is, and it goes on
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"task": task.name, "time": time.time(), **asdict(progress)}), encoding="utf-8")
            partial.replace(file)

    try:
        splits = _open(task.run.data, task.facts, workplace)
        return train(
            task.run,
            task.seed,
            splits,
            device=workplace.device,
            cost=task.cost,
            on_progress=tell,
            checkpoints=workplace.folder(task),
            every_seconds=workplace.checkpoint_seconds,
            should_stop=stop_asked(workplace.stop_file),
        )
    except Stopped as stopped:
        return Interrupted(stopped.iteration, stopped.iterations, stopped.kept)
    except StoreError as error:
        return Refused(str(error))
    except Exception as error:
        short = isinstance(error, OutOfMemoryError | MemoryError)
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc(), tries=1, out_of_memory=short)
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        free_memory(workplace.device)


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
