"""The study as Optuna sees it: every finished run is a trial with readable parameters, for dashboards and notebooks.

The run store is the record of what was measured. The database is a view of it: a run is added once it is in the store, and a database that was
lost, or belongs to somebody else, is filled from the store again. What is running now is told by `resnet-lab status`, not here.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.plan import Plan, PlannedCell
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import Failure, RunStore

LARGEST_SEED = 2**31 - 1
MEASURED = ("status", "train_error", "test_error", "seconds")
"""What a trial says about the end of its run, beside its value."""
RECORDED = "recorded"
"""Attribute of an Optuna study: digest of the runs that were all there when it was set."""


class Trials:
    """The Optuna study that belongs to a plan. What it is told reaches the database with the next `write`.

    Raises StoreError for a database that cannot be used, as its methods do.
    """

    def __init__(self, plan: Plan, url: str) -> None:
        optuna.logging.set_verbosity(logging.WARNING)
        self._plan, self._url = plan, url
        self._distributions = _distributions(plan)
        self._runs = {(cell.name, seed) for cell in plan.cells for seed in plan.seeds}
        self._known: set[tuple[str, int]] = set()
        self._told: list[FrozenTrial] = []
        _make_file(url)
        with _usable(url):
            self._study: optuna.Study | None = _open(plan, url)

    def synchronize(self, store: RunStore, *, whole: bool = False) -> None:
        """Add the finished runs that the database does not have.

        `whole`: the store lacks no run of the plan. The trials are then not read where the database has noted that it has them all.
        """
        study = self._connected()
        with _usable(self._url):
            if whole and study.user_attrs.get(RECORDED) == _digest(self._plan):
                return
            ended = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get("status") in ("done", "diverged")]
        self._known = {(trial.user_attrs["cell"], trial.params["seed"]) for trial in ended}
        for cell in self._plan.cells:
            for seed in self._plan.seeds:
                if (cell.name, seed) not in self._known and (record := store.load(cell.fingerprint, seed)) is not None:
                    self._tell(cell, seed, record)
        self.write()

    def tell(self, fingerprint: str, seed: int, ended: RunRecord | Failure) -> None:
        """A run is in the store, or has failed for good. It is a trial of every cell that shares it."""
        for cell in self._plan.cells:
            if cell.fingerprint == fingerprint and (cell.name, seed) not in self._known:
                self._tell(cell, seed, ended)

    def write(self) -> None:
        """Add what was told since. Where that is refused, the next call connects anew and goes on with the trial that was refused."""
        if not self._told:
            return
        try:
            study = self._connected()
            with _usable(self._url):
                while self._told:
                    study.add_trial(self._told[0])
                    del self._told[0]
                if self._runs <= self._known:
                    study.set_user_attr(RECORDED, _digest(self._plan))
        except StoreError:
            self._study = None
            raise

    def note_report(self, report: Path) -> None:
        """Note where the study's report is. A browser opens no file from a page of a server: the address is there to be copied."""
        address, study = report.absolute().as_uri(), self._connected()
        with _usable(self._url):
            if study.user_attrs.get("report") != address:
                study.set_user_attr("report", address)

    def _connected(self) -> optuna.Study:
        if (file := _file_of(self._url)) is not None and not file.exists():  # sqlite would make an empty one
            raise StoreError(_refusal(self._url, "its file is gone"))
        if self._study is None:
            with _usable(self._url):
                self._study = _open(self._plan, self._url)
        return self._study

    def _tell(self, cell: PlannedCell, seed: int, ended: RunRecord | Failure) -> None:
        about: dict[str, Any] = {"cell": cell.name, "fingerprint": cell.fingerprint, "params": cell.params, "macs": cell.macs}
        given: dict[str, Any] = {"params": {"arm": cell.arm, **cell.axes, "seed": seed}, "distributions": self._distributions}
        if isinstance(ended, Failure):
            about |= {"status": "failed", "error": ended.error[:1000]}
            trial = create_trial(state=TrialState.FAIL, user_attrs=about, **given)
        else:
            self._known.add((cell.name, seed))
            trial = create_trial(
                state=TrialState.FAIL if ended.test_error is None else TrialState.COMPLETE,
                value=ended.test_error,
                user_attrs=about | {name: getattr(ended, name) for name in MEASURED},
                intermediate_values={epoch.epoch: epoch.train_error for epoch in ended.epochs},
                **given,
            )
            trial.datetime_start = (
                datetime.fromisoformat(ended.started).astimezone().replace(tzinfo=None)
            )  # local and naive, as Optuna's own
            trial.datetime_complete = trial.datetime_start + timedelta(seconds=ended.seconds)
        self._told.append(trial)


def optuna_name(plan: Plan) -> str:
    """NAME/SCALE and a short hash of arms and grid: a grown or changed grid is another Optuna study."""
    grid = [[cell.arm, list(cell.axes.items())] for cell in plan.cells]
    return f"{plan.name} {hashlib.sha256(json.dumps(grid).encode()).hexdigest()[:6]}"


def default_url(studies: Path) -> str:
    """The database beside the run store."""
    return f"sqlite:///{(studies / 'optuna.db').absolute().as_posix()}"


def _open(plan: Plan, url: str) -> optuna.Study:
    study = optuna.create_study(storage=url, study_name=optuna_name(plan), direction="minimize", load_if_exists=True)
    if "question" not in study.user_attrs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(["test_error"])
        study.set_user_attr("question", plan.question)
    return study


@contextmanager
def _usable(url: str) -> Iterator[None]:
    """What a database refuses within, as a StoreError with its remedy."""
    try:
        yield
    except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # what the database itself said: Optuna and SQLAlchemy wrap it in words of their own
            cause = cause.__cause__
        raise StoreError(_refusal(url, str(cause).splitlines()[0])) from error


def _refusal(url: str, why: str) -> str:
    """What is wrong, and what to do about it. The study's results are not in the database."""
    if url.startswith("sqlite"):
        remedy = next((remedy for said, remedy in _REMEDIES.items() if said in why), _REFILL)
    else:
        remedy = (
            "is the server up, and the address right? Results are kept in the run store, and the same command adds them once it answers"
        )
    return f"the Optuna storage {url} cannot be used: {why}: {remedy}"


_REFILL = "move it away, it is filled again from the run store; or name another with --storage"
_REMEDIES = {
    "gone": "results are kept in the run store, and the same command makes it anew from them",
    "locked": "another program has locked it; close that, and the same command goes on. Results are kept in the run store",
    "full": "free some space, and the same command goes on. Results are kept in the run store",
    "disk I/O": "is the disk full? Free some space, and the same command goes on. Results are kept in the run store",
    "readonly": "make it and its folder writable, or name another with --storage; results are kept in the run store",
    "unable to open": "make its folder writable, or name another with --storage; results are kept in the run store",
}
"""Part of what sqlite says -> what to do."""


def _make_file(url: str) -> None:
    """Make a database's file empty where there is none: sqlite itself would not let a group write to it, whatever the umask says."""
    if (file := _file_of(url)) is not None and not file.exists():
        with suppress(OSError):  # sqlite says it better
            file.touch()


def _file_of(url: str) -> Path | None:
    """The file of a sqlite database; None where it is on a server or in memory."""
    kind, _, file = url.partition("?")[0].partition(":///")
    return Path(file) if kind == "sqlite" and file and not file.startswith(":") else None


def _digest(plan: Plan) -> str:
    """Stands for all runs of a plan."""
    runs = [[cell.name, cell.fingerprint] for cell in plan.cells]
    return hashlib.sha256(json.dumps([runs, plan.seeds]).encode()).hexdigest()


def _distributions(plan: Plan) -> dict[str, BaseDistribution]:
    return {
        "arm": CategoricalDistribution(list(dict.fromkeys(cell.arm for cell in plan.cells))),
        **{axis: _distribution([cell.axes[axis] for cell in plan.cells]) for axis in plan.axes},
        "seed": IntDistribution(0, max(LARGEST_SEED, *plan.seeds)),
    }


def _distribution(values: list[Any]) -> BaseDistribution:
    """Numbers are an axis that a chart can put in order; anything else is a category."""
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return IntDistribution(min(values), max(values))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return FloatDistribution(min(values), max(values))
    return CategoricalDistribution(list(dict.fromkeys(values)))
