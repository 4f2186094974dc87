"""What a study needs of the disk: decoded images, results, kept weights, the database, and checkpoints while runs are in flight.

Bytes are counted from what is written: float32 tensors exactly, the rest by what stored runs and databases were found to take.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from resnet_lab.spec.data import DatasetFacts, image_counts
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.training import total_epochs
from resnet_lab.study.planning import Task
from resnet_lab.text import size

FLOAT = 4
RESULT, RESULT_EPOCH = 3400, 310
"""result.json: beside the epochs, and each of them."""
ARRAYS = 500
"""arrays.npz beside its numbers, which hardly compress."""
DATABASE, DATABASE_RUN, DATABASE_EPOCH = 90_000, 1400, 75
"""An SQLite file: empty, a trial with its attributes and parameters, an intermediate value."""
OPTIMIZER_STATES = {"sgd": 1, "adam": 2, "adamw": 2}
"""Numbers that an optimizer keeps a parameter; SGD without momentum none."""
CHECKPOINTS = 2
"""A run in flight has its newest and the one before."""


@dataclass(frozen=True)
class DiskNeeds:
    """Bytes that are still to be written."""

    images: int
    results: int
    weights: int
    database: int
    checkpoints: int
    """At the most at one time; gone when the runs are done."""

    @property
    def total(self) -> int:
        """At the most at one time."""
        return self.images + self.results + self.weights + self.database + self.checkpoints

    def __str__(self) -> str:
        parts = {"decoded images": self.images, "results": self.results, "weights": self.weights, "database": self.database}
        kept = ", ".join(f"{name} {size(count)}" for name, count in parts.items() if count)
        passing = f"{size(self.checkpoints)} of checkpoints while runs are in flight"
        return ", ".join(filter(None, (kept, passing if self.checkpoints else "")))


def disk_needs(missing: Sequence[Task], places: int, *, images: int, database: bool) -> DiskNeeds:
    """What the missing runs will write. `images`: bytes that are still to be decoded. `database`: a file of this study's own is written."""
    one_a_cell = {task.fingerprint: task for task in missing}
    largest = sorted((checkpoint_bytes(task) for task in one_a_cell.values()), reverse=True)
    in_flight = max(largest, default=0) * min(places, len(missing))
    return DiskNeeds(
        images,
        sum(_result_bytes(task) for task in missing),
        sum(weight_bytes(task) for task in missing),
        _database_bytes(missing) if database and missing else 0,
        CHECKPOINTS * in_flight,
    )


def checkpoint_bytes(task: Task) -> int:
    """One checkpoint: parameters, the optimizer's state, and the best weights where they are kept."""
    recipe = task.run.training
    states = 0 if recipe.optimizer == "sgd" and not recipe.momentum else OPTIMIZER_STATES[recipe.optimizer]
    best = task.run.record.weights and bool(image_counts(task.run.data, task.facts)[1])
    return FLOAT * task.cost.params * (1 + states + best)


def weight_bytes(task: Task) -> int:
    """The weights that a run keeps: the last, and the best where there is a validation split."""
    if not task.run.record.weights:
        return 0
    return FLOAT * task.cost.params * (1 + bool(image_counts(task.run.data, task.facts)[1]))


def _result_bytes(task: Task) -> int:
    epochs, blocks = _epochs(task.run, task.facts), sum(task.run.network.depths or ()) + 2
    norms = FLOAT * (epochs + 1) * blocks if task.run.record.gradients else 0
    return RESULT + RESULT_EPOCH * epochs + ARRAYS + norms + image_counts(task.run.data, task.facts)[2] // 8


def _database_bytes(tasks: Iterable[Task]) -> int:
    return DATABASE + sum(DATABASE_RUN + DATABASE_EPOCH * _epochs(task.run, task.facts) for task in tasks)


def _epochs(run: RunSpec, facts: DatasetFacts) -> int:
    return total_epochs(run.training.iterations or 0, image_counts(run.data, facts)[0], run.training.batch_size)
