"""The headline of a study: the question answered half by half, and no half left out."""

import pytest
from factories import degradation, make_plan

from resnet_lab.analysis.headline import headline
from resnet_lab.analysis.verdicts import judge
from resnet_lab.spec.claims import Answers, Claim, Fails

PLAIN = degradation(answers=Answers("Plain nets"))
RESIDUAL = Claim(
    "residual_nets_do_not_degrade", {"residual/56": 1.0, "residual/20": -1.0}, "< 1", answers=Answers("Residual nets", supported="no")
)
HALVES = (PLAIN, RESIDUAL)
PLAIN_RUNS = {"plain/56": [60.0, 70, 65, 68, 66], "plain/20": [35.0, 36, 35, 36, 36]}


def said(study, residual, claims=HALVES, **fields):
    data = study(
        {**PLAIN_RUNS, "residual/20": [30.0, 31, 30, 31, 30], "residual/56": [30 + size for size in residual]}, claims=claims, **fields
    )
    return headline(data.plan, judge(data))


@pytest.mark.parametrize(
    ("residual", "expected"),
    [
        ((2.2, 3.3, 2.1, 3.4, 2.2), "Plain nets: yes, +30 points. Residual nets: slightly, +2.2 points."),
        ((0.1, 1.2, 0.2, 1.0, 0.1), "Plain nets: yes, +30 points. Residual nets: no, +0.12 points."),
        ((-4.0, 1.0, 0.0, 1.1, 8.5), "Plain nets: yes, +30 points. Residual nets: undecided, +0.92 points."),
        ((9.0, 10.2, 9.1, 10.2, 9.2), "Plain nets: yes, +30 points. Residual nets: yes, +9.1 points."),
    ],
)  # fmt: skip
def test_both_halves_are_answered_in_one_line(study, residual, expected):
    """Would catch a headline that is silent about the half that failed, a yes where the claim is undecided, and a slight effect told as a large one."""
    assert said(study, residual) == expected


def test_a_half_says_how_it_was_judged(study):
    """Would catch a post hoc claim passing for a registered one in the one line that everybody reads, and an answer before the seeds are there."""
    late = said(study, (2.2, 3.3, 2.1, 3.4, 2.2), registered=(PLAIN.digest,))
    assert late.endswith("Residual nets: slightly, +2.2 points (post hoc).")
    early = said(study, (2.2, 3.3, 2.1, 3.4, 2.2), missing=[("residual/56", 4)])
    assert early.endswith("Residual nets: not known yet.")


def test_where_no_claim_names_a_half_verdicts_are_counted(study):
    """Would catch a question of one's own whose report has no headline, or one that names the supported claims alone."""
    claims = (degradation(), degradation(name="wrong", expect="< 0"), degradation(name="close", expect="> 30"))
    assert said(study, (0,) * 5, claims=claims) == "Supported: 1 of 3 claims. Contradicted: wrong. Undecided: close."


def test_units_other_than_points(study):
    """Would catch shares of seeds and losses being told as percentage points."""
    fails = Claim("fails", {"plain/56": 1.0}, fails=Fails(50.0), answers=Answers("Plain nets fail"))
    loss = degradation(metric="train_loss", answers=Answers("In loss"))
    assert said(study, (0,) * 5, claims=(fails,)) == "Plain nets fail: undecided, 100 % of the seeds."
    assert said(study, (0,) * 5, claims=(loss,)).endswith(" nats.")


def test_what_is_no_evidence_has_no_headline():
    """Would catch the smoke scale answering the question."""
    assert headline(make_plan(evidence=False), ()) == headline(make_plan(claims=()), ()) == ""
