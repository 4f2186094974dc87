"""Verdicts: each rule by an example. That they err no more often than they say is simulated in benchmarks/calibration (test_calibrated.py)."""

import json

import numpy as np
import pytest
import scipy.stats
from factories import DEFAULT_CLAIMS, degradation

from resnet_lab.analysis.contrasts import Measurements
from resnet_lab.analysis.statistics import is_in_two, is_skewed
from resnet_lab.analysis.verdicts import FLAGS, Verdict, judge, judge_measured, verdicts_as_json
from resnet_lab.spec.claims import Claim, parse_expect

DEEP, SHALLOW = [50.0, 60.0, 55.0, 70.0, 52.0], [10.0, 12.0, 9.0, 11.0, 10.0]
DIFFERENCES = np.array(DEEP) - np.array(SHALLOW)
ONE = (degradation(),)


def only(data, **options) -> Verdict:
    (verdict,) = judge(data, **options)
    return verdict


def pair(study, deep=DEEP, shallow=SHALLOW, *, claims=ONE, **store) -> Verdict:
    """The verdict on one claim of a deep and a shallow plain net."""
    return only(study({"plain/56": deep, "plain/20": shallow}, claims=claims, **store))


def agrees(verdict) -> bool:
    """Whether verdict and interval say the same."""
    region = parse_expect(verdict.expect)
    inside = verdict.ci_low >= region.low and verdict.ci_high <= region.high
    outside = verdict.ci_high <= region.low or verdict.ci_low >= region.high
    return verdict.verdict == ("supported" if inside else "contradicted" if outside else "undecided")


def test_a_claim_is_judged_by_the_paired_t_test(study):
    # The whole path from store to verdict against scipy. Catches unpaired tests, swapped signs, seeds out of step.
    verdict = pair(study)
    expected = scipy.stats.ttest_rel(DEEP, SHALLOW)
    assert verdict.verdict == "supported"
    assert verdict.effect == pytest.approx(DIFFERENCES.mean())
    assert verdict.p == pytest.approx(expected.pvalue)
    assert (verdict.ci_low, verdict.ci_high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert verdict.ci_level == 0.95
    assert verdict.p_sign == 2 / 32
    assert verdict.per_seed == dict(enumerate(DIFFERENCES))
    assert verdict.correlation == pytest.approx(np.corrcoef(DEEP, SHALLOW)[0, 1])
    assert (verdict.n, verdict.n_planned, verdict.diverged, verdict.post_hoc, verdict.level, verdict.flags) == (5, 5, 0, False, False, ())


@pytest.mark.parametrize("trouble", [{}, {"diverged": {("plain/56", 2)}}, {"measured": {"plain/20": 0.0, "plain/56": 90.0}}])
def test_a_claim_on_accuracy_is_its_mirror_image_on_errors(study, trouble):
    """Catches a diverged run that counts as an accuracy of 90 %, a floor or chance level seen at the wrong end, and intervals of other width."""
    claims = [
        degradation(metric="test_error"),
        Claim("accuracy", {"plain/56": 1, "plain/20": -1}, "< 0", metric="test_accuracy"),
        Claim("error_level", {"plain/20": 1}, "< 3", metric="test_error"),
        Claim("accuracy_level", {"plain/20": 1}, "> 97", metric="test_accuracy"),
    ]
    # each alone: Holm's procedure would judge them at levels of their own
    error, accuracy, error_level, accuracy_level = (only(study(claims=[claim], metric="test_error", **trouble)) for claim in claims)
    assert (accuracy.verdict, accuracy.flags, accuracy.p) == (error.verdict, error.flags, pytest.approx(error.p))
    assert (accuracy_level.verdict, accuracy_level.unit) == (error_level.verdict, "%")
    for ours, theirs, at in ((accuracy, error, 0), (accuracy_level, error_level, 100)):
        assert ours.effect == pytest.approx(at - theirs.effect)
        for low, high in (("ci_low", "ci_high"), ("new_images_low", "new_images_high")):
            mirrored = [None if (end := getattr(theirs, name)) is None else pytest.approx(at - end) for name in (high, low)]
            assert [getattr(ours, low), getattr(ours, high)] == mirrored


@pytest.mark.parametrize(
    ("expect", "outcome"), [("> 0", "supported"), ("> 60", "contradicted"), ("< 47", "undecided"), ("< 90", "supported")]
)
def test_the_verdict_is_where_the_interval_lies(study, expect, outcome):
    # Catches a boundary that is always zero and an inverted region.
    verdict = pair(study, claims=[degradation(expect=expect)])
    assert verdict.verdict == outcome
    assert agrees(verdict)


@pytest.mark.parametrize(("offset", "outcome"), [(0.0, "supported"), (3.0, "contradicted"), (-3.0, "contradicted"), (0.9, "undecided")])
def test_equivalence_is_not_a_missing_difference(study, offset, outcome):
    # Catches calling a non-significant difference equivalent.
    noise = np.array([0.1, -0.2, 0.3, -0.1, -0.1])
    verdict = pair(study, 10 + offset + noise, 10.0, claims=[degradation(expect="within 1")])
    assert verdict.verdict == outcome
    assert agrees(verdict)


def test_holm_runs_over_the_claims_of_the_study(study):
    # Three claims: the interval of each is at the level of the step at which it was decided.
    claims = [
        degradation(),
        Claim("rescue", {"plain/56": 1, "residual/56": -1}, "> 0"),
        Claim("hopeless", {"plain/20": 1, "residual/20": -1}, "> 0"),
    ]
    verdicts = judge(
        study({"plain/56": DEEP, "plain/20": SHALLOW, "residual/56": [8, 20, 6, 40, 3], "residual/20": [11, 11, 10, 10, 10]}, claims=claims)
    )
    assert [verdict.verdict for verdict in verdicts] == ["supported", "supported", "undecided"]
    assert [verdict.ci_level for verdict in verdicts] == pytest.approx([1 - 0.05 / 3, 1 - 0.05 / 2, 0.95])
    assert all(agrees(verdict) for verdict in verdicts)
    assert "98.3 % interval" in verdicts[0].words
    assert "Holm" not in verdicts[0].words
    assert "compared with 0.0167 (0.05/3, Holm over 3 claims)" in verdicts[0].details


def test_a_later_claim_is_post_hoc_and_outside_the_family(study):
    # Catches a new claim raising the bar for registered ones, or passing for one of them.
    later = Claim("later", {"residual/56": 1, "residual/20": -1}, "< 50")
    first, second = judge(study({"plain/56": DEEP, "plain/20": SHALLOW}, claims=[degradation(), later], registered=(degradation().digest,)))
    assert (first.post_hoc, first.ci_level) == (False, 0.95)
    assert (second.post_hoc, second.ci_level) == (True, 0.95)
    assert "Post hoc" in second.words
    assert "Post hoc" not in first.words
    assert not any(verdict.post_hoc for verdict in judge(study(registered=None)))  # nothing is registered before the first run


def test_a_withdrawn_claim_still_counts_in_the_family(study):
    # Deleting the claims that failed must not lower the bar for those that are left.
    data = study({"plain/56": DEEP, "plain/20": SHALLOW}, claims=ONE, registered=(degradation().digest, "0123456789abcdef"))
    verdict = only(data)
    assert verdict.ci_level == 0.975
    assert "2 claims include 1 registered claim no longer in the ablation" in verdict.details


def test_until_all_planned_seeds_are_there_the_verdict_waits(study):
    # One look: a verdict after three of five seeds, and another after five, would err more often than alpha.
    nothing = only(study(claims=ONE, missing=[("plain/56", seed) for seed in range(5)]))
    assert (nothing.verdict, nothing.n, nothing.effect) == ("waiting", 0, None)  # nan would break the JSON, zero would be a lie
    verdict = pair(study, missing=[("plain/56", 1), ("plain/20", 4), ("residual/20", 0)])
    assert (verdict.verdict, verdict.n, verdict.n_planned) == ("waiting", 3, 5)
    assert verdict.effect == pytest.approx(DIFFERENCES[[0, 2, 3]].mean())
    assert (verdict.p, verdict.p_sign, verdict.ci_low, verdict.ci_high, verdict.ci_level) == (None,) * 5
    assert verdict.words.startswith("Waiting: 3 of 5 seeds")
    assert only(study(claims=ONE, missing=[("residual/20", 0), ("residual/56", 1)])).verdict == "supported"  # other cells' runs


def test_waiting_names_the_runs_that_failed(study):
    # Else one waits for a run that will not come by itself.
    verdict = only(study(claims=ONE, failed=[("plain/56", 3)], missing=[("plain/20", 0)]))
    assert "Failed: plain/56 seed 3 (run the study again" in verdict.words
    assert "plain/20 seed 0" not in verdict.words.partition("Failed: ")[2]
    assert "failed runs" in verdict.flags


def test_a_waiting_claim_keeps_its_place_in_the_family(study):
    # Catches judging the claims that are there at alpha / 1, then again at alpha / 2 when the other arrives.
    claims = [degradation(), Claim("rescue", {"plain/56": 1, "residual/56": -1}, "> 0")]
    first, second = judge(study({"plain/56": DEEP, "plain/20": SHALLOW}, claims=claims, missing=[("residual/56", 0)]))
    assert (first.verdict, first.ci_level) == ("supported", 0.975)
    assert second.verdict == "waiting"


def test_one_seed_shows_no_spread(study):
    # Catches an interval of zero width or nan.
    verdict = only(study(claims=ONE, seeds=(7,)))
    assert (verdict.verdict, verdict.n, verdict.flags) == ("undecided", 1, ("one seed",))
    assert (verdict.p, verdict.ci_low, verdict.ci_high) == (None, None, None)
    assert "single seed" in verdict.words
    assert verdict.details == ""


@pytest.mark.parametrize(("n", "outcome"), [(5, "undecided"), (6, "supported")])
def test_zero_spread_is_decided_by_the_sign_test(study, n, outcome):
    # s = 0 must not become p = 0; five equal seeds are 2/32. The values differ by 5 only up to rounding (0.1 + 5).
    verdict = only(
        study({"plain/56": [0.1 * i + 5 for i in range(n)], "plain/20": [0.1 * i for i in range(n)]}, claims=ONE, seeds=range(n))
    )
    assert (verdict.verdict, verdict.p, verdict.p_sign) == (outcome, 2.0 ** (1 - n), 2.0 ** (1 - n))
    assert (verdict.ci_low, verdict.ci_high, verdict.ci_level) == (None, None, None)
    assert "zero spread" in verdict.flags
    assert ("it takes 6" in verdict.words) == (outcome == "undecided")


def test_equivalence_without_spread_is_saturated(study):
    # Two arms stuck at the same distance show nothing about how small a difference would have been seen.
    verdict = pair(study, 5.5, 5.0, claims=[degradation(expect="within 1")], seeds=range(9))
    assert (verdict.verdict, verdict.p) == ("undecided", None)
    assert {"saturated", "zero spread"} <= set(verdict.flags)


@pytest.mark.parametrize("expect", ["> 0", "< 3", "within 1"])
def test_identical_arms_are_undecided(study, expect):
    # Also where zero lies inside the region: a difference that cannot occur supports nothing.
    verdict = pair(study, DEEP, DEEP, claims=[degradation(expect=expect)])
    assert (verdict.verdict, verdict.effect, verdict.p) == ("undecided", 0.0, None)
    assert "identical arms" in verdict.flags


def test_diverged_runs_count_as_chance_and_need_the_sign_test_too(study):
    # 90 % error with ten classes; t alone would say p < 0.001, the sign test of five seeds cannot.
    verdict = pair(study, diverged=[("plain/56", 1), ("plain/56", 4)])
    expected = DIFFERENCES.copy()
    expected[[1, 4]] = 90 - np.array(SHALLOW)[[1, 4]]
    assert list(verdict.per_seed.values()) == pytest.approx(expected)
    assert (verdict.verdict, verdict.p, verdict.p_sign, verdict.diverged) == ("undecided", 2 / 32, 2 / 32, 2)
    assert (verdict.ci_low, verdict.ci_high) == (None, None)
    assert {"diverged", "counts only"} <= set(verdict.flags)
    assert "among runs like these" in verdict.words
    assert "2 runs of plain/56" in verdict.words
    assert "in 5 of 5 seeds" in verdict.words


def test_arms_that_diverged_alike_are_not_said_to_be_equal(study):
    # All runs count as chance, so that the difference is zero: words about "no difference" would say more than the data.
    every = [(cell, seed) for cell in ("plain/56", "plain/20") for seed in range(5)]
    verdict = pair(study, diverged=every)
    assert (verdict.verdict, verdict.effect, verdict.diverged) == ("undecided", 0.0, 10)
    assert "says nothing about a difference" in verdict.words
    assert "no difference" not in verdict.words


def test_diverged_runs_are_judged_by_the_larger_p(study):
    # With eight seeds the sign test suffices, and t may then be the larger of the two.
    deep = [11.0, 13, 12, 14, 11, 13, 0, 12]
    verdict = pair(study, deep, 10.0, seeds=range(8), diverged=[("plain/56", 6)])
    filled = np.array([value if value else 90.0 for value in deep]) - 10
    assert verdict.p_sign == 2 / 256
    assert verdict.p == pytest.approx(scipy.stats.ttest_1samp(filled, 0).pvalue)
    assert verdict.verdict == "undecided"


def test_diverged_runs_have_no_loss_to_impute(study):
    # A loss has no chance level; dropping the runs would select.
    verdict = only(study(claims=[degradation(metric="train_loss")], diverged=[("plain/56", 1)], seeds=range(9)))
    assert (verdict.verdict, verdict.effect, verdict.p, verdict.correlation) == ("undecided", None, None, None)
    assert "diverged" in verdict.flags
    assert "have no train loss" in verdict.words


def test_runs_without_the_metric_leave_the_claim_undecided(study):
    # Catches waiting for ever for a number that finished runs do not have.
    verdict = only(study(claims=[degradation(metric="test_loss")], test_loss=None))
    assert (verdict.verdict, verdict.n) == ("undecided", 0)
    assert verdict.flags == ("no values",)


@pytest.mark.parametrize(
    ("deep", "flags"), [(0.0, ("floor",)), (0.04, ("floor",)), (1.0, ()), (89.7, ("ceiling",)), (93.0, ("ceiling",)), (85.0, ())]
)
def test_floor_and_ceiling_are_flagged(study, deep, flags):
    # 89.7 is a net that always names the same digit.
    verdict = pair(study, deep)
    assert verdict.flags == flags
    assert ("floor" in verdict.words) == (flags == ("floor",))
    assert ("At chance level: plain/56" in verdict.words) == (flags == ("ceiling",))


def test_losses_have_neither_floor_nor_ceiling(study):
    # A loss of 0.01 nats is not "next to no errors".
    data = study(
        {"plain/56": [0.01, 0.02, 0.01, 0.02, 0.03], "plain/20": 0.001}, metric="train_loss", claims=[degradation(metric="train_loss")]
    )
    verdict = only(data)
    assert verdict.flags == ()
    assert "nats" in verdict.words


def test_a_level_says_so(study):
    # A contrast that does not cancel is about a level, which depends on everything that the arms share.
    verdict = only(study({"plain/56": DEEP}, claims=[Claim("level", {"plain/56": 1}, "> 20")]))
    assert verdict.level
    assert verdict.effect == pytest.approx(np.mean(DEEP))
    assert "level, not a difference" in verdict.words
    assert "percentage points" not in verdict.words


def test_an_interval_of_a_level_ends_at_no_error(study):
    # A training error of minus one percent at the end of an interval; the verdict is the same.
    verdict = only(study({"plain/20": [0.0, 0.1, 0.0, 2.0, 0.1]}, claims=[Claim("level", {"plain/20": 1}, "< 5")]))
    assert (verdict.verdict, verdict.ci_low) == ("supported", 0.0)
    assert "interval 0.00 to" in verdict.words
    tested = only(
        study(
            {"plain/20": [0.0, 0.1, 0.0, 2.0, 0.1]}, metric="test_error", claims=[Claim("level", {"plain/20": 1}, "< 5", "", "test_error")]
        )
    )
    assert tested.new_images_low == 0.0


@pytest.mark.parametrize(
    ("deep", "flags", "words"),
    [
        ((1.0, 1.1, 0.9, 1.0, 30.0), {"skewed"}, "The values are skewed over seeds (skewness 1.5, more than in 95 % of normal samples of 5)"),
        ((1.0, 1.2, 30.0, 31.0, 1.1), {"two groups"}, "The values fall into two groups over seeds (3 around 1.1 and 2 around 30.5)"),
        ((1.0, 1.4, 2.1, 1.7, 1.2), set(), ""),
        ((1.0, 1.1, 0.9, 30.0), set(), ""),
    ],
)  # fmt: skip
def test_a_shape_that_is_not_normal_is_said(study, deep, flags, words):
    # Catches a t interval of one outlier, or of two kinds of run, without a word about them. Fewer than five values have no shape.
    verdict = only(study({"plain/56": np.array(deep) + 5, "plain/20": 5.0}, claims=ONE, seeds=range(len(deep))))
    assert set(verdict.flags) & {"skewed", "two groups"} == flags
    assert words in verdict.words


def test_normal_samples_are_flagged_as_seldom_as_they_say():
    # Catches a threshold that does not grow with the number of seeds.
    for n in (5, 9, 20):
        values = np.random.default_rng(n).normal(size=(2000, n))
        for flagged in (is_skewed, is_in_two):
            assert np.mean([flagged(row) for row in values]) == pytest.approx(0.05, abs=0.015)


def test_four_cells_make_a_difference_of_differences(study):
    # Catches weights matched to cells in the wrong order.
    measured = {"plain/56": DEEP, "plain/20": SHALLOW, "residual/56": [1, 2, 1, 2, 2], "residual/20": [0, 1, 1, 1, 0]}
    verdict = only(study(measured, claims=[claim for claim in DEFAULT_CLAIMS if claim.name == "difference"]))
    assert list(verdict.per_seed.values()) == pytest.approx((DIFFERENCES - [1, 1, 0, 1, 2]).tolist())
    assert verdict.correlation is None
    size = f"{np.mean(DIFFERENCES - [1, 1, 0, 1, 2]):.1f}"
    assert f": plain/56 trails plain/20 by {size} points more than residual/56 trails residual/20 on the training images" in verdict.words


def test_json_has_every_field_and_no_nan(study):
    # verdicts.json is read by other tools, in languages whose JSON has no NaN.
    claims = [*DEFAULT_CLAIMS, degradation(name="loss", metric="train_loss")]
    plain = verdicts_as_json(judge(study(claims=claims, diverged=[("plain/56", 0)], missing=[("residual/20", 1)])))
    read = json.loads(json.dumps(plain, allow_nan=False))
    assert [item["name"] for item in read] == [claim.name for claim in claims]
    assert {"name", "verdict", "effect", "ci_low", "ci_high", "ci_level", "p", "p_sign", "n"} <= set(read[0])
    assert read[0]["per_seed"].keys() == {"0", "1", "2", "3", "4"}


def test_flags_are_all_explained(study):
    # A flag without an entry in the table would be dropped without a word.
    verdicts = judge(study({"plain/56": 5.0, "plain/20": 5.0}, diverged=[("residual/56", 0)], failed=[("residual/20", 0)]))
    assert {flag for verdict in verdicts for flag in verdict.flags} == {
        "identical arms",
        "zero spread",
        "diverged",
        "counts only",
        "failed runs",
    }
    assert all(set(verdict.flags) <= set(FLAGS) for verdict in verdicts)


def test_interval_and_verdict_never_disagree_whatever_is_true():
    # From arrays alone. True and untrue claims mixed, equivalence included, so that every step of Holm is reached; and all three verdicts do occur.
    values = 40 + np.random.default_rng(5).normal(size=(400, 4, 6)) + np.array([0.0, 1.5, 0.2, 0.0])[:, None]
    expects = ["> 0", "< 0", "within 1.5", "> 1", "within 0.3"]
    claims = [Claim(f"{i}", {"abcd"[i % 4]: 1, "abcd"[(i + 1) % 4]: -1}, expect) for i, expect in enumerate(expects)]
    seen, levels = set(), set()
    for study in values:
        judged = judge_measured(measured(study), claims)
        assert all(agrees(verdict) for verdict in judged)
        seen |= {verdict.verdict for verdict in judged}
        levels |= {round(0.05 / (1 - verdict.ci_level)) for verdict in judged}
    assert seen == {"supported", "contradicted", "undecided"}
    assert levels >= {5, 4, 3}


def measured(train_error) -> Measurements:
    """Runs of the cells a, b, c ... that ended with these errors (cells, seeds)."""
    cells, seeds = train_error.shape
    status = np.full(train_error.shape, "done", dtype=object)
    return Measurements(
        tuple("abcd"[:cells]), tuple(range(seeds)), {"train_error": train_error}, status, np.full(cells, 90.0), (360,) * cells
    )


def test_cells_with_different_seeds_wait_and_say_for_what(study):
    """Would catch a contrast over the seeds that happen to be shared, without a word about the others."""
    missing = {("plain/56", 0), ("plain/20", 1), ("plain/56", 2), ("plain/20", 2)}
    (verdict,) = judge(study(claims=[degradation()], seeds=range(4), missing=missing))
    assert (verdict.verdict, verdict.n) == ("waiting", 1)
    assert "1 of 4 seeds are there for all its cells" in verdict.words
    assert "Not all cells have the same seeds yet; still to come: plain/56 seed 0, plain/20 seed 1" in verdict.words.replace(
        "plain/20 seed 1, plain/56 seed 0", "plain/56 seed 0, plain/20 seed 1"
    )
    assert "seed 2" not in verdict.words
