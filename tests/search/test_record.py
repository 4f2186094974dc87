"""A search as Optuna sees it: in a database, and in PED-ANOVA."""

import optuna
import pytest
from optuna.trial import TrialState
from tiny_search import BOUND, chosen, cost, searching

from resnet_lab.search.importance import FEWEST, importance
from resnet_lab.search.record import frozen


@pytest.mark.parametrize("objective", ["validation_error", ("validation_error", "macs")])
def test_a_search_is_a_study_of_a_database(objective: str | tuple[str, ...]) -> None:
    """Would catch trials that a database refuses, or that lose their parameters, values, constraints or what they measured."""
    tiny = searching(objective=objective, constraints=(BOUND,), pruner="median" if isinstance(objective, str) else "none", trials=20)
    search = tiny.search()
    trials = tiny.drive(search)
    if failing := tiny.search([*tiny.lines]).ask():  # the budget is spent
        raise AssertionError(failing)
    study = optuna.create_study(storage="sqlite://", directions=["minimize"] * len(tiny.spec.objectives))
    for trial in trials:
        study.add_trial(frozen(trial, chosen(), tiny.spec))
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "infeasible": TrialState.PRUNED}
    for trial, seen in zip(trials, study.trials, strict=True):
        assert seen.state == states[trial.state]
        assert seen.params == trial.point
        assert seen.constraints == trial.constraints
        assert seen.user_attrs["status"] == trial.state
        assert seen.user_attrs["number"] == trial.number
        if trial.state == "complete":
            assert tuple(seen.values) == trial.values
        assert {str(step): value for step, value in seen.intermediate_values.items()} == trial.curve
    assert {trial.state for trial in trials} >= {"complete", "infeasible"}
    best = min(trial.values for trial in trials if trial.state == "complete")
    assert best in [tuple(trial.values) for trial in study.best_trials]


def test_what_mattered_is_found_and_adds_up_to_one() -> None:
    """Would catch importances of another parameter, or of infeasible trials."""
    tiny = searching(sampler="random", trials=200, error=lambda point: abs(float(point["training.lr"]) - 0.1))
    trials = tiny.drive(tiny.search())
    shares = importance(tiny.spec, chosen(), trials)
    assert next(iter(shares)) == "training.lr"
    assert shares["training.lr"] > 0.7
    assert sum(shares.values()) == pytest.approx(1)
    assert shares.keys() == {each.name for each in chosen()}


def test_a_field_that_is_seldom_open_is_compared_where_it_is() -> None:
    """Would catch a conditional field that is left out, or one that explains what its parent does."""

    def error(point: dict[str, object]) -> float:
        return 10.0 if point["network.block"] == "basic" else 1.0 + (point["network.bottleneck_ratio"] == 2)

    tiny = searching(sampler="random", trials=300, error=error)
    shares = importance(tiny.spec, chosen(), tiny.drive(tiny.search()))
    assert shares["network.bottleneck_ratio"] > 0.2
    assert shares["network.width"] < 0.1


def test_nothing_is_said_of_too_few_trials_or_of_none_that_differ() -> None:
    """Would catch shares made of one trial."""
    tiny = searching(trials=FEWEST - 1)
    assert importance(tiny.spec, chosen(), tiny.drive(tiny.search())) == {}
    assert importance(tiny.spec, chosen(), []) == {}


def test_costs_are_those_of_the_network() -> None:
    """Would catch parameters written where multiply-adds belong."""
    tiny = searching(trials=4)
    for trial in tiny.drive(tiny.search()):
        assert {"macs": trial.macs, "params": trial.params, "layers": trial.layers} == dict(cost(trial.point).costs)
