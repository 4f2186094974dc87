"""Claims: what an expectation means, and when two claims are the same one."""

import math
from dataclasses import replace

import pytest

from resnet_lab.spec.claims import Claim, Region, parse_expect
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
        replace(CLAIM, says="better words"),
        replace(CLAIM, contrast={"b": -1.0, "a": 1.0}),
        replace(CLAIM, expect=">0.0"),
    ]
    other = [replace(CLAIM, expect="> 1"), replace(CLAIM, metric="test_error"), replace(CLAIM, contrast={"a": 1, "b": -2})]
    assert {claim.digest for claim in same} == {CLAIM.digest}
    assert len({claim.digest for claim in [CLAIM, *other]}) == 4


def test_a_contrast_that_does_not_cancel_is_a_level() -> None:
    assert not CLAIM.is_level
    assert replace(CLAIM, contrast={"a": 1}).is_level
