import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import factories
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.study.trials import Trials, default_url, optuna_name


def stored(url, plan):
    """The study as any user of Optuna would open it."""
    return optuna.load_study(study_name=optuna_name(plan), storage=url)


def told(url, plan, seed, ended, cell=None):
    trials = Trials(plan, url)
    trials.tell((cell or plan.cells[0]).fingerprint, seed, ended)
    trials.write()
    return stored(url, plan).trials


def test_a_finished_run_is_a_trial_that_a_dashboard_can_read(plan, url, tmp_path):
    """Would catch parameters that are hashes, a depth that is a string (no axis to plot), and a run without its curve."""
    cell = plan.cells[1]
    record = factories.make_record(cell, 1, train_error=40.0, test_error=42.5)
    (trial,) = told(url, plan, 1, record, cell)

    assert (trial.state, trial.value) == (TrialState.COMPLETE, 42.5)
    assert trial.params == {"arm": "plain", "layers": 56, "seed": 1}
    assert trial.distributions["arm"] == CategoricalDistribution(("plain", "residual"))
    assert trial.distributions["layers"] == IntDistribution(20, 56)
    assert trial.intermediate_values == {epoch.epoch: epoch.train_error for epoch in record.epochs}
    about = {
        "cell": "plain/56",
        "fingerprint": cell.fingerprint,
        "params": cell.params,
        "macs": cell.macs,
        "status": "done",
        "train_error": 40.0,
    }
    assert about.items() <= trial.user_attrs.items()
    assert trial.duration.total_seconds() == record.seconds
    study = stored(url, plan)
    assert (study.metric_names, study.user_attrs["question"]) == (["test_error"], plan.question)
    Trials(plan, url).note_report(tmp_path / "report.html")
    assert stored(url, plan).user_attrs["report"] == (tmp_path / "report.html").as_uri()


def test_a_run_that_failed_says_why(plan, url):
    (trial,) = told(url, plan, 0, Failure("MemoryError: " + "x" * 5000, "Traceback", 2))
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["status"] == "failed"
    assert trial.user_attrs["error"].startswith("MemoryError: x")


def test_a_run_that_two_cells_share_is_a_trial_of_both(plan, url):
    """Would catch a control arm that is empty in the dashboard until the next call."""
    shared = replace(plan, cells=(*plan.cells, replace(plan.cells[0], name="control/20", arm="control")))
    trials = told(url, shared, 0, factories.make_record(plan.cells[0], 0))
    assert [trial.user_attrs["cell"] for trial in trials] == ["plain/20", "control/20"]


def test_a_diverged_run_fails_and_is_not_taken_for_a_crash(plan, url, studies):
    """Would catch a divergence that is dropped, or one that is added again at each start because its state is FAIL."""
    store = factories.fill_store(studies, plan, diverged=[("plain/56", 0)], missing=[(c.name, 1) for c in plan.cells])
    for _ in range(3):
        Trials(plan, url).synchronize(store)

    found = stored(url, plan).trials
    by_cell = {trial.user_attrs["cell"]: (trial.state, trial.user_attrs["status"]) for trial in found}
    assert len(found) == 4
    assert by_cell["plain/56"] == (TrialState.FAIL, "diverged")
    assert by_cell["plain/20"] == (TrialState.COMPLETE, "done")


def test_what_was_stored_but_not_told_comes_in_once(plan, url, studies):
    """Would catch a driver killed between storing a run and telling the database, and a failure that hides the result of a later try."""
    told(url, plan, 0, Failure("MemoryError", "Traceback", 2))
    store = RunStore(studies)
    store.save(factories.make_record(plan.cells[0], 0, test_error=12.5))
    for _ in range(2):
        Trials(plan, url).synchronize(store)
    assert [(trial.state, trial.value) for trial in stored(url, plan).trials] == [(TrialState.FAIL, None), (TrialState.COMPLETE, 12.5)]


def test_a_run_that_was_removed_and_done_again_is_one_trial(plan, url, studies):
    """Would catch a trial more for each run that somebody deletes while its study goes on."""
    store, cell = factories.fill_store(studies, plan), plan.cells[0]
    Trials(plan, url).synchronize(store, whole=True)
    shutil.rmtree(store.folder(cell.fingerprint, 0))
    trials = Trials(plan, url)
    trials.synchronize(store)
    for _ in range(2):
        trials.tell(cell.fingerprint, 0, factories.make_record(cell, 0))
        trials.write()
    assert len(stored(url, plan).trials) == 8


def test_a_lost_database_is_filled_from_the_run_store_once(plan, url, studies):
    """Would catch a lost database that stays empty, and one that grows at every start."""
    store = factories.fill_store(studies, plan)
    for whole in (True, False):
        Trials(plan, url).synchronize(store, whole=whole)
    trials = stored(url, plan).trials
    assert len(trials) == 8
    assert {(trial.params["arm"], trial.params["layers"], trial.params["seed"]) for trial in trials} == {
        (cell.arm, cell.axes["layers"], seed) for cell in plan.cells for seed in plan.seeds
    }


def test_a_study_that_is_all_there_is_not_read_again(plan, url, studies, monkeypatch):
    """Would catch a finished study of thousands of runs that reads all its trials at every call; and one whose trials are never read again."""
    store, read, whole = factories.fill_store(studies, plan), [], optuna.Study.get_trials
    monkeypatch.setattr(optuna.Study, "get_trials", lambda *args, **words: read.append(1) or whole(*args, **words))
    Trials(plan, url).synchronize(store, whole=True)
    Trials(plan, url).synchronize(store, whole=True)
    assert read == [1]

    grown = factories.make_plan(seeds=range(3))
    factories.fill_store(studies, grown)
    Trials(grown, url).synchronize(store, whole=True)
    assert read == [1, 1]
    assert len(stored(url, grown).trials) == 12


def test_a_grown_grid_is_another_optuna_study_with_the_old_runs_in_it(plan, url, studies):
    """Would catch distributions that change within a study, which Optuna refuses for categories and muddles for ranges."""
    store = factories.fill_store(studies, plan)
    Trials(plan, url).synchronize(store)
    grown = factories.make_plan(axes={"layers": (20, 32, 56)}, seeds=range(2))
    Trials(grown, url).synchronize(store)

    assert optuna_name(grown) != optuna_name(plan)
    assert len(stored(url, plan).trials) == len(stored(url, grown).trials) == 8  # the runs at 32 layers are still to be done
    assert optuna_name(replace(plan, tag="wide")) != optuna_name(plan)  # a variant is another study, too


def test_more_seeds_stay_in_the_same_study(plan, url, studies):
    """Would catch a study that starts anew when a sixth seed is added; and seeds that no 32-bit range holds."""
    store = factories.fill_store(studies, plan)
    Trials(plan, url).synchronize(store)
    more = factories.make_plan(seeds=(0, 1, 2, 3_000_000_000))
    factories.fill_store(studies, more)
    Trials(more, url).synchronize(store)

    assert optuna_name(more) == optuna_name(plan)
    assert len(stored(url, more).trials) == 16
    assert {trial.params["seed"] for trial in stored(url, more).trials} == {0, 1, 2, 3_000_000_000}


@pytest.mark.parametrize(
    ("values", "distribution"),
    [
        ((0.05, 0.1), FloatDistribution(0.05, 0.1)),
        ((1, 0.5), FloatDistribution(0.5, 1.0)),
        (("wide", "narrow"), CategoricalDistribution(("wide", "narrow"))),
        ((True, False), CategoricalDistribution((True, False))),
    ],
)
def test_axes_are_numbers_where_they_are_numbers(url, values, distribution):
    """Would catch a learning rate shown as a list of words, or `true` taken for 1; and distributions that need two values (one arm)."""
    plan = factories.make_plan(arms=["plain"], axes={"width": values}, seeds=[0])
    (trial,) = told(url, plan, 0, factories.make_record(plan.cells[0], 0))
    assert trial.distributions["width"] == distribution
    assert trial.params == {"arm": "plain", "width": values[0], "seed": 0}


def test_a_locked_database_gets_all_of_it_later_and_nothing_twice(plan, url, studies, monkeypatch):
    """Would catch a trial that is lost or written twice, and an error that does not say what stood in the way."""
    url += "?timeout=0.1"
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    trials = Trials(plan, url)
    for cell in plan.cells[:2]:
        trials.tell(cell.fingerprint, 0, factories.make_record(cell, 0))
    with closing(sqlite3.connect(studies / "optuna.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked: another program has locked it"):
            trials.write()
    for _ in range(2):
        trials.write()
    assert [trial.user_attrs["cell"] for trial in stored(url, plan).trials] == ["plain/20", "plain/56"]


def test_a_database_that_was_taken_away_is_said_to_be_gone(plan, url, studies):
    """Would catch a new empty database in the place of one that somebody moved, mid-study."""
    trials = Trials(plan, url)
    (studies / "optuna.db").unlink()
    trials.tell(plan.cells[0].fingerprint, 0, factories.make_record(plan.cells[0], 0))
    with pytest.raises(StoreError, match="gone"):
        trials.write()
    assert not (studies / "optuna.db").exists()


def test_a_database_that_is_none_is_an_error_with_a_remedy(plan, url, studies):
    """Would catch a traceback of sqlalchemy's where the file was cut short or is something else."""
    (studies / "optuna.db").write_bytes(b"this is no database, but it is long enough to look at" * 40)
    with pytest.raises(StoreError, match=r"optuna\.db cannot be used: .*move it away \(it is filled again from the run store\)"):
        Trials(plan, url)


@pytest.mark.parametrize("bad", ["nowhere://x", "sqlite:////no/such/folder/x.db", "words"])
def test_a_storage_that_cannot_be_opened_is_named(plan, bad):
    """Would catch a mistyped --storage that ends in a traceback."""
    with pytest.raises(StoreError, match=r"the Optuna storage .* cannot be used"):
        Trials(plan, bad)


def test_the_database_is_beside_the_run_store(studies):
    """Would catch a database in the working directory."""
    assert default_url(studies) == f"sqlite:///{studies.absolute()}/optuna.db"
