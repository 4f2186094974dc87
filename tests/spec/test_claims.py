"""Claims: what an expectation means, and when two claims are the same one."""

import math
from dataclasses import replace

import pytest

from resnet_lab.spec.claims import Claim, Fails, Region, Trend, claim_problems, parse_expect
from resnet_lab.spec.errors import SpecError

CLAIM = Claim(name="c", contrast={"a": 1, "b": -1}, expect="> 0")


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("> 0", Region(0, math.inf)),
        (">2.5", Region(2.5, math.inf)),
        ("< -1e1", Region(-math.inf, -10)),
        ("within 0.5", Region(-0.5, 0.5)),
    ],
)
def test_expectations(text: str, region: Region) -> None:
    assert parse_expect(text) == region


@pytest.mark.parametrize("text", ["", "0", ">= 0", "> x", "within 0", "within -1", "> 1 %", "> nan"])
def test_what_is_no_expectation(text: str) -> None:
    with pytest.raises(SpecError):
        parse_expect(text)


def test_the_digest_covers_what_is_tested_and_nothing_else() -> None:
    """Would catch a claim that becomes post hoc by a better wording, or one that keeps its place with another threshold."""
    same = [
        replace(CLAIM, name="d"),
        replace(CLAIM, statement="better words"),
        replace(CLAIM, contrast={"b": -1.0, "a": 1.0}),
        replace(CLAIM, expect=">0.0"),
    ]
    other = [replace(CLAIM, expect="> 1"), replace(CLAIM, metric="test_error"), replace(CLAIM, contrast={"a": 1, "b": -2})]
    assert {claim.digest for claim in same} == {CLAIM.digest}
    assert len({claim.digest for claim in [CLAIM, *other]}) == 4


def test_a_contrast_that_does_not_cancel_is_a_level() -> None:
    assert not CLAIM.is_level
    assert replace(CLAIM, contrast={"a": 1}).is_level


def test_the_digest_of_claims_made_before_is_what_it_was() -> None:
    """Studies have these registered: another hash would make their claims post hoc."""
    assert CLAIM.digest == "923f68cd9830ce7e"
    assert Claim("x", {"plain/56": 1, "plain/20": -1}, "within 0.5", metric="test_error").digest == "c2a5db75fa6453a2"


def test_the_digest_covers_what_else_decides_a_verdict() -> None:
    """Would catch Welch chosen from the data, or an `above` moved after the first run."""
    fails = Claim("f", {"a": 1}, fails=Fails(20))
    several = replace(CLAIM, contrast=({"a": 1, "b": -1}, {"a": 1, "c": -1}))
    different = [
        CLAIM,
        replace(CLAIM, pairing="none"),
        several,
        replace(several, contrast=({"a": 1, "b": -1}, {"a": 1, "d": -1})),
        fails,
        replace(fails, fails=Fails(30)),
        replace(fails, fails=Fails(20, 0.8)),
        replace(fails, expect="< 0.5"),
        Claim("f", {"a": 1}, "> 0.5"),
    ]
    assert len({claim.digest for claim in different}) == len(different)
    assert replace(several, contrast=several.contrasts[::-1]).digest == several.digest
    assert replace(CLAIM, contrast=({"a": 1, "b": -1},)).digest == CLAIM.digest
    assert replace(fails, expect="> 0.5").digest == fails.digest
    assert replace(CLAIM, effect=3.0).digest == CLAIM.digest


@pytest.mark.parametrize(
    ("claim", "key", "says"),
    [
        (Claim("c", expect="> 0"), "contrast", "is missing"),
        (Claim("c", {"a": 1, "b": -1}), "expect", "is missing"),
        (replace(CLAIM, trend=Trend("layers", "plain")), "trend", "not both"),
        (replace(CLAIM, contrast=({"a": 1}, {"b": 0})), "contrast", "all weights are zero"),
        (replace(CLAIM, expect="> 1 %"), "expect", "in percentage points already"),
        (replace(CLAIM, expect="within 0.1 nats", metric="test_loss"), "expect", "in nats already"),
        (replace(CLAIM, expect="> 100"), "expect", "can never hold"),
        (Claim("c", {"a": 1}, "> 0"), "expect", "holds whatever is measured"),
        (Claim("c", {"a": 1, "b": 0}, "> -3"), "expect", "holds whatever is measured"),
        (replace(CLAIM, expect="within 150"), "expect", "holds whatever is measured"),
        (Claim("c", {"a": 1}, "< -1"), "expect", "can never hold"),
        (replace(CLAIM, expect="> 1", effect=0.5), "effect", "does not lie in"),
        (Claim("c", {"a": 1, "b": -1}, fails=Fails(20)), "contrast", "one cell at a time"),
        (Claim("c", {"a": 1}, fails=Fails(0.2)), "fails.above", "for 20 % write 20"),
        (Claim("c", {"a": 1}, metric="test_loss", fails=Fails(20)), "metric", "write train_error or test_error"),
        (Claim("c", {"a": 1}, "> 0.7", fails=Fails(20)), "expect", "the share that `fails` names"),
        (Claim("c", {"a": 1}, pairing="none", fails=Fails(20)), "pairing", "no pairs"),
        (Claim("c", {"a": 1}, fails=Fails(20), effect=2.0), "effect", "from 0 to 1"),
    ],
)
def test_bad_claims_are_refused_with_a_remedy(claim: Claim, key: str, says: str) -> None:
    found = claim_problems(claim)
    assert [problem.key for problem in found] == [key]
    assert says in found[0].message


@pytest.mark.parametrize(
    "claim",
    [
        CLAIM,
        Claim("c", {"a": 1}, "> 20"),
        Claim("c", {"a": 1}, fails=Fails(20), effect=0.9),
        Claim("c", {"a": 1}, "< 0.2", fails=Fails(20, 0.2)),
        Claim("c", {"a": 1, "b": -1}, "> 150", metric="train_loss"),
        Claim("c", expect="> 0", trend=Trend("layers", "plain")),
    ],
)
def test_good_claims_are_not(claim: Claim) -> None:
    assert claim_problems(claim) == []
