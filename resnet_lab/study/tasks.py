"""What driver and workers tell each other: a run to be done, where it is done, and what came of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from resnet_lab.content import content_of
from resnet_lab.networks.counted import Cost
from resnet_lab.runs.files import from_plain
from resnet_lab.runs.record import Count, RunRecord
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.spec.data import DatasetFacts
from resnet_lab.spec.run import RunSpec


@dataclass(frozen=True)
class Task:
    """One run to be done: a cell's recipe with a seed."""

    cell: str
    run: RunSpec
    fingerprint: str
    seed: int
    cost: Cost
    facts: DatasetFacts
    """What its dataset held when the study was planned: images that changed since are refused."""
    search: str = ""
    """The searched cell whose trial it is."""
    amend: bool = False
    """The run is in the store, and lacks only what probes can find in it without training."""
    pause: int | None = None
    """Epochs after which the run stops for its search to look at it."""

    @property
    def name(self) -> str:
        """As a person would call it: `plain/56 seed 3`."""
        return f"{self.cell} seed {self.seed}"

    @property
    def work(self) -> float:
        """Multiply-adds times images: what the order of runs goes by."""
        return float(self.cost.macs) * self.run.training.iterations * self.run.training.batch_size


@dataclass(frozen=True)
class WorkerContext:
    """What a worker needs to know besides its task: decoded images, device, threads, where progress is told, and the studies folder with the runs."""

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
        return self.progress / "stop"

    def folder(self, task: Task) -> Path | None:
        """The run's own folder."""
        return self.studies and RunStore(self.studies).folder(task.fingerprint, task.seed)

    def progress_file(self, task: Task) -> Path:
        """Where a running task tells how far it is."""
        return self.progress / f"{task.fingerprint[:16]}-seed{task.seed}.json"


@dataclass(frozen=True)
class Told:
    """How far a run in flight has come, as it told last in its progress file."""

    task: str
    time: float
    iteration: Count
    iterations: Annotated[int, Ge(1)]
    epoch: Count
    epochs: Count
    loss: float
    train_error: float

    def __str__(self) -> str:
        return f"{self.task}: epoch {self.epoch}/{self.epochs}, train error {self.train_error:.1f} %"


def read_told(file: Path) -> Told | None:
    """What a progress file tells; None where it is not there, is being replaced, or is none."""
    try:
        return from_plain(Told, json.loads(content_of(file, at_most=10_000)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


@dataclass(frozen=True)
class Interrupted:
    """A run that was stopped. `kept`: it goes on from there."""

    iteration: int
    iterations: int
    kept: bool
    errors: tuple[float | None, ...] = ()
    """Validation error after each epoch, in percent, where it stopped for its search to look at it."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Refused:
    """A run that cannot go on because the store cannot be used: a full disk, a checkpoint of a newer version. `why` says what to do."""

    why: str


Result = RunRecord | Failure | Interrupted | Refused
