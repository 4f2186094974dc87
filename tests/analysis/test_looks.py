"""Looking several times: the schedule, what each look may spend, decisions that stand, and seeds that come after a verdict."""

from dataclasses import replace

import numpy as np
import pytest
from factories import degradation, fill_store, make_plan

from resnet_lab.analysis import tables
from resnet_lab.analysis.looks import begin, judge_look, next_seeds, read_as_planned, schedule, spending
from resnet_lab.analysis.verdicts import judge
from resnet_lab.runs.looks import Looks
from resnet_lab.spec.claims import Claim
from resnet_lab.spec.errors import SpecError

RESCUE = Claim("rescue", {"plain/56": 1.0, "residual/56": -1.0}, "> 0")

CLAIMS = (degradation(), RESCUE)


@pytest.fixture
def grown(tmp_path):
    """(n, claims, measured) -> the study with its first n seeds; numbers are per seed and the same whatever n is."""

    def build(n, claims=CLAIMS, registered=None, **measured):
        digests = registered or tuple(claim.digest for claim in claims)
        plan = make_plan(claims=claims, seeds=range(n), registered=digests)
        columns = {name.replace("_", "/"): np.resize(values, n) for name, values in measured.items()}
        return tables.load(plan, fill_store(tmp_path / str(n), plan, columns))

    return build


CLEAR = {"plain_56": [50.0, 60, 55, 70, 52, 58, 61], "plain_20": [10.0, 12, 9, 11, 10], "residual_56": [50.0, 61, 54, 70, 53, 57, 61]}


def test_the_schedule_of_looks():
    # The looks that were checked by simulation.
    assert schedule(20) == (5, 7, 10, 14, 20)
    assert schedule(12) == (5, 7, 10, 12)
    assert schedule(4) == (4,)
    with pytest.raises(SpecError, match="at least 2"):
        schedule(1)


@pytest.mark.parametrize("most", [3, 12, 20, 57])
def test_looks_together_spend_alpha_and_no_more(most):
    # alpha (n_k - n_(k-1)) / n_max; catches a first look that spends everything.
    spent = spending(schedule(most), 0.05)
    assert sum(spent) == pytest.approx(0.05)
    assert all(share > 0 for share in spent)
    assert spending(schedule(20), 0.05) == pytest.approx((0.0125, 0.005, 0.0075, 0.01, 0.015))


def test_a_look_decides_what_is_clear_and_goes_on_with_the_rest(grown):
    looks = begin(None, schedule(20))
    assert next_seeds(grown(2).plan, looks) == (0, 1, 2, 3, 4)
    data = grown(5, **CLEAR)
    looks = judge_look(data, looks)
    clear, unclear = (looks.done[0].decisions[claim.digest] for claim in data.plan.claims)
    assert (clear.verdict, unclear.verdict) == ("supported", "undecided")
    assert (clear.level, clear.remaining) == (0.0125 / 2, 2)
    assert (unclear.level, unclear.remaining) == (0.0125, 1)
    assert next_seeds(data.plan, looks) == tuple(range(7))
    first, second = judge(data, looks=looks)
    assert (first.verdict, first.look, first.looks, first.ci_level) == ("supported", 1, 5, 1 - 0.0125 / 2)
    assert "stopped early" in first.flags
    assert "overstated" in first.words
    assert second.verdict == "waiting"
    assert "The next look is at 7 seeds, and 5 are there" in second.words
    assert second.p is None


def test_a_decision_stands_whatever_later_seeds_say(grown):
    # At seven seeds the same claim is judged on its five, with the interval of that look; the other at the next look's level.
    looks = judge_look(grown(5, **CLEAR), begin(None, schedule(20)))
    data = grown(7, **{**CLEAR, "plain_56": [*CLEAR["plain_56"][:5], 0.0, 0.0]})
    looks = judge_look(data, looks)
    assert data.plan.claims[0].digest not in looks.done[1].decisions
    assert looks.done[1].decisions[RESCUE.digest].level == pytest.approx(0.005)
    first, _ = judge(data, looks=looks)
    assert (first.verdict, first.n, first.look) == ("supported", 5, 1)


def test_after_the_last_look_what_is_left_is_undecided(grown):
    looks = begin(None, schedule(7))
    for n in (5, 7):
        data = grown(n, **CLEAR)
        looks = judge_look(data, looks)
    assert next_seeds(data.plan, looks) == ()
    first, second = judge(data, looks=looks)
    assert (first.verdict, second.verdict) == ("supported", "undecided")
    assert second.ci_low < 0 < second.ci_high
    assert second.ci_level == pytest.approx(1 - 0.05 * 2 / 7)
    assert second.look is None


def test_a_look_waits_for_its_runs_but_not_for_those_that_failed(tmp_path):
    plan = make_plan(claims=[degradation(), RESCUE], seeds=range(5))
    fresh = begin(None, schedule(20))
    gap = tables.load(plan, fill_store(tmp_path / "a", plan, missing=[("plain/56", 3)]))
    assert judge_look(gap, fresh) is fresh
    broken = tables.load(plan, fill_store(tmp_path / "b", plan, failed=[("residual/56", 3)]))
    looks = judge_look(broken, fresh)
    assert set(looks.done[0].decisions) == {degradation().digest}
    assert looks.done[0].decisions[degradation().digest].remaining == 2  # what cannot be judged still counts


def test_seeds_added_after_a_verdict_are_no_longer_controlled(grown):
    looks = read_as_planned(grown(5, **CLEAR), None)
    assert (looks.schedule, len(looks.done)) == ((5,), 1)
    assert read_as_planned(grown(5, **CLEAR), looks) == looks
    assert all("error rate not controlled" not in verdict.flags for verdict in judge(grown(5, **CLEAR), looks=looks))
    data = grown(9, **CLEAR)
    for after in (looks, read_as_planned(data, looks)):
        verdict = judge(data, looks=after)[0]
        assert verdict.n == 9
        assert "error rate not controlled" in verdict.flags
        assert "Error rate not controlled" in verdict.words


def test_a_schedule_begun_after_a_verdict_is_not_controlled(grown):
    looks = begin(read_as_planned(grown(5, **CLEAR), None), schedule(20))
    assert (looks.schedule, looks.controlled) == (schedule(20), False)
    assert begin(begin(None, schedule(20)), schedule(40)).controlled  # nothing was read yet


def test_withdrawn_and_post_hoc_claims(grown):
    # A withdrawn claim still counts; a post hoc one is judged by itself at every look and is not waited for.
    data = grown(5, claims=(RESCUE,), registered=("0123456789abcdef", RESCUE.digest), **CLEAR)
    looks = judge_look(data, begin(None, schedule(20)))
    assert looks.done[0].decisions[RESCUE.digest].remaining == 2
    later = replace(data, plan=replace(data.plan, claims=(RESCUE, degradation())))
    assert judge(later, looks=looks)[1].post_hoc
    assert judge(later, looks=looks)[1].verdict == "supported"
    assert degradation().digest not in judge_look(later, begin(None, schedule(20))).done[0].decisions


def test_next_seeds_goes_on_from_the_seeds_of_the_study():
    plan = make_plan(claims=[RESCUE], seeds=(3, 0, 8))
    assert next_seeds(plan, Looks((5, 7))) == (3, 0, 8, 1, 2)
