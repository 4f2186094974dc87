"""Tests of the tests: against scipy's own t test and binomial test, numbers worked by hand, and Holm's definition."""

import math

import numpy as np
import pytest
import scipy.stats

from resnet_lab.analysis.statistics import (
    Estimate,
    correlation,
    estimate_interval,
    estimate_sides,
    holm,
    larger,
    paired_estimate,
    sign_sides,
    spearman,
)
from resnet_lab.spec.claims import Region, parse_expect

DIFFERENCES = np.array([1.2, 0.4, -0.3, 2.0, 0.9, 1.1])
ABOVE = Region(0.0, math.inf)


def t_sides(values, region):
    return estimate_sides(paired_estimate(values), region)


@pytest.mark.parametrize("boundary", [-1.0, 0.0, 0.5, 3.0])
@pytest.mark.parametrize("kind", [">", "<"])
def test_paired_t_is_the_one_sample_t_test_at_the_boundary(kind, boundary):
    # Catches a wrong n - 1, a population deviation, or a one-sided p.
    estimate = paired_estimate(DIFFERENCES)
    assert (estimate.mean, estimate.se, estimate.df) == (pytest.approx(DIFFERENCES.mean()), pytest.approx(scipy.stats.sem(DIFFERENCES)), 5)
    p = t_sides(DIFFERENCES, parse_expect(f"{kind} {boundary}")).p
    assert p == pytest.approx(scipy.stats.ttest_1samp(DIFFERENCES, boundary).pvalue)


@pytest.mark.parametrize(("mean", "nearest"), [(0.4, 1.0), (-0.4, -1.0), (2.5, 1.0), (-2.5, -1.0)])
def test_equivalence_is_tested_at_the_nearest_margin(mean, nearest):
    # Catches testing against zero, or against the far margin.
    values = mean + np.array([-0.2, 0.1, 0.3, -0.2])
    assert t_sides(values, parse_expect("within 1")).p == pytest.approx(scipy.stats.ttest_1samp(values, nearest).pvalue)


def test_equal_values_have_no_t_whatever_they_are():
    # Catches the rounding of a mean: the mean of seven 0.1 is not 0.1, and t would be huge.
    assert paired_estimate(np.full(7, 0.1)) == Estimate(0.1, 0.0, 6)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.9875])
def test_t_interval_is_scipys(level):
    # Catches 1.96, or one-sided quantiles.
    expected = scipy.stats.t.interval(level, 5, DIFFERENCES.mean(), scipy.stats.sem(DIFFERENCES))
    assert estimate_interval(paired_estimate(DIFFERENCES), level) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "p"), [([1, 1, 1, 1, 1], 2 / 32), ([1] * 6, 2 / 64), ([1, 1, 1, 1, -1], 12 / 32), ([1, -1], 1.0), ([0, 0], 1.0)]
)
def test_sign_test_counts_coin_tosses(values, p):
    # Worked by hand; five seeds can never reach 0.05. Catches a normal approximation and counting zeros as tosses.
    assert sign_sides(np.array(values, dtype=float), ABOVE).p == pytest.approx(p)


def test_sign_test_is_scipys_and_drops_ties_with_the_boundary():
    # Catches dropping zeros when the boundary is not zero.
    values = np.array([0.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert sign_sides(values, Region(2.0, math.inf)).p == pytest.approx(scipy.stats.binomtest(4, 5).pvalue)


def test_sign_test_of_equivalence_needs_both_margins():
    # Values on both sides far outside must not pass as equivalent because most lie below the upper margin.
    spread = np.array([-3.0] * 12 + [3.0] * 2)
    sides = sign_sides(spread, parse_expect("within 1"))
    assert not sides.leans_inside
    assert sign_sides(np.zeros(10), parse_expect("within 1")).inside == pytest.approx(2.0**-10)


def test_tests_that_point_opposite_ways_decide_nothing():
    # Five far outliers turn the mean against the majority: neither side may win by the larger of two small p.
    values = np.array([0.1] * 14 + [0.12] + [-50.0, -60.0, -55.0, -65.0, -52.0])
    t, sign = t_sides(values, ABOVE), sign_sides(values, ABOVE)
    assert (t.p < 0.05, sign.p < 0.05, larger(t, sign).p) == (True, True, 1.0)


def test_holm_steps_down_and_names_each_level():
    # alpha/4, alpha/3, then 0.03 > alpha/2 stops it: what follows stays undecided at alpha/2, though 0.04 <= alpha/1.
    steps = holm([0.03, 0.001, 0.04, 0.015], 0.05)
    assert [step.decided for step in steps] == [False, True, False, True]
    assert [step.level for step in steps] == pytest.approx([0.025, 0.0125, 0.025, 0.05 / 3])
    assert [step.remaining for step in steps] == [2, 4, 2, 3]


def test_holm_counts_claims_without_a_p():
    # A waiting claim has no p yet; leaving it out would let the others be decided at too high a level.
    steps = holm([None, 0.03], 0.05)
    assert [step.decided for step in steps] == [False, False]
    assert [step.level for step in steps] == [0.025, 0.025]


def test_holm_decides_all_where_all_are_small_and_takes_p_at_the_level():
    # `<=`, not `<`.
    assert all(step.decided for step in holm([0.05, 0.025, 0.01], 0.05))
    assert holm([], 0.05) == ()


def test_correlation_is_given_only_where_it_means_something():
    # Two points always lie on a line, and a constant arm has no correlation.
    assert correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 7])) == pytest.approx(np.corrcoef([1, 2, 3], [2, 4, 7])[0, 1])
    assert math.isnan(correlation(np.array([1.0, 2]), np.array([2.0, 4])))
    assert math.isnan(correlation(np.array([1.0, 1, 1]), np.array([2.0, 4, 7])))


def test_rank_correlation_is_scipys_with_ties_and_is_none_without_spread():
    """Catches ranks that part ties by their order, a correlation of the numbers themselves, and 1 or 0 where there is nothing to order."""
    first, second = np.array([1.0, 10.0, 10.0, 1000.0, 3.0]), np.array([2.0, 5.0, 4.0, 90.0, 2.0])
    assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
    assert spearman(np.array([1.0, 2, 1000]), np.array([3.0, 4, 5])) == pytest.approx(1.0)
    assert math.isnan(spearman(np.array([1.0, 2]), np.array([3.0, 4])))
    assert math.isnan(spearman(np.array([1.0, 2, 3]), np.array([4.0, 4, 4])))
