from dataclasses import replace

import factories
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.store import RunStore
from resnet_lab.study.trials import Trials, default_url, optuna_name


def stored(url, plan):
    """The study as any user of Optuna would open it."""
    return optuna.load_study(study_name=optuna_name(plan), storage=url)


def test_a_finished_run_is_a_trial_that_a_dashboard_can_read(plan, url):
    """Would catch parameters that are hashes, a depth that is a string (no axis to plot), and a run without its curve."""
    cell = plan.cells[1]
    record = factories.make_record(cell, 1, train_error=40.0, test_error=42.5)
    trials = Trials(plan, url)
    trials.end(trials.begin(cell.name, 1), record)
    trials.close()

    (trial,) = stored(url, plan).trials
    assert trial.state == TrialState.COMPLETE
    assert trial.params == {"arm": "plain", "layers": 56, "seed": 1}
    assert trial.distributions["arm"] == CategoricalDistribution(("plain", "residual"))
    assert trial.distributions["layers"] == IntDistribution(20, 56)
    assert trial.value == 42.5
    assert trial.intermediate_values == {epoch.epoch: epoch.train_error for epoch in record.epochs}
    assert trial.user_attrs["cell"] == "plain/56"
    assert trial.user_attrs["fingerprint"] == cell.fingerprint
    assert (trial.user_attrs["params"], trial.user_attrs["macs"]) == (cell.params, cell.macs)
    assert (trial.user_attrs["status"], trial.user_attrs["train_error"]) == ("done", 40.0)
    assert stored(url, plan).metric_names == ["test_error"]
    assert stored(url, plan).user_attrs["question"] == plan.question


def test_a_run_is_running_until_it_is_told(plan, url):
    """Would catch a dashboard that shows nothing of a study at work."""
    trials = Trials(plan, url)
    number = trials.begin("plain/20", 0)
    assert [trial.state for trial in stored(url, plan).trials] == [TrialState.RUNNING]

    trials.fail(number, "MemoryError: " + "x" * 5000)
    (trial,) = stored(url, plan).trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["status"] == "failed"
    assert trial.user_attrs["error"].startswith("MemoryError: x")


def test_a_diverged_run_fails_and_is_not_taken_for_a_crash(plan, url, studies):
    """Would catch a divergence that is dropped, or one that is added again at each start because its state is FAIL."""
    store = factories.fill_store(studies, plan, diverged=[("plain/56", 0)], missing=[(c.name, 1) for c in plan.cells])
    trials = Trials(plan, url)
    for _ in range(3):
        trials.synchronize(plan, store)

    by_cell = {trial.user_attrs["cell"]: trial for trial in stored(url, plan).trials}
    assert len(stored(url, plan).trials) == 4
    assert by_cell["plain/56"].state == TrialState.FAIL
    assert by_cell["plain/56"].user_attrs["status"] == "diverged"
    assert by_cell["plain/20"].state == TrialState.COMPLETE


def test_what_a_dead_driver_left_running_is_told_fail(plan, url, studies):
    """Would catch trials that stay RUNNING for ever (optuna 1532)."""
    Trials(plan, url).begin("plain/20", 0)  # and the driver dies here

    trials = Trials(plan, url)
    trials.synchronize(plan, RunStore(studies))

    (trial,) = stored(url, plan).trials
    assert trial.state == TrialState.FAIL
    assert "driver died" in trial.user_attrs["error"]


def test_a_run_that_was_lost_and_then_done_elsewhere_comes_in(plan, url, studies):
    """Would catch a left-over trial that hides its run's result for good once another study has done the run."""
    Trials(plan, url).begin("plain/20", 0)
    Trials(plan, url).synchronize(plan, RunStore(studies))
    store = RunStore(studies)
    store.save(factories.make_record(plan.cells[0], 0))
    Trials(plan, url).synchronize(plan, store)

    states = [trial.state for trial in stored(url, plan).trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_run_that_was_stored_but_not_told_comes_in(plan, url, studies):
    """Would catch a driver killed between storing a run and telling the database."""
    store = RunStore(studies)
    Trials(plan, url).begin("plain/20", 0)
    store.save(factories.make_record(plan.cells[0], 0, test_error=12.5))
    for _ in range(2):
        Trials(plan, url).synchronize(plan, store)

    assert [(trial.state, trial.value) for trial in stored(url, plan).trials] == [(TrialState.FAIL, None), (TrialState.COMPLETE, 12.5)]


def test_a_lost_database_is_filled_from_the_run_store_once(plan, url, studies):
    """Would catch a lost database that stays empty, and one that grows at every start."""
    store = factories.fill_store(studies, plan)
    for _ in range(2):
        trials = Trials(plan, url)
        trials.synchronize(plan, store)
        trials.close()

    study = stored(url, plan)
    assert len(study.trials) == 8
    assert {(trial.params["arm"], trial.params["layers"], trial.params["seed"]) for trial in study.trials} == {
        (cell.arm, cell.axes["layers"], seed) for cell in plan.cells for seed in plan.seeds
    }


def test_a_grown_grid_is_another_optuna_study_with_the_old_runs_in_it(plan, url, studies):
    """Would catch distributions that change within a study, which Optuna refuses for categories and muddles for ranges."""
    store = factories.fill_store(studies, plan)
    Trials(plan, url).synchronize(plan, store)
    grown = factories.make_plan(axes={"layers": (20, 32, 56)}, seeds=range(2))
    Trials(grown, url).synchronize(grown, store)

    assert optuna_name(grown) != optuna_name(plan)
    assert len(stored(url, plan).trials) == 8
    assert len(stored(url, grown).trials) == 8  # the runs at 32 layers are still to be done
    assert len(optuna.get_all_study_names(storage=url)) == 2


def test_more_seeds_stay_in_the_same_study(plan, url, studies):
    """Would catch a study that starts anew when a sixth seed is added; and seeds that no 32-bit range holds."""
    store = factories.fill_store(studies, plan)
    Trials(plan, url).synchronize(plan, store)
    more = factories.make_plan(seeds=(0, 1, 2, 3_000_000_000))
    factories.fill_store(studies, more)
    Trials(more, url).synchronize(more, store)

    assert optuna_name(more) == optuna_name(plan)
    assert len(stored(url, more).trials) == 16
    assert {trial.params["seed"] for trial in stored(url, more).trials} == {0, 1, 2, 3_000_000_000}


def test_a_variant_is_another_optuna_study(plan):
    """Would catch a variant's trials among those of the study as shipped."""
    assert optuna_name(replace(plan, tag="wide")) != optuna_name(plan)


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
    """Would catch a learning rate shown as a list of words, or `true` taken for 1."""
    plan = factories.make_plan(axes={"width": values}, seeds=[0])
    trials = Trials(plan, url)
    trials.end(trials.begin(plan.cells[0].name, 0), factories.make_record(plan.cells[0], 0))

    (trial,) = stored(url, plan).trials
    assert trial.distributions["width"] == distribution
    assert trial.params["width"] == values[0]


def test_a_grid_without_axes_and_with_one_arm(url):
    """Would catch distributions that need two values."""
    plan = factories.make_plan(arms=["plain"], axes={}, seeds=[0])
    Trials(plan, url).begin("plain", 0)

    assert stored(url, plan).trials[0].params == {"arm": "plain", "seed": 0}


def test_a_database_that_is_none_is_an_error_with_a_remedy(plan, url, studies):
    """Would catch a traceback of sqlalchemy's where the file was cut short or is something else."""
    (studies / "optuna.db").write_bytes(b"this is no database, but it is long enough to look at" * 40)

    with pytest.raises(StoreError, match=r"optuna\.db cannot be used: .*move it away, it is filled again from the run store"):
        Trials(plan, url)


@pytest.mark.parametrize("bad", ["nowhere://x", "sqlite:////no/such/folder/x.db", "words"])
def test_a_storage_that_cannot_be_opened_is_named(plan, bad):
    """Would catch a mistyped --storage that ends in a traceback."""
    with pytest.raises(StoreError, match=r"the Optuna storage .* cannot be used"):
        Trials(plan, bad)


def test_the_database_is_beside_the_run_store(studies):
    """Would catch a database in the working directory."""
    assert default_url(studies) == f"sqlite:///{studies.absolute()}/optuna.db"
