"""What lies in the run store, what it takes, and which studies use it; and removing what none does.

A run that keeps weights was trained or imported to be used by itself, and one that was stopped goes on from its checkpoint: both count as in use
although no study plans them.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.plan import driven_plan, study_names
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.searches import trial_runs
from resnet_lab.runs.store import CHECKPOINTS, RunStore, run_of, weights_name
from resnet_lab.spec.catalogue import known_as


@dataclass(frozen=True)
class StoredRun:
    """A run's folder: its record where there is a whole one, the bytes it takes, and the `study: cell` names that use it."""

    folder: Path
    record: RunRecord | None
    size: int
    used_by: tuple[str, ...]
    newer: str = ""
    """Why its record cannot be read where a newer version wrote it: then it is left alone."""

    @property
    def name(self) -> str:
        """The run's id: the first twelve digits of its fingerprint, and its seed."""
        return RunStore.run_id(*_key(self.folder))

    @property
    def finished(self) -> int:
        """When its result was written, in nanoseconds since the epoch; 0 where there is none."""
        return (self.folder / "result.json").stat().st_mtime_ns if self.record else 0

    @property
    def network(self) -> str:
        """What its network is called; nothing where there is no record."""
        return known_as(self.record.spec["network"]) if self.record else ""

    @property
    def data(self) -> str:
        """Its dataset; nothing where there is no record."""
        return str(self.record.spec["data"]["name"]) if self.record else ""

    @property
    def status(self) -> str:
        """`done`, `diverged`, `imported`, `unfinished`, or `newer` for one that a newer version wrote."""
        return self.record.status if self.record else "newer" if self.newer else "unfinished"

    @property
    def has_weights(self) -> bool:
        """Whether the run keeps weights."""
        return any(self.folder.glob(weights_name("*")))

    @property
    def is_used(self) -> bool:
        """Whether a study plans it, it was kept for its weights, or it was stopped and can go on from its checkpoint."""
        return bool(self.used_by or self.newer) or self.has_weights or self.can_go_on

    @property
    def can_go_on(self) -> bool:
        """Whether the run is unfinished and has a checkpoint."""
        return self.record is None and any((self.folder / name).exists() for name in CHECKPOINTS)


def stored_runs(studies: Path, passed_over: list[str] | None = None) -> list[StoredRun]:
    """Every run folder of a studies folder, finished or not, in the order of their names. `passed_over` as in `users_of_runs`."""
    store, users = RunStore(studies), users_of_runs(studies, passed_over)
    runs = []
    for folder in store.folders():
        record, newer = None, ""
        try:
            record = store.load(*_key(folder))
        except StoreError as error:
            newer = str(error)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        runs.append(StoredRun(folder, record, size, tuple(users.get(folder, ())), newer))
    return runs


def users_of_runs(studies: Path, passed_over: list[str] | None = None) -> dict[Path, list[str]]:
    """Run folder -> names of the cells that use it, as `NAME/SCALE: cell`, and of searches, as `NAME/SCALE: tpe trial 3`.

    A study whose files cannot be used is added to `passed_over`, as what is wrong with it. Raises StoreError for it where no list is given: whoever
    removes what nobody uses must know all who do.
    """
    store = RunStore(studies)
    users: dict[Path, list[str]] = {}
    for name in study_names(studies):
        try:
            plan = driven_plan(studies, name)
            runs = [(cell.fingerprint, seed, cell.name) for cell in plan.cells for seed in plan.seeds]
            runs += [(trial.fingerprint, seed, f"{search.name} trial {trial.number}") for search, trial, seed in trial_runs(studies, plan)]
        except StoreError as error:
            if passed_over is None:
                raise
            passed_over.append(str(error))
            continue
        for fingerprint, seed, what in runs:
            users.setdefault(store.folder(fingerprint, seed), []).append(f"{name}: {what}")
    return users


def remove(runs: Iterable[StoredRun]) -> int:
    """Delete run folders; returns the bytes freed. Raises StoreError where a folder cannot be deleted, or a run is in flight there."""
    freed = 0
    for run in runs:
        if _in_flight(run.folder):
            raise StoreError(f"{run.folder} is being written by a study at work: wait for it, or stop it")
        try:
            shutil.rmtree(run.folder)
        except OSError as error:
            raise StoreError(f"{run.folder} cannot be deleted: {error.strerror}") from error
        freed += run.size
    return freed


def _key(folder: Path) -> tuple[str, int]:
    run = run_of(folder)
    assert run is not None, "the store names folders of runs alone"
    return run


def _in_flight(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError as error:
        raise StoreError(f"{folder} cannot be deleted: {error.strerror}") from error
    lock.release()
    return False


def total_seconds(runs: Iterable[StoredRun]) -> float:
    """Training time that the runs cost."""
    return sum(run.record.seconds for run in runs if run.record is not None)


def as_json(runs: Iterable[StoredRun]) -> str:
    """The runs for machines."""
    return json.dumps(
        [
            {
                "run": run.name,
                "folder": str(run.folder),
                "status": run.status,
                "imported_from": run.record.origin.archive if run.record and run.record.origin else None,
                "network": run.network,
                "data": run.data,
                "train_error": run.record.train_error if run.record else None,
                "test_error": run.record.test_error if run.record else None,
                "started": run.record.started if run.record else None,
                "bytes": run.size,
                "used_by": run.used_by,
                "seconds": run.record.seconds if run.record else None,
            }
            for run in runs
        ],
        indent=1,
    )
