"""The study as Optuna sees it: every run a trial with readable parameters, so that dashboards and notebooks can look at it.

The run store stays the record of what was measured; a lost or foreign database is filled from it again. Trials are written through the
storage: begun as RUNNING with their parameters given, ended with the test error. A RUNNING trial left by a driver that died is told FAIL at
the next start. Nothing is enqueued or asked: a grid knows its cells.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from resnet_lab.records.plan import Plan, PlannedCell
from resnet_lab.records.record import RunRecord
from resnet_lab.records.store import RunStore, StoreError

LARGEST_SEED = 2**31 - 1


class Trials:
    """The Optuna study that belongs to a plan."""

    def __init__(self, plan: Plan, url: str) -> None:
        optuna.logging.set_verbosity(logging.WARNING)
        self._cells = {cell.name: cell for cell in plan.cells}
        self._distributions = _distributions(plan)
        with _usable(url):
            self._storage: BaseStorage = RDBStorage(url, engine_kwargs=_engine(url))
            self._study = self._open(plan)
        self._url = url

    def synchronise(self, plan: Plan, store: RunStore) -> None:
        """Tell left-over trials FAIL and add finished runs that the database does not know. Raises StoreError where it cannot be used."""
        with _usable(self._url):
            self._synchronise(plan, store)

    def _synchronise(self, plan: Plan, store: RunStore) -> None:
        known: set[tuple[str, int]] = set()
        for trial in self._storage.get_all_trials(self._study, deepcopy=False):
            if trial.state == TrialState.RUNNING:
                left = self._storage.get_trial_id_from_study_id_trial_number(self._study, trial.number)
                self.fail(left, "its driver died before it was finished")
            elif trial.user_attrs.get("status") in ("done", "diverged"):
                known.add((trial.user_attrs["cell"], trial.params["seed"]))
        for cell in plan.cells:
            for seed in plan.seeds:
                if (cell.name, seed) not in known and (record := store.load(cell.fingerprint, seed)) is not None:
                    self.end(self.begin(cell.name, seed), record)

    def begin(self, cell: str, seed: int) -> int:
        """Write a run down as RUNNING; returns the trial's id in the storage."""
        planned = self._cells[cell]
        trial = create_trial(
            state=TrialState.RUNNING,
            params=_parameters(planned, seed),
            distributions=self._distributions,
            user_attrs={"cell": cell, "fingerprint": planned.fingerprint, "params": planned.params, "macs": planned.macs},
        )
        trial.datetime_start = datetime.now(UTC).replace(tzinfo=None)
        return self._storage.create_new_trial(self._study, template_trial=trial)

    def end(self, trial: int, record: RunRecord) -> None:
        """A finished run: its training error by epoch, its final errors, COMPLETE; FAIL with status `diverged` where it has none."""
        for name in ("status", "train_error", "test_error", "seconds"):
            self._storage.set_trial_user_attr(trial, name, getattr(record, name))
        for epoch in record.epochs:
            self._storage.set_trial_intermediate_value(trial, epoch.epoch, epoch.train_error)
        if record.test_error is None:
            self._storage.set_trial_state_values(trial, TrialState.FAIL)
        else:
            self._storage.set_trial_state_values(trial, TrialState.COMPLETE, [record.test_error])

    def fail(self, trial: int, error: str) -> None:
        """A run that raised, was lost or was stopped."""
        self._storage.set_trial_user_attr(trial, "status", "failed")
        self._storage.set_trial_user_attr(trial, "error", error[:1000])
        self._storage.set_trial_state_values(trial, TrialState.FAIL)

    def close(self) -> None:
        """Let go of the database."""
        self._storage.remove_session()

    def _open(self, plan: Plan) -> int:
        name = optuna_name(plan)
        try:
            return self._storage.get_study_id_from_name(name)
        except KeyError:
            study = self._storage.create_new_study([StudyDirection.MINIMIZE], name)
            self._storage.set_study_user_attr(study, "question", plan.question)
            self._storage.set_study_system_attr(study, "study:metric_names", ["test_error"])
            return study


def optuna_name(plan: Plan) -> str:
    """NAME/SCALE and a short hash of arms and grid: a grown or changed grid is another Optuna study."""
    grid = [[cell.arm, list(cell.axes.items())] for cell in plan.cells]
    return f"{plan.name} {hashlib.sha256(json.dumps(grid).encode()).hexdigest()[:6]}"


def default_url(studies: Path) -> str:
    """The database beside the run store."""
    return f"sqlite:///{(studies / 'optuna.db').absolute().as_posix()}"


@contextmanager
def _usable(url: str) -> Iterator[None]:
    """What a database can refuse while it is opened and filled, as a StoreError with its remedy."""
    try:
        yield
    except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        remedy = "move it away, it is filled again from the run store; or name another with --storage"
        raise StoreError(f"the Optuna storage {url} cannot be used: {why}: {remedy}") from error


def _parameters(cell: PlannedCell, seed: int) -> dict[str, Any]:
    return {"arm": cell.arm, **cell.axes, "seed": seed}


def _distributions(plan: Plan) -> dict[str, BaseDistribution]:
    axes = {axis: [cell.axes[axis] for cell in plan.cells] for axis in plan.axes}
    return {
        "arm": CategoricalDistribution(list(dict.fromkeys(cell.arm for cell in plan.cells))),
        **{axis: _distribution(values) for axis, values in axes.items()},
        "seed": IntDistribution(0, max(LARGEST_SEED, *plan.seeds)),
    }


def _distribution(values: list[Any]) -> BaseDistribution:
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return IntDistribution(min(values), max(values))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return FloatDistribution(min(values), max(values))
    return CategoricalDistribution(list(dict.fromkeys(values)))


def _engine(url: str) -> dict[str, Any]:
    return {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
