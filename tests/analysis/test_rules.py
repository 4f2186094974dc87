"""Verdicts beyond the paired t test: failing, mixed cells, no pairing, several contrasts, trends, new images."""

import math
import re

import numpy as np
import pytest
import scipy.stats
from factories import degradation

from resnet_lab.analysis.statistics import (
    estimate_sides,
    larger,
    paired_estimate,
    satterthwaite,
    share_bound,
    share_interval,
    share_sides,
    sign_sides,
    welch_estimate,
)
from resnet_lab.analysis.verdicts import judge
from resnet_lab.runs.record import correct_bits
from resnet_lab.spec.claims import Claim, Fails, Region, Trend, parse_expect

FAILS = Claim("fails", {"plain/56": 1.0}, fails=Fails(20.0))
DEEP = [50.0, 60, 55, 70, 52, 58]


def only(data, **options):
    (verdict,) = judge(data, **options)
    return verdict


@pytest.mark.parametrize(("count", "n"), [(0, 5), (3, 7), (9, 9)])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_shares_are_scipys_exact_ones(count, n, share):
    # Catches a tail without its own count, and a normal approximation.
    sides = share_sides(count, n, Region(share, math.inf))
    assert sides.inside == pytest.approx(scipy.stats.binom.sf(count - 1, n, share))
    assert sides.outside == pytest.approx(scipy.stats.binom.cdf(count, n, share))
    expected = scipy.stats.binomtest(count, n).proportion_ci(0.9, method="exact")
    assert share_interval(count, n, 0.9) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("n", "outcome"), [(5, "undecided"), (6, "supported")])
def test_all_runs_failing_takes_six_seeds(study, n, outcome):
    verdict = only(study({"plain/56": DEEP[:n]}, claims=[FAILS], seeds=range(n)))
    assert (verdict.verdict, verdict.effect, verdict.p) == (outcome, 1.0, pytest.approx(2.0 ** (1 - n)))
    assert (verdict.ci_low, verdict.ci_high) == pytest.approx((0.025 ** (1 / n), 1.0))
    assert (verdict.unit, verdict.above, verdict.expect, verdict.level) == ("share of seeds", 20.0, "> 0.5", False)
    assert (verdict.verdict == "supported") == (verdict.ci_low >= 0.5)
    assert f"fails to train (training error above 20 %) in {n} of {n} seeds" in verdict.words
    assert ("it takes 6" in verdict.words) == (outcome == "undecided")


def test_no_failure_seen_says_how_often_it_may_still_fail(study):
    # Zero of six is no proof of never: 1 - 0.05^(1/6) is 39 %.
    verdict = only(study({"plain/56": 3.0}, claims=[FAILS], seeds=range(6)))
    one = only(study(claims=[FAILS], seeds=(0,)))
    assert (one.verdict, one.ci_low, one.flags) == ("undecided", None, ("one seed",))
    assert verdict.verdict == "contradicted"
    assert verdict.failure_bound == pytest.approx(1 - 0.05 ** (1 / 6)) == share_bound(6)
    assert "at most 39 %" in verdict.words


def test_diverged_runs_fail_whatever_their_number(study):
    # Also above chance level, where the imputed error would not be above `above`.
    claim = Claim("fails", {"plain/56": 1.0}, fails=Fails(95.0))
    verdict = only(study({"plain/56": 3.0}, claims=[claim], seeds=range(6), diverged=[("plain/56", seed) for seed in range(6)]))
    assert (verdict.verdict, verdict.effect, verdict.diverged) == ("supported", 1.0, 6)
    assert "counted as failing" in verdict.words


def test_two_kinds_of_run_need_both_tests(study):
    # The claim about failing names the cell's `above`: runs lie on both sides of it, so the t interval of another claim is not shown.
    deep = [5.0, 6, 60, 70, 5.5, 65, 6.5, 80]
    first, _ = judge(study({"plain/56": deep, "plain/20": 3.0}, claims=[degradation(), FAILS], seeds=range(8)))
    differences, region = np.array(deep) - 3.0, parse_expect("> 0")
    assert first.p == pytest.approx(larger(estimate_sides(paired_estimate(differences), region), sign_sides(differences, region)).p)
    assert (first.ci_low, first.p_sign) == (None, 2 / 256)
    assert {"mixed", "counts only"} <= set(first.flags)
    assert "among runs like these: 4 of 8 runs of plain/56 failed to train (error above 20 %)" in first.words
    assert first.verdict == "undecided"
    all_fail, _ = judge(study({"plain/56": DEEP, "plain/20": 3.0}, claims=[degradation(), FAILS], seeds=range(6)))
    assert all_fail.ci_low is not None
    assert "mixed" not in all_fail.flags


def test_without_pairing_it_is_welchs_test(study):
    shallow = [10.0, 30, 2, 25, 8, 11]
    claim = degradation(pairing="none", expect="> 5")
    verdict = only(study({"plain/56": DEEP, "plain/20": shallow}, claims=[claim], seeds=range(6)))
    expected = scipy.stats.ttest_ind(np.array(DEEP) - 5, shallow, equal_var=False)
    assert verdict.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (verdict.ci_low, verdict.ci_high) == pytest.approx((low + 5, high + 5))
    assert "6 seeds per cell, unpaired" in verdict.words
    assert "Welch" in verdict.details
    assert verdict.pairing == "none"


def test_welch_of_a_constant_cell_is_the_other_ones_t():
    # Catches a zero variance that spoils the degrees of freedom.
    values = np.array([[1.0, 2, 3, 5], [0.1, 0.1, 0.1, 0.1]])
    estimate = welch_estimate(np.array([1.0, -1.0]), values)
    assert estimate.df == pytest.approx(3)
    assert estimate.se == pytest.approx(values[0].std(ddof=1) / 2)
    assert math.isnan(satterthwaite(np.zeros(2), np.ones(2)))


SEVERAL = Claim("worst", ({"plain/56": 1.0, "plain/20": -1.0}, {"plain/56": 1.0, "residual/56": -1.0}), "> 0")


def test_several_inequalities_go_by_the_least_certain(study):
    # The largest p, uncorrected; interval, effect and seeds are those of the same contrast.
    far, near = [1.0, 1.1, 0.9, 1, 1.2, 1], [48.0, 57, 55, 66, 51, 50]
    verdict = only(study({"plain/56": DEEP, "plain/20": far, "residual/56": near}, claims=[SEVERAL], seeds=range(6)))
    ps = [scipy.stats.ttest_rel(DEEP, other).pvalue for other in (far, near)]
    assert verdict.p == pytest.approx(max(ps))
    assert verdict.ci_level == 0.95
    assert verdict.contrast == SEVERAL.contrasts[1]
    assert verdict.verdict == "supported"
    assert [part.verdict for part in verdict.parts] == ["supported", "supported"]
    assert "has 2 contrasts" in verdict.words


@pytest.mark.parametrize(
    ("added", "outcome"), [([9, 10, 9, 11, 10, 9], "contradicted"), ([9, -8, 9, -9, 1, 0], "undecided")], ids=["wrong side", "unclear"]
)
def test_one_contrast_speaks_for_all(study, added, outcome):
    # Catches tests that cancel: one contrast is surely inside, the other surely outside, or unclear.
    verdict = only(study({"plain/56": DEEP, "plain/20": 1.0, "residual/56": np.add(DEEP, added)}, claims=[SEVERAL], seeds=range(6)))
    assert verdict.verdict == outcome
    assert (verdict.ci_low < 0, verdict.ci_high < 0, verdict.p < 0.05) == (True, outcome == "contradicted", outcome == "contradicted")


def test_several_wait_for_the_runs_of_all(study):
    assert only(study(claims=[SEVERAL], missing=[("residual/56", 2)])).verdict == "waiting"


def test_a_trend_is_the_least_squares_slope(study):
    depths = (20, 32, 44)
    weights = {f"plain/{depth}": (depth - 32) / 288 for depth in depths}
    claim = Claim("slope", weights, "> 0", trend=Trend("layers", "plain"))
    rng = np.random.default_rng(1)
    measured = {f"plain/{depth}": 3 + 0.5 * depth + rng.normal(size=5) for depth in depths}
    verdict = only(study(measured, claims=[claim], axes={"layers": depths}))
    slopes = [np.polyfit(depths, [measured[f"plain/{depth}"][seed] for depth in depths], 1)[0] for seed in range(5)]
    assert list(verdict.per_seed.values()) == pytest.approx(slopes)
    assert verdict.unit == "percentage points per unit of layers"
    assert re.match(
        r"Supported: plain gets 0\.\d+ points worse per unit of layers on the training images \(5 seeds, 95 % interval 0\.", verdict.words
    )


def test_over_new_images_adds_the_spread_of_the_images(study):
    # From the bits: V = s_S^2 / n + s_I^2 / N with Satterthwaite's degrees of freedom, never narrower than over seeds alone.
    claim = degradation(metric="test_error")
    data = study({"plain/56": [10.0, 11, 12, 10, 13], "plain/20": [5.0, 6, 5, 5, 6]}, metric="test_error", claims=[claim])
    verdict = only(data)
    bits = {cell: np.mean([correct_bits(data.records[cell, seed]) for seed in range(5)], axis=0) for cell in claim.cells}
    per_image = 100 * (bits["plain/20"] - bits["plain/56"])
    differences = np.array(list(verdict.per_seed.values()))
    parts = np.array([differences.var(ddof=1) / 5, per_image.var(ddof=1) / 360])
    df = parts.sum() ** 2 / (parts**2 / [4, 359]).sum()
    half = max(scipy.stats.t.ppf(0.975, df) * math.sqrt(parts.sum()), (verdict.ci_high - verdict.ci_low) / 2)
    assert (verdict.new_images_low, verdict.new_images_high) == pytest.approx((verdict.effect - half, verdict.effect + half))
    assert "On new images of the same kind the interval is 3.4 to 8.2." in verdict.details
    assert only(study(claims=[degradation()])).new_images_low is None  # a training error has no new images
    assert only(study(claims=[claim], arrays=False)).new_images_low is None
