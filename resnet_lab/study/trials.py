"""The study as Optuna sees it: every finished run is a trial with readable parameters, for dashboards and notebooks.

The run store is the record of what was measured. The database is a view of it: a run is added once it is in the store, and a database that was
lost, or belongs to somebody else, is filled from the store again. What is running now is told by `resnet-lab status`, not here.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
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
from resnet_lab.runs.searches import SearchTrial
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.search.record import frozen
from resnet_lab.spec.search import SearchedCell

LARGEST_SEED = 2**31 - 1
MEASURED = ("status", "train_error", "test_error", "seconds")
"""What a trial says about the end of its run, beside its value."""
RECORDED = "recorded"
"""Attribute of an Optuna study: digest of the runs that were all there when it was set."""


class Database:
    """Optuna studies in a database. What one is told reaches it with the next `write`.

    Raises StoreError for a database that cannot be used, as its methods do.
    """

    def __init__(self, url: str, question: str) -> None:
        optuna.logging.set_verbosity(logging.WARNING)
        self._url, self._question = url, question
        self._told: list[tuple[str, FrozenTrial]] = []
        self._studies: dict[str, optuna.Study] = {}
        self._metrics: dict[str, Sequence[str]] = {}
        """Optuna study -> what the values of its trials are called."""
        _make_file(url)

    def write(self) -> None:
        """Add what was told since. Where that is refused, the next call connects anew and goes on with the trial that was refused."""
        if not self._told:
            return
        try:
            while self._told:
                name, trial = self._told[0]
                study = self._connected(name)
                with _usable(self._url):
                    study.add_trial(trial)
                del self._told[0]
            self._note_whole()
        except StoreError:
            self._studies.clear()
            raise

    def _note_whole(self) -> None:
        """Note in the database that it lacks nothing."""

    def _connected(self, name: str) -> optuna.Study:
        if (file := _file_of(self._url)) is not None and not file.exists():  # sqlite would make an empty one
            raise StoreError(_refusal(self._url, "its file is gone"))
        if name not in self._studies:
            with _usable(self._url):
                self._studies[name] = _open(name, self._metrics[name], self._question, self._url)
        return self._studies[name]


class SearchTrials(Database):
    """The searches of a study, an Optuna study each: every proposal that was trained is a trial. Infeasible ones are in searches.jsonl alone."""

    def __init__(self, plan: Plan, searches: Sequence[SearchedCell], url: str) -> None:
        super().__init__(url, plan.question)
        self._cells = {searched.name: searched for searched in searches}
        self._names = {search.name: f"{plan.name} search {search.name} {search.identity[:6]}" for search in plan.searches}
        self._metrics = {self._names[name]: searched.spec.objectives for name, searched in self._cells.items()}

    def synchronize(self, trials: Sequence[SearchTrial]) -> None:
        """Add the trials of a search that its Optuna study does not have."""
        known: set[int] = set()
        if trials:
            study = self._connected(self._names[trials[0].search])
            with _usable(self._url):
                known = {trial.user_attrs["number"] for trial in study.get_trials(deepcopy=False)}
        for trial in trials:
            if trial.number not in known:
                self.note(trial)

    def note(self, trial: SearchTrial) -> None:
        """How a proposal stands; told once it has ended."""
        if trial.state not in ("running", "infeasible"):
            searched = self._cells[trial.search]
            self._told.append((self._names[trial.search], frozen(trial, searched.chosen, searched.spec)))

    def tell(self, fingerprint: str, seed: int, ended: RunRecord | Failure) -> None:
        """A run is in the store: nothing to be said before its trial has ended."""


class Trials(Database):
    """The Optuna study that belongs to a plan: every finished run of a cell is a trial."""

    def __init__(self, plan: Plan, url: str) -> None:
        super().__init__(url, plan.question)
        self._plan, self._name = plan, optuna_name(plan)
        self._metrics = {self._name: ["test_error"]}
        self._distributions = _distributions(plan)
        self._runs = {(cell.name, seed) for cell in plan.cells for seed in plan.seeds}
        self._known: set[tuple[str, int]] = set()
        self._connected(self._name)

    def synchronize(self, store: RunStore, *, whole: bool = False) -> None:
        """Add the finished runs that the database does not have.

        `whole`: the store lacks no run of the plan. The trials are then not read where the database has noted that it has them all.
        """
        study = self._connected(self._name)
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

    def _note_whole(self) -> None:
        if self._runs <= self._known:
            with _usable(self._url):
                self._connected(self._name).set_user_attr(RECORDED, _digest(self._plan))

    def note_report(self, report: Path) -> None:
        """Note where the study's report is. A browser opens no file from a page of a server: the address is there to be copied."""
        address, study = report.absolute().as_uri(), self._connected(self._name)
        with _usable(self._url):
            if study.user_attrs.get("report") != address:
                study.set_user_attr("report", address)

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
        self._told.append((self._name, trial))


def optuna_name(plan: Plan) -> str:
    """NAME/SCALE and a short hash of arms and grid: a grown or changed grid is another Optuna study."""
    grid = [[cell.arm, list(cell.axes.items())] for cell in plan.cells]
    return f"{plan.name} {hashlib.sha256(json.dumps(grid).encode()).hexdigest()[:6]}"


def default_url(studies: Path) -> str:
    """The database beside the run store."""
    return f"sqlite:///{(studies / 'optuna.db').absolute().as_posix()}"


def _open(name: str, metrics: Sequence[str], question: str, url: str) -> optuna.Study:
    study = optuna.create_study(storage=url, study_name=name, directions=["minimize"] * len(metrics), load_if_exists=True)
    if "question" not in study.user_attrs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(metrics))
        study.set_user_attr("question", question)
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
            "is the server up, and the address right? Results are safe in the run store; the same command adds them once the server answers"
        )
    return f"the Optuna storage {url} cannot be used: {why}: {remedy}"


_REFILL = "move it away (it is filled again from the run store), or name another with --storage"
_REMEDIES = {
    "gone": "results are safe in the run store, and the same command rebuilds it",
    "locked": "another program has locked it: close that program and run the same command again. Results are safe in the run store",
    "full": "free some space and run the same command again. Results are safe in the run store",
    "disk I/O": "is the disk full? Free some space and run the same command again. Results are safe in the run store",
    "readonly": "make it and its folder writable, or name another with --storage; results are safe in the run store",
    "unable to open": "make its folder writable, or name another with --storage; results are safe in the run store",
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
