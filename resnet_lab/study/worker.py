"""What happens inside a worker: one task at a time, a pure function of it.

All it writes are the run's checkpoints and kept weights, in the run's folder, and the task's progress file.
"""

import json
import os
import pickle
import signal
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from queue import SimpleQueue
from typing import IO

from torch import OutOfMemoryError

from resnet_lab.data.splits import Splits, open_images
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.record import EpochRecord
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.spec.data import DatasetFacts, DataSpec
from resnet_lab.study.stopping import stop_asked, stopping_signals
from resnet_lab.study.tasks import Interrupted, Refused, Result, Task, WorkerContext
from resnet_lab.training.amending import amended
from resnet_lab.training.checkpoint import Stopped
from resnet_lab.training.runtime import configure, release_memory
from resnet_lab.training.train import Progress, train


def serve() -> None:
    """The life of a worker process: pickled (task, context) on standard input, pickled results on standard output. What runs print goes to standard error.

    What asks the driver to stop does not concern a worker: it hears of it by the stop file. When its input ends, its driver has ended.
    """
    for number in stopping_signals():
        signal.signal(number, signal.SIG_IGN)
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    inbox: SimpleQueue[tuple[Task, WorkerContext]] = SimpleQueue()
    threading.Thread(target=_listen, args=(orders, inbox), daemon=True).start()
    while True:
        pickle.dump(run_task(*inbox.get()), answers)
        answers.flush()


def _listen(orders: IO[bytes], inbox: "SimpleQueue[tuple[Task, WorkerContext]]") -> None:
    """Take what the driver sends; once nothing can come, end this process: its run goes on from its last checkpoint with the next driver."""
    with suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            inbox.put(pickle.load(orders))
    os._exit(1)


def run_task(task: Task, context: WorkerContext) -> Result:
    """Do one run, or go on with it. What it raises comes back as a Failure: exceptions of foreign code do not always survive pickling."""
    configure(context.threads)
    file = context.progress_file(task)

    def tell(progress: Progress) -> None:
        partial = file.with_suffix(".tmp")
        with suppress(OSError):  # a full disk: nobody sees how far the run is, and it goes on
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"task": task.name, "time": time.time(), **asdict(progress)}), encoding="utf-8")
            partial.replace(file)

    errors: list[float | None] = []
    seconds: list[float] = []
    asked = stop_asked(context.stop_file)

    def note(epochs: tuple[EpochRecord, ...]) -> None:
        errors[:] = [epoch.validation_error for epoch in epochs]
        seconds[:] = [epoch.seconds for epoch in epochs]

    def paused() -> bool:
        return task.pause is not None and len(errors) >= task.pause

    try:
        if (store := context.store or context.studies) and task.amend and (stored := RunStore(store).load(task.fingerprint, task.seed)):
            return amended(stored, task.run, _open(task.run.data, task.facts, context), RunStore(store), device=context.device)
        return train(
            task.run,
            task.seed,
            _open(task.run.data, task.facts, context),
            device=context.device,
            cost=task.cost,
            on_progress=tell,
            on_epoch=note,
            checkpoints=context.folder(task),
            every_seconds=context.checkpoint_seconds,
            should_stop=lambda: paused() or asked(),
        )
    except Stopped as stopped:
        return Interrupted(stopped.iteration, stopped.iterations, stopped.kept, tuple(errors) if paused() else (), sum(seconds))
    except StoreError as error:
        return Refused(str(error))
    except Exception as error:
        short = isinstance(error, OutOfMemoryError | MemoryError)
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc(), tries=1, out_of_memory=short)
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        release_memory(context.device)


@lru_cache(maxsize=4)
def _open(spec: DataSpec, facts: DatasetFacts, context: WorkerContext) -> Splits:
    return open_images(spec, facts, data_root=context.data_root, cache=context.cache)
