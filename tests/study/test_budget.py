"""What fits a budget: seeds that can decide first, then the length, then more seeds, never more than the scale."""

from dataclasses import replace

import pytest

from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.shortening import length_of
from resnet_lab.study.budget import Proposal, Sizes, accept, accepted, propose
from resnet_lab.study.predicting import BETWEEN_SECONDS, Prediction, RunCost

STEP = 1.0
BEGIN = 2.0


@pytest.fixture
def sizes(prepare):
    """Four cells, eight seeds, ten epochs of two iterations of a second each: a run takes 22 s, everything 704 s with one worker."""
    prepared = prepare(seeds=8, overrides=["training.epochs=10", "grid.network.layers=[6, 10]"])
    length = length_of(prepared.question.ablation, "default", prepared.options.overrides, prepared.question.cells)
    costs = {task.fingerprint: RunCost(BEGIN, STEP, 0.0) for task in prepared.tasks}
    return Sizes(prepared.tasks, prepared.missing, length, Prediction(costs), 1)


def seconds(seeds, epochs):
    """As the fixture's runs take, and a little."""
    return 4 * seeds * (BEGIN + 2 * epochs * STEP + BETWEEN_SECONDS) + 1e-6


def fits(sizes, budget, deciding=4):
    found = propose(sizes, budget, deciding=deciding, name="default")
    epochs = next((int(one.partition("=")[2]) for one in found.overrides if one.startswith("training.epochs=")), 10)
    assert found.seconds == pytest.approx(seconds(len(found.seeds), epochs))
    assert found.seconds <= budget
    return len(found.seeds), epochs


def test_a_budget_for_everything_proposes_the_scale_as_it_is(sizes):
    """Would catch a cut where none is needed, and more epochs than the scale asks for."""
    found = propose(sizes, 1e6, deciding=4, name="default")

    assert found == Proposal(tuple(range(8)), (), "", True, pytest.approx(seconds(8, 10)))


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (seconds(8, 10) - 1, (7, 10)),
        (seconds(5, 10), (5, 10)),
        (seconds(4, 10), (4, 10)),
        (seconds(4, 10) - 1, (4, 9)),
        (seconds(4, 3), (4, 3)),
        (seconds(4, 1), (4, 1)),
        (seconds(4, 1) - 1, (3, 1)),
        (seconds(1, 1), (1, 1)),
    ],
)
def test_seeds_that_decide_then_length_then_seeds(sizes, budget, expected):
    """Would catch a budget that goes into eight seeds of one epoch, or into one seed of ten: the first is another question, the second no answer."""
    assert fits(sizes, budget) == expected


def test_a_few_seeds_may_train_for_longer_than_the_shortest(sizes):
    """Would catch one seed of one epoch where three epochs of it fit, once the seeds that decide do not fit anyway."""
    assert fits(sizes, seconds(1, 3), deciding=8) == (1, 3)


def test_what_decides_is_said(sizes):
    """Would catch a cut study that promises a verdict which its seeds cannot give."""
    few, enough = (propose(sizes, budget, deciding=4, name="default").says for budget in (seconds(2, 1), seconds(4, 5)))

    assert few == (
        "default in a budget of 32 s: 2 of 8 seeds, 1 of 10 epochs. A shorter training may show other effects than the whole one. "
        "2 seeds cannot decide the claims: it takes at least 4."
    )
    assert "cannot decide" not in enough
    assert "shorter training" in enough
    assert "shorter" not in propose(sizes, seconds(5, 10), deciding=4, name="default").says


def test_nothing_fits(sizes):
    """Would catch a study of no runs."""
    with pytest.raises(SpecError, match=r"--budget: nothing fits into 10 s: one seed with 1 of 10 epochs takes about 16 s"):
        propose(sizes, 10, deciding=4, name="default")


def test_only_seeds_where_cells_have_lengths_of_their_own(sizes):
    """Would catch a question about lengths whose lengths are all cut to one."""
    fixed = replace(sizes, length=None)
    found = propose(fixed, seconds(2, 10), deciding=4, name="default")

    assert (found.seeds, found.overrides) == ((0, 1), ())
    with pytest.raises(SpecError, match="one seed takes about"):
        propose(fixed, seconds(1, 9), deciding=4, name="default")


def test_runs_that_are_done_cost_nothing(sizes):
    """Would catch a half-finished study that is cut although its rest fits."""
    half = replace(sizes, missing=[task for task in sizes.missing if task.seed >= 4])

    assert propose(half, seconds(4, 10), deciding=4, name="default").whole


def test_seeds_by_name_are_taken_in_their_order(prepare):
    """Would catch seeds 0 and 1 in a study of seeds 10 to 14."""
    prepared = prepare(seeds=(10, 12, 11))
    costs = {task.fingerprint: RunCost(10.0, 0.0, 0.0) for task in prepared.tasks}
    found = propose(Sizes(prepared.tasks, prepared.missing, None, Prediction(costs), 1), 85, deciding=1, name="default")

    assert found.seeds == (10, 12)


def test_what_was_accepted_is_found_again(tmp_path):
    """Would catch a resumed study that proposes anew and trains another scale."""
    one, other = Proposal((0, 1), ("training.epochs=3",), "words", False, 20.0), Proposal((0,), (), "", True, 1.0)
    accept(tmp_path / "study", "budget-20s", one)
    accept(tmp_path / "study", "budget-1d", other)

    assert accepted(tmp_path / "study", "budget-20s") == one
    assert accepted(tmp_path / "study", "budget-1d") == other
    assert accepted(tmp_path / "study", "budget-2h") is None
    assert accepted(tmp_path / "elsewhere", "budget-20s") is None
