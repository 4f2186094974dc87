"""The search loop with a formula for a training: what it repeats, what a kill costs, what it spends, when it ends."""

from typing import Any

import pytest
from tiny_search import BOUND, SPACE, Searching, chosen, cost, searching

from resnet_lab.runs.searches import SearchTrial
from resnet_lab.search.loop import Checked
from resnet_lab.search.samplers import PATIENCE
from resnet_lab.spec.search import MOST_IN_A_ROW

SAMPLERS = ("random", "tpe", "nsgaii", "gp")
KINDS: dict[str, dict[str, Any]] = {
    "random": {"sampler": "random"},
    "tpe": {"sampler": "tpe", "trials": 30, "constraints": (BOUND,)},
    "tpe, two objectives": {"sampler": "tpe", "objective": ("validation_error", "macs"), "constraints": (BOUND,)},
    "nsgaii": {"sampler": "nsgaii", "trials": 40, "constraints": (BOUND,)},
    "nsgaii, two objectives": {"sampler": "nsgaii", "trials": 40, "objective": ("validation_error", "params")},
    "gp": {"sampler": "gp", "trials": 13, "constraints": (BOUND,)},
    "gp, two objectives": {"sampler": "gp", "trials": 12, "objective": ("validation_error", "macs")},
    "tpe, median": {"sampler": "tpe", "pruner": "median"},
    "nsgaii, hyperband": {"sampler": "nsgaii", "pruner": "hyperband", "trials": 30},
    "tpe, hyperband": {"sampler": "tpe", "pruner": "hyperband", "trials": 30},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_repeats_exactly(kind: str) -> None:
    """Would catch a draw that does not come from the seed."""
    once, again = searching(**KINDS[kind]), searching(**KINDS[kind])
    assert once.drive(once.search()) == again.drive(again.search())
    assert once.lines == again.lines
    other = searching(**KINDS[kind] | {"seed": 4})
    assert [each.point for each in other.drive(other.search())] != [each.point for each in once.lines]


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_killed_after_any_line_ends_as_if_it_had_not_been(kind: str) -> None:
    """Would catch state that is not in the list of trials: generations of NSGA-II, rungs of Hyperband, what a sampler drew before."""
    whole = searching(**KINDS[kind])
    expected = whole.drive(whole.search())
    step = 5 if KINDS[kind]["sampler"] == "gp" else 1
    for cut in range(0, len(whole.lines), step):
        killed = searching(**KINDS[kind])
        assert killed.drive(killed.search(whole.lines[:cut])) == expected
        assert len(killed.lines) - len(whole.lines) <= 0  # nothing is written twice


def test_a_trial_left_running_is_handed_out_first_and_once() -> None:
    """Would catch a trial that nobody finishes, or one that two workers train."""
    killed = searching()
    search = killed.search()
    trials = [search.ask() for _ in range(3)]
    resumed = killed.search(killed.lines)
    assert [resumed.ask() for _ in range(3)] == trials
    assert resumed.ask() not in trials
    assert not resumed.over


def test_the_budget_is_trained_and_no_more() -> None:
    """Would catch a fourth worker that trains a trial beyond the budget, or a search that is over while some are running."""
    search = (tiny := searching(trials=3)).search()
    asked = [search.ask() for _ in range(4)]
    assert asked[3] is None
    assert (search.over, search.ended) == (False, "")
    for trial in asked[:3]:
        assert trial
        tiny.train(search, trial)
    assert (search.over, search.ended) == (True, "all 3 trials are done")
    assert search.ask() is None


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_breaks_a_constraint_spends_nothing_and_is_kept(sampler: str) -> None:
    """Would catch a budget spent on networks that are not trained, or one that is trained although it is too large."""
    tiny = searching(sampler=sampler, trials=14, constraints=(BOUND, "layers >= 4"))
    trials = tiny.drive(tiny.search())
    infeasible = [trial for trial in trials if trial.state == "infeasible"]
    assert len(infeasible) > 2
    assert sum(trial.state == "complete" for trial in trials) == 14
    for trial in trials:
        assert trial.constraints == {BOUND: trial.macs / 600 - 1, "layers >= 4": 1 - trial.layers / 4}
        assert (trial.state == "infeasible") == (trial.macs > 600 or trial.layers < 4)
        assert not (trial.state == "infeasible" and (trial.values or trial.scores))


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsgaii"])
def test_a_sampler_learns_from_what_breaks_a_constraint(sampler: str) -> None:
    """Would catch infeasible trials that the sampler is not told of: it would go on proposing them, since wide networks are better."""

    def too_large(constraints: tuple[str, ...]) -> float:
        tiny = searching(sampler=sampler, trials=25, constraints=constraints, error=lambda point: 50 - float(point["network.width"]) / 4)
        proposed = tiny.drive(tiny.search())[-20:]
        return sum(trial.macs > 600 for trial in proposed) / 20

    assert too_large((BOUND,)) < too_large(()) - 0.2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_cannot_be_built_is_said_and_spends_nothing(sampler: str) -> None:
    """Would catch a network that cannot be built ending the study, counting as a trial, or being proposed ever again: deep ones are best here."""

    def check(point: Any) -> Checked:
        return Checked("", {}, "too deep") if point["network.depths.0"] > 5 else cost(point)

    tiny = searching(sampler=sampler, trials=14, check=check, error=lambda point: 50 - 4 * float(point["network.depths.0"]))
    trials = tiny.drive(tiny.search())
    unbuilt = [trial for trial in trials if trial.state == "infeasible"]
    assert unbuilt
    assert {(trial.why, trial.fingerprint, trial.macs) for trial in unbuilt} == {("too deep", "", 0)}
    assert sum(trial.state == "complete" for trial in trials) == 14
    assert len(unbuilt) < 28


def few(**fields: Any) -> Searching:
    """Twelve points, of which four are the same network as another."""

    def check(point: Any) -> Checked:
        depth = point["network.depths.0"]
        return Checked(str((point["network.block"], min(depth, 4))), {"macs": depth, "params": 1, "layers": 1})

    space = {
        "network.block": ["basic", "bottleneck"],
        "network.depths": [{"low": 1, "high": 6}],
        "training.lr": [0.1],
        "network.width": [8],
    }
    return searching(space=space, check=check, **fields)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_ends_where_there_is_nothing_left_to_try(sampler: str) -> None:
    """Would catch a search that never ends, trains a network twice, or says nothing of why it found fewer than it was to."""
    tiny = few(trials=20, sampler=sampler)
    search = tiny.search()
    trials = tiny.drive(search)
    assert [trial.state for trial in trials] == ["complete"] * 8
    assert len({trial.fingerprint for trial in trials}) == 8
    assert search.over
    assert search.ended == f"8 of 20 trials were found: the next {MOST_IN_A_ROW} proposals in a row had been tried before"
    resumed = few(trials=20, sampler=sampler)
    assert resumed.drive(resumed.search(tiny.lines)) == trials


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_what_a_sampler_cannot_find_is_drawn_at_random(sampler: str) -> None:
    """Would catch a sampler that is asked for ever for what it does not believe in, or one that is not asked at all."""
    space = {**SPACE, "network.width": [8], "network.depths": [{"low": 1, "high": 6}], "training.lr": [0.1, 0.2]}
    tiny = searching(space=space, check=lambda point: Checked(str(sorted(point.items())), {}), trials=36, sampler=sampler, error=lopsided)
    trials = tiny.drive(tiny.search())
    assert [trial.state for trial in trials] == ["complete"] * 36
    for trial, before in zip(trials[1:], trials, strict=False):
        assert trial.proposed_by == ("random" if trial.number - before.number > PATIENCE[sampler] else "sampler")
    assert {trial.proposed_by for trial in trials} == {"sampler", "random"}


def lopsided(point: Any) -> float:
    return float(point["network.depths.0"]) + 10 * (point["network.block"] == "basic")


def test_a_network_that_failed_or_was_ended_is_not_tried_again() -> None:
    """Would catch a crash that is paid for twice."""
    tiny = few(trials=20)
    search = tiny.search()
    first, second = search.ask(), search.ask()
    assert first
    assert second
    assert search.tell(first.number, {}, why="out of memory").state == "failed"
    assert search.tell(second.number, {}, pruned=True).state == "pruned"
    rest = tiny.drive(search)
    assert len({trial.fingerprint for trial in rest}) == len(rest) == 8
    assert "8 of 20" in search.ended


def test_what_the_question_names_is_proposed_first() -> None:
    """Would catch named networks that are never tried, or a part of a point that loses what it names."""
    whole = {"network.block": "basic", "network.width": 16, "network.depths.0": 3, "network.depths.1": 3, "training.lr": 0.25}
    tiny = searching(first=[whole, {"network.block": "bottleneck", "training.lr": 0.5}, whole], trials=5)
    trials = tiny.drive(tiny.search())
    assert trials[0].point == whole
    assert trials[1].point.items() >= {"network.block": "bottleneck", "training.lr": 0.5}.items()
    assert len(trials[1].point) == 6
    assert [trial.proposed_by for trial in trials] == ["first", "first", "sampler", "sampler", "sampler"]
    assert [trial.number for trial in trials] == [0, 1, 3, 4, 5]  # the third was named twice


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_field_is_chosen_only_where_it_is_open(sampler: str) -> None:
    """Would catch a ratio of bottlenecks chosen for a basic block, or left out where it belongs."""
    tiny = searching(sampler=sampler, trials=13)
    for trial in tiny.drive(tiny.search()):
        assert ("network.bottleneck_ratio" in trial.point) == (trial.point["network.block"] == "bottleneck")
        for each in chosen(SPACE):
            if each.name in trial.point:
                each.value(trial.point[each.name])  # raises for what is not in the space


def test_values_are_the_mean_error_and_the_costs_asked_for() -> None:
    """Would catch objectives in another order, or an error of one seed where there are three."""
    search = searching(objective=("validation_error", "params"), seeds_per_trial=3).search()
    trial = search.ask()
    assert trial
    told = search.tell(trial.number, {1_000_000: 10.0, 1_000_001: 20.0, 1_000_002: 100.0}, seconds=9.0, diverged=1)
    assert told.values == (pytest.approx(130 / 3), trial.params)
    assert (told.scores["1000002"], told.diverged, told.seconds, told.state) == (100.0, 1, 9.0, "complete")


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_bad_trial_is_ended_early(pruner: str) -> None:
    """Would catch a pruner that is not told of epochs, or ends the best."""
    tiny = searching(pruner=pruner, sampler="random", trials=40)
    trials = tiny.drive(tiny.search())
    pruned = [trial for trial in trials if trial.state == "pruned"]
    complete = [trial for trial in trials if trial.state == "complete"]
    assert len(trials) == 40
    assert pruned
    assert min(tiny.error(trial.point) for trial in pruned) > min(tiny.error(trial.point) for trial in complete)
    assert all(trial.curve and not trial.values for trial in pruned)


def test_wilcoxon_ends_a_trial_after_some_of_its_seeds() -> None:
    """Would catch a pruner that asks for all seeds before it speaks, or one that ends a trial that is as good."""
    search = searching(pruner="wilcoxon", seeds_per_trial=8).search()

    def seeds_until_ended(errors: float) -> int:
        trial = search.ask()
        assert trial
        for seed in range(8):
            if search.report(trial.number, seed, errors + seed / 10):
                search.tell(trial.number, {}, pruned=True)
                return seed + 1
        search.tell(trial.number, {1_000_000: errors})
        return 8

    assert seeds_until_ended(10.0) == 8
    assert seeds_until_ended(20.0) == 4  # 1/16 is the first p below 0.1
    assert seeds_until_ended(9.0) == 8


def test_an_epoch_told_twice_counts_once() -> None:
    """Would catch a run that is begun once more, whose epochs a pruner would take for those of the next."""
    search = searching(pruner="median").search()
    trial = search.ask()
    assert trial
    assert not search.report(trial.number, 1, 50.0)
    assert not search.report(trial.number, 1, 10.0)
    assert search.trials[0].curve == {"1": 50.0}


def test_a_line_that_cannot_be_written_is_written_with_the_next() -> None:
    """Would catch a full disk that costs a trial, or has one proposed twice."""
    tiny, refused = searching(trials=5), [True, False, True, True, False]

    def write(trial: SearchTrial) -> None:
        if refused and refused.pop(0):
            raise OSError
        tiny.lines.append(trial)

    search = tiny.search()
    search._write = write
    while not search.over:
        try:
            if trial := search.ask():
                tiny.train(search, trial)
        except OSError:
            continue
    search.ask()
    expected = searching(trials=5)
    assert search.trials == expected.drive(expected.search())
    assert tiny.lines == expected.lines
