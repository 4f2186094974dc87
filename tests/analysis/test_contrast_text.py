"""Sentences about contrasts: which cell is worse, by how much, and what a claim expects."""

import pytest
from factories import degradation

from resnet_lab.analysis.contrast_text import expected, oriented, shown_interval, told
from resnet_lab.spec.claims import Claim, Trend

PAIR = {"plain/56": 1.0, "plain/20": -1.0}
FOUR = {"plain/56": 1.0, "plain/20": -1.0, "residual/56": -1.0, "residual/20": 1.0}


@pytest.mark.parametrize(
    ("contrast", "effect", "says"),
    [
        (PAIR, 62.61, "plain/56 ends 62.6 points worse than plain/20"),
        (PAIR, -3.0, "plain/56 ends 3.0 points better than plain/20"),
        ({"plain/20": -1.0, "plain/56": 1.0}, 2.0, "plain/56 ends 2.0 points worse than plain/20"),
        (FOUR, -2.0, "plain/56 trails plain/20 by 2.0 points less than residual/56 trails residual/20"),
        ({"plain/56": 1.0}, 63.2, "plain/56 ends at 63.2 % error"),
        ({"a": 1.0, "b": -2.0, "c": 1.0}, -1.5, "a − 2 × b + c is −1.5 points"),
    ],
)
def test_what_was_measured_in_words(contrast, effect, says):
    """Would catch the better cell being called the worse one, and weights that a sentence drops."""
    assert told(Claim("x", contrast, "> 0"), contrast, effect, 1) == says


def test_a_higher_accuracy_is_better():
    """Would catch the better of two nets being called the worse one because its number is higher."""
    claim = degradation(metric="test_accuracy", expect="< -2")
    assert told(claim, PAIR, -62.61, 1) == "plain/56 ends 62.6 points worse than plain/20"
    assert told(claim, FOUR, -2.0, 1) == "plain/56 trails plain/20 by 2.0 points more than residual/56 trails residual/20"
    assert told(claim, {"plain/56": 1.0}, 36.8, 1) == "plain/56 ends at 36.8 % accuracy"
    assert expected(claim, PAIR) == "plain/56 more than 2 points worse than plain/20"
    assert expected(degradation(metric="test_accuracy", expect="> 0"), PAIR) == "plain/56 better than plain/20"


def test_slopes_and_losses_have_their_own_units():
    """Would catch a slope or a loss in percentage points of error."""
    slope = Claim("x", {"plain/20": -0.5, "plain/56": 0.5}, "> 0", metric="test_loss", trend=Trend("layers", "plain", minus="residual"))
    assert told(slope, slope.contrasts[0], -0.01, 2) == "plain gets 0.01 nats better per unit of layers than residual does"


def test_an_interval_is_turned_with_its_sentence():
    """Would catch `better by 3` beside an interval from -4 to -2, and an equation whose interval is turned although its effect is not."""
    claim = degradation()
    assert oriented(claim, PAIR, -3.0, (-4.0, -2.0)) == (2.0, 4.0)
    assert oriented(claim, PAIR, 3.0, (-1.0, 7.0)) == (-1.0, 7.0)
    assert oriented(claim, {"a": 1.0, "b": -2.0, "c": 1.0}, -3.0, (-4.0, -2.0)) == (-4.0, -2.0)


@pytest.mark.parametrize(
    ("ends", "boundaries", "says"),
    [
        ((46.31, 78.9), (0.0,), "46 to 79"),
        ((0.3, 33.0), (0.0,), "0.3 to 33.0"),
        ((-0.91, 0.94), (-1.0, 1.0), "−0.91 to 0.94"),
        ((-20.4, 0.96), (1.0,), "−20.40 to 0.96"),
        ((0.0, 20.0), (5.0,), "0 to 20"),
    ],
)
def test_rounding_moves_no_end_across_what_the_claim_expects(ends, boundaries, says):
    """Would catch `supported` beside an interval that starts at 0, only because its end was rounded."""
    assert shown_interval(ends, boundaries) == says


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        ("> 0", "plain/56 worse than plain/20"),
        ("< 0", "plain/56 better than plain/20"),
        ("> 2", "plain/56 more than 2 points worse than plain/20"),
        ("< 1", "plain/56 less than 1 point worse than plain/20"),
        ("> -1", "plain/56 less than 1 point better than plain/20"),
        ("< -2", "plain/56 more than 2 points better than plain/20"),
        ("within 1", "plain/56 and plain/20 less than 1 point apart"),
    ],
)
def test_what_a_claim_expects_in_words(expect, says):
    """Would catch an inequality whose sense is lost with its minus sign."""
    assert expected(degradation(expect=expect), PAIR) == says
