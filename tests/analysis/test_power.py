"""Seeds needed: the project's table, the formula against noncentral t and simulation, and what a plan is told."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from resnet_lab.analysis.power import (
    Spread,
    joint_power,
    largest_spread,
    least_effect,
    planned_power,
    power,
    region_power,
    region_seeds,
    seeds_for,
    seeds_needed,
    share_power,
    spread_of,
    spreads,
    too_few_signs,
)
from resnet_lab.spec.claims import Claim, Fails, Region
from resnet_lab.spec.errors import SpecError

PAIR = {"plain/56": 1.0, "plain/20": -1.0}


@pytest.mark.parametrize(("alpha", "seeds"), [(0.05, [34, 15, 10, 6, 5, 4]), (0.0125, [48, 21, 15, 9, 7, 5])])
def test_the_table_of_seeds_needed(alpha, seeds):
    # The table that was checked by simulation. Catches z for t, one-sided tests, a formula without its spread of s.
    assert [seeds_needed(d, alpha) for d in (0.5, 0.8, 1, 1.5, 2, 3)] == seeds


@pytest.mark.parametrize(("d", "n", "alpha"), [(0.5, 12, 0.05), (1.0, 5, 0.0125), (3.0, 3, 0.05)])
def test_power_is_the_double_integral_that_it_stands_for(d, n, alpha):
    # Against adaptive integration over the density of the sample deviation. Catches a quadrature that is too coarse at few seeds.
    t = scipy.stats.t.ppf(1 - alpha / 2, n - 1)

    def integrand(w):
        found = scipy.stats.norm.cdf(d * math.sqrt(n) - t * w) + scipy.stats.norm.cdf(-d * math.sqrt(n) - t * w)
        return found * scipy.stats.chi.pdf(w * math.sqrt(n - 1), n - 1) * math.sqrt(n - 1)

    assert power(d, n, alpha) == pytest.approx(scipy.integrate.quad(integrand, 0, 12, limit=200)[0], abs=1e-5)


@pytest.mark.parametrize(
    ("n", "alpha", "margin", "effect"), [(5, 0.0125, 2.47, 0.0), (10, 0.05, 1.0, 0.0), (34, 0.05, 0.5, 0.0), (10, 0.05, 1.5, 0.4)]
)
def test_power_of_an_equivalence_counts_both_boundaries(n, alpha, margin, effect):
    # Against 200,000 simulated studies. Catches the power of the nearest boundary alone, which says 0.80 where 0.6 is true.
    values = np.random.default_rng(n).normal(effect, 1.0, size=(200_000, n))
    half = scipy.stats.t.ppf(1 - alpha / 2, n - 1) * values.std(axis=1, ddof=1) / math.sqrt(n)
    shown = np.mean(np.abs(values.mean(axis=1)) + half < margin)
    found = region_power(effect, 1.0, n, Region(-margin, margin), alpha)
    assert found == pytest.approx(shown, abs=4 * math.sqrt(0.25 / 200_000))
    assert power(margin - abs(effect), n, alpha) > found


@pytest.mark.parametrize("region", [Region(0.0, math.inf), Region(-math.inf, 4.0), Region(-2.0, 4.0)])
def test_the_widest_spread_is_where_the_power_is_what_was_asked_for(region):
    widest = largest_spread(1.5, 7, region, 0.0125)
    assert region_power(1.5, widest, 7, region, 0.0125) == pytest.approx(0.8)
    assert region_seeds(1.5, widest * 0.999, region, 0.0125) == 7
    assert largest_spread(1.5, 1, region) == 0


def test_power_at_no_effect_is_alpha_and_one_seed_has_none():
    assert power(0.0, 7) == pytest.approx(0.05, abs=1e-6)
    assert power(5.0, 1) == 0
    assert seeds_needed(0.0) is None
    assert seeds_needed(0.1) == 787
    assert power(0.1, 787) >= 0.8 > power(0.1, 786)
    assert power(least_effect(5), 5) == pytest.approx(0.8)
    assert least_effect(1) == math.inf


@pytest.mark.parametrize("n", [6, 9, 15])
def test_power_of_a_claim_about_failing_is_the_sum_of_its_binomial_terms(n):
    # Catches a tail that leaves its own count out.
    region, probability = Region(0.5, math.inf), 0.9
    expected = sum(
        scipy.stats.binom.pmf(count, n, probability)
        for count in range(n + 1)
        if 2 * min(scipy.stats.binom.sf(count - 1, n, 0.5), scipy.stats.binom.cdf(count, n, 0.5)) <= 0.05
    )
    assert share_power(probability, n, region) == pytest.approx(expected)


def spread(sd=1.0, low=0.6, high=2.9, n=5):
    """The spread of one contrast."""
    return Spread(np.array([[sd**2]]), n, low, high)


def test_the_interval_of_a_spread_covers_the_truth_as_often_as_it_says_and_misses_it_on_either_side():
    # Catches an interval that ends at the spread measured, as "14 to 58 seeds" did: half of all truths are below it.
    found = [spread_of(row[None]) for row in np.random.default_rng(0).normal(size=(4000, 5))]
    below, above = (np.mean([each.low * each.sd > 1 for each in found]), np.mean([each.high * each.sd < 1 for each in found]))
    assert (below, above) == pytest.approx((0.025, 0.025), abs=0.008)
    assert (found[0].low, found[0].high) == pytest.approx((0.599, 2.874), abs=0.001)


def test_needed_seeds_are_a_range_from_both_ends_of_the_spread():
    claim = Claim("c", PAIR, "> 0", effect=2.0)
    assert seeds_for(claim, spread(low=0.5, high=2.0)) == (seeds_needed(4), seeds_needed(1))
    both = seeds_for(Claim("c", PAIR, "within 3", effect=1.0), spread(low=0.5, high=2.0))
    assert both == (region_seeds(1.0, 0.5, Region(-3, 3)), region_seeds(1.0, 2.0, Region(-3, 3)))
    with pytest.raises(SpecError, match="add `effect"):
        seeds_for(Claim("c", PAIR, "> 0"), spread())


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_power_of_several_contrasts_is_that_of_showing_all(correlation):
    """Would catch the power of one of three contrasts (0.84) passing for that of all three (0.6, were they independent)."""
    covariance = np.full((3, 3), correlation) + (1 - correlation) * np.eye(3)
    each = power(2.15, 5, 0.05)
    found = joint_power(2.15, Spread(covariance, 5, 0.6, 2.9), 5, Region(0.0, math.inf), 0.05)
    draws = np.random.default_rng(9).multivariate_normal([2.15] * 3, covariance, size=(40_000, 5))
    t = draws.mean(axis=1) / draws.std(axis=1, ddof=1) * math.sqrt(5)
    assert found == pytest.approx(np.mean(np.all(t > scipy.stats.t.ppf(0.975, 4), axis=1)), abs=0.015)
    assert found < each - 0.02
    if correlation == 0:
        assert found == pytest.approx(each**3, abs=0.015)


def test_a_claim_of_several_contrasts_goes_by_all_of_them():
    claim = Claim("s", (PAIR, {"residual/56": 1.0, "residual/20": -1.0}, {"plain/56": 1.0, "residual/20": -1.0}), "> 0", effect=2.15)
    several = Spread(np.eye(3), 5, 0.6, 2.9)
    (told,) = planned_power([claim], 5, known={"s": several})
    assert told.power == joint_power(2.15, several, 5, claim.region)
    assert (told.power, told.can_decide) == (pytest.approx(0.83, abs=0.01), True)
    (less,) = planned_power([replace(claim, effect=1.8)], 5, known={"s": several})
    assert (power(1.8, 5) > 0.8 > less.power, less.can_decide) == (True, False)
    low, high = told.needed
    assert low == 4 or joint_power(2.15, several, low - 1, claim.region, factor=0.6) < 0.8
    assert joint_power(2.15, several, low, claim.region, factor=0.6) >= 0.8
    assert (
        joint_power(2.15, several, high, claim.region, factor=2.9) >= 0.8 > joint_power(2.15, several, high - 1, claim.region, factor=2.9)
    )
    (one,) = planned_power([Claim("one", PAIR, "> 0", effect=2.15)], 5)
    assert told.largest_sd < one.largest_sd  # whatever their correlation


def test_divergence_that_could_not_be_decided_is_foretold():
    """Would catch five seeds in the plan of a net that may diverge, where the sign test of five cannot decide anything."""
    claims = [Claim(str(i), PAIR, "> 0") for i in range(4)]
    assert "5 seeds give them a p of 0.0625 at least: no claim could be decided on their cells; 8 seeds could" in too_few_signs(claims, 5)
    assert "not every claim could be decided" in too_few_signs(claims, 6)
    assert too_few_signs(claims, 8) == too_few_signs([], 5) == too_few_signs([Claim("f", {"plain/56": 1.0}, fails=Fails(20))], 5) == ""


def test_a_plan_is_told_what_its_seeds_can_decide():
    claims = [
        Claim("known", PAIR, "> 0", effect=5.0),
        Claim("unknown", PAIR, "> 1", effect=5.0),
        Claim("silent", PAIR, "> 0"),
        Claim("fails", {"plain/56": 1.0}, fails=Fails(20), effect=0.99),
    ]
    known, unknown, silent, fails = planned_power(claims, 5, known={"known": spread()})
    assert known.can_decide
    assert known.needed == (seeds_needed(5 / 0.6, 0.0125), seeds_needed(5 / 2.9, 0.0125))
    assert "s = 1 in 5 runs (95 % interval 0.6 to 2.9)" in known.words
    assert unknown.can_decide is None
    assert unknown.largest_sd == pytest.approx(4 / least_effect(5, 0.0125))
    assert silent.can_decide is None
    assert "add `effect" in silent.words
    assert not fails.can_decide
    assert "takes 8" in fails.words  # all-fail at alpha / 4
    assert not planned_power(claims[:1], 1)[0].can_decide


def test_words_of_power_fit_the_claim():
    """Would catch "0 percentage points is found", and the spread that one contrast may have passing for that of all."""
    within, several = planned_power(
        [Claim("w", PAIR, "within 2", effect=0.0), Claim("s", (PAIR, {"a": 1.0, "b": -1.0}), "> 0", effect=5.0)], 5
    )
    assert "0 percentage points is shown to lie within 2 by 5 seeds" in within.words
    assert "all of its 2 contrasts together, whatever their correlation" in several.words


@pytest.mark.parametrize(("claims", "n"), [(1, 6), (4, 8), (10, 9)])
def test_all_failing_takes_so_many_seeds(claims, n):
    # 2 / 2^n against alpha / r, as the rules state it.
    family = [Claim(str(i), {"plain/56": 1.0}, fails=Fails(20)) for i in range(claims)]
    assert planned_power(family, n)[0].can_decide is None
    assert planned_power(family, n - 1)[0].can_decide is False


def test_spreads_come_from_the_runs_and_effects_do_not(study):
    claims = [Claim("c", PAIR, "> 0", effect=5.0), Claim("level", {"plain/20": 1.0}, "> 0")]
    found = spreads(study({"plain/56": [10.0, 12, 14, 16, 18], "plain/20": 5.0}, claims=claims))
    assert found["c"].sd == pytest.approx(math.sqrt(10))
    assert "level" not in found  # it has no spread
