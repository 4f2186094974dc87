"""What searches came to, as numbers: trials, finalists, fronts, tuning-budget curves, controls."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from factories import fill_store, make_search, make_searched, write_trials
from scipy import stats

from resnet_lab.analysis import searches
from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.spec.claims import Claim

ERRORS = {"tpe": [9.0, None, 8.0, 20.0, 5.0, None, 6.0, 7.0, 30.0, 12.0], "random": [11.0, 9.0, 14.0, 7.0, 8.0, 15.0, 16.0, 17.0]}


@pytest.fixture
def searched(tmp_path):
    """A function that makes a study with searches: (plan, trials' errors, measured, ...) -> StudyData."""

    def build(plan=None, errors=ERRORS, measured=None, *, trials=None, **store):
        plan = make_searched() if plan is None else plan
        write_trials(tmp_path, plan, errors, **(trials or {}))
        return load(plan, fill_store(tmp_path, plan, measured, metric="test_error", **store))

    return build


def test_trials_have_a_row_a_proposal_and_a_best_so_far(searched):
    """Catches infeasible proposals that spend the budget, a best that a proposal without an error breaks off, and points under another's name."""
    data = searched()
    own = data.trials[data.trials["search"] == "tpe"]
    assert own["trial"].astype(object).where(own["trial"].notna(), None).tolist() == [1, None, 2, 3, 4, None, 5, 6, 7, 8]
    assert own["best"].tolist() == [9, 9, 8, 8, 5, 5, 5, 5, 5, 5]
    assert own["state"].tolist().count("infeasible") == 2
    assert list(own.columns[:4]) == ["search", "arm", "number", "trial"]
    for row, trial in zip(own.to_dict("records"), data.proposals["tpe"], strict=True):
        assert row["training.lr"] == trial.point["training.lr"]
        assert row["macs"] == trial.macs


def test_a_pruned_trial_has_no_error_of_its_own(searched):
    """Catches the error of an early epoch that is taken for a final one."""
    data = searched(errors={"tpe": [3.0, 4.0]}, trials={"state": "pruned"})
    assert data.trials["validation_error"].isna().all()
    assert data.trials["trial"].tolist() == [1, 2]


def test_trials_of_a_search_that_was_changed_are_not_read(searched):
    """Catches scores of another space beside those of this one."""
    plan = make_searched()
    changed = replace(plan, searches=tuple(replace(search, identity="new", finalists=()) for search in plan.searches), cells=plan.cells[:1])
    data = searched(plan)
    assert len(data.trials) == 18
    again = searched(changed, errors={})
    assert again.trials.empty
    assert list(again.trials.columns) == list(data.trials.columns)


def test_a_grids_axis_is_a_column_beside_the_parameters(searched):
    """Catches an axis that is lost, or taken for the trial's own layers."""
    plan = make_searched([make_search("plain/20", {"layers": 20}), make_search("plain/44", {"layers": 44})], (), axes=("layers",))
    data = searched(plan, {"plain/20": [1.0], "plain/44": [2.0]})
    assert data.trials[["search", "arm", "layers"]].to_numpy().tolist() == [["plain/20", "plain", 20], ["plain/44", "plain", 44]]
    assert data.runs.empty


def test_finalists_stand_beside_the_scores_that_chose_them(searched):
    """Catches a finalist beside the score of another trial, a normal interval, and a gap of the wrong sign: a curse is above zero."""
    data = searched(measured={"tpe/1": [7.0, 8.0, 9.0], "tpe/2": [10.0, 10.0, 13.0]})
    found = searches.finalists(data)
    assert found["cell"].tolist() == ["tpe/1", "tpe/2", "random/1", "random/2"]
    assert found["finalist"].tolist() == [1, 2, 1, 2]
    assert found["trial"].tolist() == [4, 2, 3, 0]
    assert found["search_error"].tolist() == [5.0, 8.0, 7.0, 11.0]
    assert found["gap"].tolist()[:2] == [3.0, 3.0]
    half = stats.t.ppf(0.975, 2) * 1.0 / math.sqrt(3)
    assert found.loc[0, ["ci_low", "ci_high"]].tolist() == pytest.approx([8 - half, 8 + half])
    assert found.loc[0, "point"] == data.proposals["tpe"][4].point


def test_a_search_that_goes_on_has_no_finalists_and_its_claims_wait(searched):
    """Catches a report that falls over a claim about a cell that is not there yet."""
    claim = Claim("better", {"tpe/1": 1.0, "baseline": -1.0}, "< 0", metric="test_error")
    data = searched(make_searched([make_search("tpe")], claims=(claim,)))
    assert searches.finalists(data).empty
    assert [verdict.verdict for verdict in judge(data)] == ["waiting"]


def test_counts_tell_what_the_budget_was_spent_on(searched):
    """Catches infeasible proposals among the trials."""
    found = searches.counts(searched(trials={"diverged": 1})).set_index("search")
    assert found.loc["tpe", ["complete", "pruned", "infeasible", "diverged"]].tolist() == [8, 0, 2, 10]
    assert found.loc["random", ["complete", "best", "seconds"]].tolist() == [8, 7.0, 24.0]


def test_a_point_is_dominated_where_another_is_better_in_one_and_worse_in_none():
    """Catches a front with equal points left out, or with one that costs more for the same error; against every pair."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        errors, costs = rng.integers(0, 6, (2, 12)).astype(float)
        pairs = list(zip(errors, costs, strict=True))
        expected = [any(e <= error and c <= cost and (e, c) != (error, cost) for e, c in pairs) for error, cost in pairs]
        assert searches.is_dominated(errors, costs).tolist() == expected


def test_the_expected_best_is_the_mean_over_all_subsets():
    """Catches a formula for draws with replacement, or for the largest; against every subset."""
    errors = np.array([9.0, 3.0, 4.0, 4.0, 20.0, 6.0])
    sizes = np.arange(1, 7)
    exact = [np.mean([min(subset) for subset in itertools.combinations(errors, int(size))]) for size in sizes]
    assert searches.expected_best(errors, sizes) == pytest.approx(exact)
    many = np.random.default_rng(0).uniform(size=2000)
    assert searches.expected_best(many, np.array([1, 2000])) == pytest.approx([many.mean(), many.min()])


def test_budget_curves_end_at_the_best_trial(searched):
    """Catches a curve over proposals that were never trained."""
    data = searched()
    for search, rows in searches.budget_curves(data).groupby("search"):
        assert rows["value"].iloc[-1] == data.trials.loc[data.trials["search"].eq(search), "validation_error"].min()
        assert rows["n"].unique().tolist() == [8]
        assert rows["value"].is_monotonic_decreasing


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, {"tpe": "random"}),
        ({"trials": 9}, {}),
        ({"constraints": ("macs <= 1e6",)}, {}),
        ({"sampler": "gp"}, {}),
        ({"seed": 3}, {"tpe": "random"}),
    ],
)
def test_a_control_searches_the_same_at_the_same_budget(changed, found):
    """Catches a control with another budget or space, and one that is no control."""
    plan = make_searched([make_search("tpe"), make_search("random", **{"sampler": "random", **changed})])
    assert searches.controls(plan) == found


def test_arms_of_other_networks_are_no_controls():
    """Catches plain nets that are searched at random taken for the control of residual ones."""
    plan = make_searched([make_search("tpe"), make_search("random", sampler="random")])
    text = 'arms.tpe.network.shortcut = "{}"\narms.random.network.shortcut = "none"\narms.random.search.sampler = "random"\n'
    assert searches.controls(replace(plan, toml=text.format("none"))) == {"tpe": "random"}
    assert searches.controls(replace(plan, toml=text.format("identity"))) == {}


def test_the_control_is_compared_on_fresh_errors_pair_by_pair(searched):
    """Catches a comparison of the searches' own scores, and seeds that are not paired."""
    measured = {"tpe/1": [7.0, 8.0, 9.0], "random/1": [8.0, 10.0, 12.0]}
    (found,) = searches.against_controls(searched(measured=measured))
    half = stats.t.ppf(0.975, 2) * 1.0 / math.sqrt(3)
    assert (found.search, found.control, found.difference, found.n) == ("tpe", "random", -2.0, 3)
    assert (found.low, found.high) == pytest.approx((-2 - half, -2 + half))


def test_a_point_is_read_by_the_last_part_of_its_fields():
    """Catches stages that are not told together, and numbers with all their digits."""
    point = {"network.depths.0": 2, "network.depths.1": 3, "network.join.bias": -2.0, "training.lr": 0.0312345, "training.nesterov": True}
    assert searches.point_text(point) == "depths 2-3, join.bias -2, lr 0.0312, nesterov yes"
