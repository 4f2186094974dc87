"""The study as Optuna sees it: every run a trial with readable parameters, so that dashboards and notebooks can look at it.

The run store stays the record of what was measured; a lost or foreign database is filled from it again. Trials are written through the
storage: begun as RUNNING with their parameters given, ended with the test error. A RUNNING trial left by a driver that died is told FAIL at
the next start. Nothing is enqueued or asked: a grid knows its cells.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import OptunaError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.plan import Plan, PlannedCell
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.store import RunStore

LARGEST_SEED = 2**31 - 1
MEASURED = ("status", "train_error", "test_error", "seconds")
"""What a trial says of its run's end, beside its value."""
COMPLETE = "all runs are here"
"""Attribute of a study: digest of the runs that were all written down when it was set."""
TOGETHER = 200
"""Runs that are added in one transaction where a database is filled from the store."""
NOTE, NOTE_VERSION, OUR_VERSION = "dashboard:note_str:0", "dashboard:note_ver", "resnet_lab:note_ver"
"""Attributes of a study: optuna-dashboard's note and how often it was changed, and which of these changes was ours."""
NOTE_LENGTH = 2045
"""As much as optuna-dashboard keeps in one attribute."""
BUSY_SECONDS = 5.0
"""How long sqlite waits in one attempt for another writer; the driver makes several."""


class Trials:
    """The Optuna study that belongs to a plan."""

    def __init__(self, plan: Plan, url: str) -> None:
        optuna.logging.set_verbosity(logging.WARNING)
        self._cells = {cell.name: cell for cell in plan.cells}
        self._distributions = _distributions(plan)
        self._complete = False
        with _usable(url):
            _make_file(url)
            self._storage = RDBStorage(url, engine_kwargs=_engine(url))
            self._study = self._open(plan)
        self._url = url

    def synchronize(self, plan: Plan, store: RunStore) -> None:
        """Tell left-over trials FAIL and add finished runs that the database does not know. Raises StoreError where it cannot be used.

        Nothing is looked at where all runs of this very plan were there before, and none was begun since.
        """
        with _usable(self._url):
            if self._storage.get_study_system_attrs(self._study).get(COMPLETE) == (digest := _runs_digest(plan)):
                self._complete = True
                return
            if self._synchronize(plan, store):
                self._note_complete(digest)

    def complete(self, plan: Plan) -> None:
        """Note that all runs of a plan have been written down, so that the next call need not look. Raises StoreError."""
        with self._at_work():
            self._note_complete(_runs_digest(plan))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within, what is written comes to be at once or not at all: a transaction instead of twenty. Raises StoreError."""
        engine = self._storage.engine
        with self._at_work(), _first_refusal(engine):
            self._storage.remove_session()
            try:
                with engine.begin() as connection:
                    if engine.name == "sqlite":
                        connection.exec_driver_sql("BEGIN IMMEDIATE")  # else a lock is met in the middle, where it cannot be waited for
                    self._storage.scoped_session.configure(bind=connection)  # sessions join the transaction of their connection
                    try:
                        yield
                    finally:
                        self._storage.remove_session()
            finally:
                self._storage.scoped_session.configure(bind=engine)

    def _note_complete(self, digest: str) -> None:
        self._storage.set_study_system_attr(self._study, COMPLETE, digest)
        self._complete = bool(digest)

    def _synchronize(self, plan: Plan, store: RunStore) -> bool:
        """Returns whether every run of the plan is there now."""
        known: set[tuple[str, int]] = set()
        for trial in self._storage.get_all_trials(self._study, deepcopy=False):
            if trial.state == TrialState.RUNNING:
                left = self._storage.get_trial_id_from_study_id_trial_number(self._study, trial.number)
                self.fail(left, "its driver died before it was finished")
            elif trial.user_attrs.get("status") in ("done", "diverged"):
                known.add((trial.user_attrs["cell"], trial.params["seed"]))
        new = [(cell, seed) for cell in plan.cells for seed in plan.seeds if (cell.name, seed) not in known]
        added = 0
        for start in range(0, len(new), TOGETHER):
            with self.together():
                for cell, seed in new[start : start + TOGETHER]:
                    if (record := store.load(cell.fingerprint, seed)) is not None:
                        self._storage.create_new_trial(self._study, template_trial=self._finished(cell, seed, record))
                        added += 1
        return added == len(new)

    def _finished(self, cell: PlannedCell, seed: int, record: RunRecord) -> FrozenTrial:
        """A run that was done before its study had this database, at the time it was done."""
        trial = create_trial(
            state=TrialState.FAIL if record.test_error is None else TrialState.COMPLETE,
            value=record.test_error,
            params=_parameters(cell, seed),
            distributions=self._distributions,
            user_attrs={**_attributes(cell), **{name: getattr(record, name) for name in MEASURED}},
            intermediate_values={epoch.epoch: epoch.train_error for epoch in record.epochs},
        )
        trial.datetime_start = datetime.fromisoformat(record.started).astimezone().replace(tzinfo=None)  # local and naive, as Optuna's own
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=record.seconds)
        return trial

    def begin(self, cell: str, seed: int) -> int:
        """Write a run down as RUNNING; returns the trial's id in the storage. Raises StoreError where the database cannot be used, as all do."""
        with self._at_work():
            return self._begin(cell, seed)

    def end(self, trial: int, record: RunRecord) -> None:
        """A finished run: its training error by epoch, its final errors, COMPLETE; FAIL with status `diverged` where it has none.

        It may be called again where it has raised.
        """
        with self._at_work(), suppress(UpdateFinishedTrialError):  # an earlier attempt came through, its answer did not
            self._end(trial, record)

    def fail(self, trial: int, error: str) -> None:
        """A run that raised, was lost or was stopped."""
        with self._at_work(), suppress(UpdateFinishedTrialError):
            self._fail(trial, error)

    def annotate(self, body: str) -> None:
        """Put a note (Markdown) to the study where optuna-dashboard shows one; what a person has written there stays. Raises StoreError."""
        with self._at_work():
            known = self._storage.get_study_system_attrs(self._study)
            version = known.get(NOTE_VERSION, 0)
            if version != known.get(OUR_VERSION, 0) or body == known.get(NOTE):
                return
            for name, value in ((NOTE, body[:NOTE_LENGTH]), (OUR_VERSION, version + 1), (NOTE_VERSION, version + 1)):
                self._storage.set_study_system_attr(self._study, name, value)

    def close(self) -> None:
        """Let go of the database."""
        self._storage.remove_session()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Within, a study at work writes. Where that fails, the next attempt connects anew, but never makes an empty file where one was taken away."""
        try:
            with _usable(self._url):
                yield
        except StoreError:
            if not _is_gone(self._url):
                self._storage.engine.dispose()
            raise

    def _begin(self, cell: str, seed: int) -> int:
        if self._complete:
            self._note_complete("")
        planned = self._cells[cell]
        trial = create_trial(
            state=TrialState.RUNNING,
            params=_parameters(planned, seed),
            distributions=self._distributions,
            user_attrs=_attributes(planned),
        )
        trial.datetime_start = datetime.now()  # local and naive, as Optuna's own are
        return self._storage.create_new_trial(self._study, template_trial=trial)

    def _end(self, trial: int, record: RunRecord) -> None:
        for name in MEASURED:
            self._storage.set_trial_user_attr(trial, name, getattr(record, name))
        for epoch in record.epochs:
            self._storage.set_trial_intermediate_value(trial, epoch.epoch, epoch.train_error)
        if record.test_error is None:
            self._storage.set_trial_state_values(trial, TrialState.FAIL)
        else:
            self._storage.set_trial_state_values(trial, TrialState.COMPLETE, [record.test_error])

    def _fail(self, trial: int, error: str) -> None:
        self._storage.set_trial_user_attr(trial, "status", "failed")
        self._storage.set_trial_user_attr(trial, "error", error[:1000])
        self._storage.set_trial_state_values(trial, TrialState.FAIL)

    def _open(self, plan: Plan) -> int:
        name = optuna_name(plan)
        try:
            return self._storage.get_study_id_from_name(name)
        except KeyError:
            study = self._storage.create_new_study([StudyDirection.MINIMIZE], name)
            self._storage.set_study_user_attr(study, "question", plan.question)
            self._storage.set_study_system_attr(study, "study:metric_names", ["test_error"])
            return study


def dashboard_note(plan: Plan, report: Path) -> str:
    """What optuna-dashboard says beside a study. A browser opens no file from a page of a server: the report's address is there to be copied."""
    lines = [
        f"**{plan.name}**: {plan.question}",
        f"The report, with verdicts and intervals, is written when the study ends or is stopped:\n\n`{report.absolute().as_uri()}`",
        "A trial is a run: its value is the test error in percent after the last epoch, its intermediate values are training errors by epoch.",
    ]
    return "\n\n".join(lines) + "\n"


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
        why = _first_cause(error)
        if "readonly" in why and _is_gone(url):  # what sqlite calls a file that was taken away
            why = "its file is gone"
        raise StoreError(f"the Optuna storage {url} cannot be used: {why}: {_remedy(why, url)}") from error


@contextmanager
def _first_refusal(engine: Engine) -> Iterator[None]:
    """Of all that a database refuses within, the first is what is told: Optuna tries again, and is then told that its transaction is over."""
    refusals: list[BaseException] = []

    def note(context: ExceptionContext) -> None:
        refusals.append(context.original_exception)

    event.listen(engine, "handle_error", note)
    try:
        yield
    except (SQLAlchemyError, OptunaError, StoreError):
        if refusals:
            raise StoreError(str(refusals[0])) from refusals[0]
        raise
    finally:
        event.remove(engine, "handle_error", note)


def _first_cause(error: BaseException) -> str:
    """What the database itself said: Optuna and SQLAlchemy wrap it in words of their own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0]


def _remedy(why: str, url: str) -> str:
    """What to do about it. The study's results are not in the database."""
    if not url.startswith("sqlite"):
        return "is the server up, and the address right? Results are kept in the run store and written there by the same command once it answers"
    return next((remedy for said, remedy in _REMEDIES.items() if said in why), _REFILL)


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


def _is_gone(url: str) -> bool:
    """Whether a database is a file that is not there."""
    file = _file_of(url)
    return file is not None and not file.exists()


def _make_file(url: str) -> None:
    """Make a database's file empty where there is none: sqlite itself would not let a group write to it, whatever the umask says."""
    file = _file_of(url)
    with suppress(OSError):  # sqlite says it better
        if file is not None and not file.exists():
            file.touch()


def _file_of(url: str) -> Path | None:
    """The file of a sqlite database; None where it is on a server or in memory."""
    file = url.removeprefix("sqlite:///")
    return Path(file) if file != url and file and not file.startswith(":") else None


def _attributes(cell: PlannedCell) -> dict[str, Any]:
    return {"cell": cell.name, "fingerprint": cell.fingerprint, "params": cell.params, "macs": cell.macs}


def _runs_digest(plan: Plan) -> str:
    """Stands for all runs of a plan."""
    runs = [[cell.name, cell.fingerprint] for cell in plan.cells]
    return hashlib.sha256(json.dumps([runs, plan.seeds]).encode()).hexdigest()


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
    return {"connect_args": {"timeout": BUSY_SECONDS}} if url.startswith("sqlite") else {"pool_pre_ping": True}
