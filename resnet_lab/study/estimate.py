"""What a study takes: how many of its runs at a time, seconds a run, memory, disk. Rules and arithmetic; within 40 % is enough.

Seconds come from finished runs. Only where there are none, and somebody asks before any has been done, are a few training steps timed.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace

from resnet_lab.runs.plan import Plan
from resnet_lab.runs.record import RunRecord
from resnet_lab.spec.data import image_counts
from resnet_lab.spec.training import compared_images, total_epochs
from resnet_lab.study.tasks import Task
from resnet_lab.text import size
from resnet_lab.training.machine import cores, free_memory

FLOAT = 4
"""Bytes."""
PROCESS = 450e6
"""Bytes of a process that has imported torch (measured: 430 to 500 MB)."""
HELD_BACK = 0.9
"""Share of the free memory that runs are given at most."""
START_SECONDS = 15.0
"""The command's own start, its workers' and its report, which import torch, Optuna and matplotlib."""
BETWEEN_SECONDS = 0.05
"""From a run's end to the next one's beginning: its result is written and the database told."""
LARGEST_STEP = 2e11
"""Multiply-adds of a step that is tried on a processor, there and back: seconds."""
SIDE_BY_SIDE = 1.2
"""So many times as long as alone does a step take with all cores at work: they share caches and the way to memory (measured: a fifth)."""


# ---- how many runs at a time ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parallelism:
    """So many runs at a time, with so many threads each."""

    runs: int
    threads: int
    why: str

    def __str__(self) -> str:
        at_once = f"{self.runs} run{'s' if self.runs > 1 else ''} at once"
        return f"{at_once}, {self.threads} thread{'s' if self.threads > 1 else ''} each: {self.why}"


def parallelism(
    executor: str, devices: Sequence[str], missing: Sequence[Task], *, workers: int = 0, threads: int = 0, runs_per_device: int = 0
) -> Parallelism:
    """How many of the missing runs are done at a time. `workers`, `threads`, `runs_per_device`: as asked, 0 for the rule.

    The rule on a processor: one run of one thread per core, as far as memory allows. Threads of one run wait for each other at every layer, runs do
    not: on two cores two such runs were 2.3 times as fast as one of two threads. On GPUs: one run each.
    """
    each = threads or 1
    if executor == "inline":
        return Parallelism(1, each, "inline, one after another")
    if executor == "ray":
        return Parallelism(workers or cores(), each, "as many as the cluster has places")
    if workers:
        return Parallelism(min(workers, len(missing)), each, "as asked")
    if devices[0] != "cpu":
        count = (runs_per_device or 1) * len(devices)
        return Parallelism(min(count, len(missing)), each, f"{runs_per_device or 1} per GPU")
    most, free = max(1, min(cores() // each, len(missing))), free_memory()
    needed = PROCESS + training_bytes(longest(missing))
    if free is not None and HELD_BACK * free < most * needed:
        return Parallelism(max(1, int(HELD_BACK * free / needed)), each, f"more would not fit into memory at {size(needed)} each")
    return Parallelism(most, each, "one per core" if each == 1 else f"on {cores()} cores")


# ---- seconds ----------------------------------------------------------------------------------------------------------------


class TooLargeError(RuntimeError):
    """A training step that is not tried: it would take too long, or not fit into the memory. The message says which."""


class Pace:
    """Seconds a run of each cell: the median of those that have finished, else by its multiply-adds at the speed of all that have."""

    def __init__(self, plan: Plan, tasks: Iterable[Task] = ()) -> None:
        recipes = {cell.fingerprint: (cell.macs, cell.spec["training"]) for cell in plan.cells}
        self._work = {name: float(macs * recipe["iterations"] * recipe["batch_size"]) for name, (macs, recipe) in recipes.items()}
        for task in tasks:
            self.expect(task)
        self._taken: dict[str, list[float]] = {}
        self._seconds = self._done = 0.0

    def expect(self, task: Task) -> None:
        """A run that is no cell's: a trial of a search."""
        self._work.setdefault(task.fingerprint, task.work)

    def finished(self, fingerprint: str, seconds: float) -> None:
        """A run was done in so many seconds."""
        self._taken.setdefault(fingerprint, []).append(seconds)
        self._seconds += seconds
        self._done += self._work[fingerprint]

    def stored(self, records: Iterable[RunRecord], device_name: str = "") -> None:
        """Runs in the store: those done on a device of that name, or on any."""
        for record in records:
            if record.status == "done" and device_name in ("", record.environment.get("device_name")):
                self.finished(record.fingerprint, record.seconds)

    def of(self, fingerprint: str) -> float:
        """Seconds of a run; 0 where none has finished."""
        if taken := self._taken.get(fingerprint):
            return statistics.median(taken)
        return self._work[fingerprint] * self._seconds / self._done if self._done else 0.0

    @property
    def typical(self) -> float:
        """Median seconds of the runs that have finished; 0 where none has."""
        return statistics.median([seconds for taken in self._taken.values() for seconds in taken] or [0.0])

    def left(self, waiting: Iterable[str], rests: Sequence[float], places: int, more: float = 0.0) -> float:
        """Seconds until the last run is done, so many at a time: of those that wait, by fingerprint, what is left of those in flight, and `more`."""
        ahead = [*rests, *map(self.of, waiting)]
        return max((sum(ahead) + more) / max(1, places), max(ahead, default=0.0))

    def wall(self, tasks: Sequence[Task], places: int) -> float:
        """Seconds of a whole study: its start, its runs in order with so many at a time, its report. 0 where nothing is known."""
        busy = [0.0] * max(1, places)
        for task in tasks:
            heapreplace(busy, busy[0] + self.of(task.fingerprint) + BETWEEN_SECONDS)
        return START_SECONDS + max(busy) if self._done and tasks else 0.0


def estimated(
    plan: Plan,
    missing: Sequence[Task],
    records: Iterable[RunRecord],
    device: str,
    parallel: Parallelism,
    tell: Callable[[str], None] = lambda words: None,
) -> Pace:
    """The pace of the missing runs: from stored runs of this device, else from timed steps of the longest, which `tell` is told of beforehand.

    Raises what a step raises, and TooLargeError instead of trying one that this processor is not up to.
    """
    from resnet_lab.training.runtime import device_name

    pace = Pace(plan, missing)
    pace.stored(records, device_name(device))
    if missing and not pace.of(missing[0].fingerprint):
        task = longest(missing)
        tell(f"timing a few training steps of {task.cell}")
        crowded = SIDE_BY_SIDE if device == "cpu" and parallel.runs > 1 else 1.0
        pace.finished(task.fingerprint, crowded * timed_run(task, device, parallel.threads))
    return pace


def longest(tasks: Sequence[Task]) -> Task:
    """The run with the most multiply-adds."""
    return max(tasks, key=lambda task: task.work)


def timed_run(task: Task, device: str, threads: int) -> float:
    """Seconds of a run alone on a device, from a few of its training steps, on a processor with fewer images where a whole one would take long.

    Sets this process up as a worker is. Raises as `estimated` does.
    """
    from resnet_lab.training.runtime import configure
    from resnet_lab.training.timing import step_seconds

    recipe = task.run.training
    tried = min(recipe.batch_size, int(LARGEST_STEP / max(1, 3 * task.cost.macs))) if device == "cpu" else recipe.batch_size
    smaller = (
        replace(task, run=replace(task.run, training=replace(recipe, batch_size=max(2, tried)))) if tried < recipe.batch_size else task
    )
    needed, _, free = host_memory(training_bytes(smaller), 1, 0)
    if tried < 2 <= recipe.batch_size:
        raise TooLargeError(
            f"a training step of {task.cell} takes {3 * task.cost.macs * recipe.batch_size:.1e} multiply-adds, too many to try"
        )
    if device == "cpu" and free is not None and needed > free:
        raise TooLargeError(f"a training step of {task.cell} takes about {size(needed)}, and {size(free)} are free")
    configure(threads)
    step = step_seconds(smaller.run, device) * recipe.batch_size / smaller.run.training.batch_size
    forward = step / recipe.batch_size / 3  # per image: the backward pass takes about twice as long as the forward pass
    return step * recipe.iterations + forward * evaluated_images(task)


def evaluated_images(task: Task) -> int:
    """Images that a run sees in evaluation: every split at its end, validation (and test, where its curve is wanted) after every epoch too."""
    train, validation, test = image_counts(task.run.data, task.facts)
    each_epoch = validation + (test if task.run.record.test_curve else 0)
    recipe, moving = task.run.training, task.run.network.norm.kind == "batch"  # their statistics are averaged or compared at the end
    norms = 0 if not moving else train if recipe.precise_bn else 2 * compared_images(train, recipe.batch_size)
    return train + norms + validation + test + _epochs(task) * each_epoch


# ---- memory and disk, in bytes ----------------------------------------------------------------------------------------------


def training_bytes(task: Task) -> int:
    """Memory of a run's tensors: parameters, gradients, the optimizer's numbers, and twice what its modules put out for a batch.

    Those outputs are kept for the backward pass, and activations and gradients come to about as much (measured: 0.6 to 1.0 of this).
    """
    from resnet_lab.networks.cost import activations  # imports torch

    recipe = task.run.training
    each = FLOAT / 2 if recipe.precision == "bf16" else FLOAT
    kept = activations(task.run.network, task.run.data.image_size) * recipe.batch_size * each
    return int(2 * kept) + FLOAT * task.cost.params * (2 + _states(task))


def host_memory(tensors: int, runs: int, images: int) -> tuple[float, float, int | None]:
    """Bytes of a run's process, of all of them with their driver and the decoded images, and what is free: None where the system does not say."""
    return PROCESS + tensors, runs * (PROCESS + tensors) + PROCESS + images, free_memory()


def disk_bytes(missing: Sequence[Task], runs: int, images: int, database: bool) -> dict[str, int]:
    """What the missing runs will write, so many of them at a time. `images`: bytes still to be decoded. `database`: whether an SQLite file is written.

    Tensors are counted exactly, the rest by what stored runs and databases were found to take: per run, per epoch.
    """
    epochs = sum(map(_epochs, missing))
    numbers = sum(FLOAT * (_epochs(task) + 1) * (sum(task.run.network.depths) + 2) for task in missing if task.run.record.gradients)
    correct = sum(image_counts(task.run.data, task.facts)[2] // 8 for task in missing)
    checkpoint = max((FLOAT * task.cost.params * (1 + _states(task) + (_kept(task) > 1)) for task in missing), default=0)
    return {
        "decoded images": images,
        "results": 3900 * len(missing) + 310 * epochs + numbers + correct,
        "weights": sum(FLOAT * task.cost.params * _kept(task) for task in missing),
        "database": 90_000 + 1400 * len(missing) + 75 * epochs if database and missing else 0,
        "checkpoints of runs in progress": 2 * min(runs, len(missing)) * checkpoint,  # a run has its newest and the one before
    }


def _states(task: Task) -> int:
    """Numbers that the optimizer keeps per parameter."""
    recipe = task.run.training
    return {"sgd": int(recipe.momentum > 0), "adam": 2, "adamw": 2}[recipe.optimizer]


def _kept(task: Task) -> int:
    """How many sets of weights a run keeps: the last, and the best where there is a validation split."""
    return (1 + bool(image_counts(task.run.data, task.facts)[1])) if task.run.record.weights else 0


def _epochs(task: Task) -> int:
    return total_epochs(image_counts(task.run.data, task.facts)[0], task.run.training)
