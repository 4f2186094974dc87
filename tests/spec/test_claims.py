"""Claims: what an expectation means, when two claims are the same one, and claims beside the cells of a scale."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_lab.spec.claims import Claim, Fails, Region, Trend, claim_problems, parse_expect
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.reading import parse_ablation
from resnet_lab.spec.resolve import Question, resolve

CLAIM = Claim(name="c", contrast={"a": 1, "b": -1}, expect="> 0")


@pytest.mark.parametrize(
    ("text", "low", "high"), [("> 0", 0, math.inf), (">2.5", 2.5, math.inf), ("< -1e1", -math.inf, -10), ("within 0.5", -0.5, 0.5)]
)
def test_expectations(text: str, low: float, high: float) -> None:
    assert parse_expect(text) == Region(low, high)


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
        (Claim("c", {"a": 1}, "> 0"), "expect", "always holds"),
        (Claim("c", {"a": 1, "b": 0}, "> -3"), "expect", "always holds"),
        (replace(CLAIM, expect="within 150"), "expect", "always holds"),
        (Claim("c", {"a": 1}, "< -1"), "expect", "can never hold"),
        (replace(CLAIM, expect="> 1", effect=0.5), "effect", "is outside"),
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


BASE = """
question = "q?"
[arms.plain]
network.shortcut = "none"
[arms.residual]
network.shortcut = "identity"
[training]
epochs = 2
[grid]
network.layers = [20, 32, 56]
training.schedule = ["cosine", "one_cycle"]
"""


def asked(claim: str, *overrides: str) -> Question:
    ablation = parse_ablation(BASE + '[[claims]]\nname = "c"\n' + claim, Path("q.toml"), "q")
    return resolve(ablation, None, facts=lambda data: DATASETS[data.name], overrides=overrides)


def test_a_trend_is_the_slope_over_its_axis_averaged_over_the_others() -> None:
    """(x - mean) / Sxx: mean 36, Sxx 672; each depth has two cells. Would catch weights that do not give a slope of one for y = x."""
    claim = asked('trend = { axis = "layers", arm = "plain" }\nexpect = "> 0"\n').claims[0]
    (weights,) = claim.contrasts
    assert weights["plain/20/cosine"] == pytest.approx(-16 / 672 / 2)
    assert sum(weights.values()) == pytest.approx(0)
    assert sum(weight * float(cell.split("/")[1]) for cell, weight in weights.items()) == pytest.approx(1)
    assert not claim.is_level


def test_a_difference_of_slopes() -> None:
    claim = asked('trend = { axis = "layers", arm = "plain", minus = "residual" }\nexpect = "> 0"\n').claims[0]
    (weights,) = claim.contrasts
    assert weights["residual/56/one_cycle"] == -weights["plain/56/one_cycle"]
    assert len(weights) == 12


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ('trend = { axis = "layer", arm = "plain" }\nexpect = "> 0"', "trend.axis: no axis 'layer'; did you mean 'layers'"),
        ('trend = { axis = "layers", arm = "plan" }\nexpect = "> 0"', "trend.arm: no arm 'plan'; did you mean 'plain'"),
        ('trend = { axis = "schedule", arm = "plain" }\nexpect = "> 0"', "trend.axis: no numbers on the axis"),
        ('trend = { axis = "layers", arm = "plain" }\nexpect = "> 30"', "expect: `> 30` can never hold"),
        (
            'contrast = [{ "plain/20/one_cycle" = 1 }, { "plain/33/one_cycle" = 1 }]\nexpect = "> 1"',
            "contrast: no cell 'plain/33/one_cycle'; did you mean",
        ),
        ('contrast = { "plain/33/one_cycle" = 1 }\nfails = { above = 20 }', "contrast: no cell 'plain/33/one_cycle'"),
    ],
)
def test_what_is_not_there_is_named(claim: str, says: str) -> None:
    with pytest.raises(SpecError, match=r"q\.toml:\d+: claims\.0\.") as caught:
        asked(claim + "\n")
    assert says in str(caught.value)


def test_a_trend_on_a_changed_grid_is_another_claim_or_put_aside() -> None:
    """Would catch a slope over other depths that keeps its place in the family."""
    claim = 'trend = { axis = "layers", arm = "plain" }\nexpect = "> 0"\n'
    whole, short = asked(claim), asked(claim, "grid.network.layers=[20, 56]")
    assert whole.claims[0].digest != short.claims[0].digest
    one = asked(claim, "grid.network.layers=[20]")
    assert one.claims == ()
    assert "is not judged: the grid as set here has only one value on the axis 'layers'" in one.warnings[0]


@pytest.mark.parametrize(
    ("expect", "metric", "warns"),
    [("within 0.005", "test_error", True), ("within 0.2", "test_error", True), ("> 0", "test_error", False), ("within 1", "train_error", False),
     ("within 0.01", "train_loss", False)],
)  # fmt: skip
def test_margins_that_look_like_shares_are_asked_about(expect: str, metric: str, warns: bool) -> None:
    """Half a percent written as 0.005: less than one of 360 test images."""
    claim = f'contrast = {{ "plain/20/one_cycle" = 1, "plain/56/one_cycle" = -1 }}\nexpect = "{expect}"\nmetric = "{metric}"\n'
    found = [warning for warning in asked(claim).warnings if "errors are in percent" in warning]
    assert bool(found) == warns
