"""Claims about what probes measured: the values they are judged by, and the words for what was found."""

from dataclasses import replace

import numpy as np
import pytest
from factories import make_plan, make_record

from resnet_lab.analysis.contrasts import measurements
from resnet_lab.analysis.tables import StudyData, cell_summary, load, metric_values
from resnet_lab.analysis.verdicts import judge
from resnet_lab.runs.record import Probed
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.claims import Claim, claim_problems

RATIO = Claim("explodes", {"plain/56": 1}, "> 1", metric="gradient_ratio")
APART = Claim("apart", {"plain/56": 1, "residual/56": -1}, "> 0.5", metric="gradient_ratio")
CORRELATION = Claim("shatters", {"residual/56": 1, "plain/56": -1}, "> 0", metric="gradient_correlation")


def study(tmp_path, claims, ratios, *, correlations=None, diverged=()) -> StudyData:
    """A study whose first blocks have `ratios[cell]` times the gradient norm of their last ones at initialization, by seed."""
    plan = make_plan(claims=claims, seeds=tuple(range(4)))
    store = RunStore(tmp_path)
    for cell in plan.cells:
        for seed in plan.seeds:
            record = make_record(cell, seed, status="diverged" if (cell.name, seed) in diverged else "done")
            norms = record.arrays["gradient_norms"].copy()
            blocks = [row for row, name in enumerate(record.blocks) if name not in ("stem", "head")]
            norms[0, blocks[0]], norms[0, blocks[-1]] = ratios.get(cell.name, [1.0] * 4)[seed], 1.0
            found = (correlations or {}).get(cell.name)
            probed = (Probed("gradient_correlation", "initial", {"gradient_correlation": found[seed]}, {}, 0),) if found else ()
            store.save(replace(record, probes=probed, arrays={**record.arrays, "gradient_norms": norms}))
    return load(plan, store)


def test_a_ratio_is_judged_by_its_decimal_logarithm(tmp_path) -> None:
    """Would catch stem or head taken for blocks, a ratio upside down, an epoch other than the initialization, and ratios that are averaged as they are."""
    data = study(tmp_path, (RATIO, APART), {"plain/56": [100, 1000, 100, 1000], "residual/56": [1, 10, 1, 10]})
    ratio, apart = judge(data)
    assert ratio.verdict == "supported"
    assert ratio.effect == pytest.approx(2.5)
    assert ratio.unit == "powers of ten"
    assert "log10 of the gradient ratio of plain/56 is 2.5" in ratio.words
    assert apart.per_seed == pytest.approx({0: 2.0, 1: 2.0, 2: 2.0, 3: 2.0})
    assert "is 2.00 higher than that of residual/56" in apart.words
    assert sorted(set(metric_values(data, "gradient_ratio"))) == pytest.approx([1, 10, 100, 1000])


def test_what_was_measured_before_a_run_diverged_counts(tmp_path) -> None:
    """Would catch a claim about the initialization that is not decided because a run diverged an hour later."""
    data = study(tmp_path, (RATIO,), {"plain/56": [100, 1000, 100, 1000]}, diverged={("plain/56", 1)})
    (verdict,) = judge(data)
    assert (verdict.verdict, verdict.n, verdict.diverged) == ("supported", 4, 0)


def test_a_number_of_a_probe_is_judged_like_an_error(tmp_path) -> None:
    """Would catch a claim about a probe that is judged by other values, in points, or in words of better and worse."""
    found = {"residual/56": [0.8, 0.7, 0.9, 0.8], "plain/56": [0.1, 0.1, 0.2, 0.2]}
    data = study(tmp_path, (CORRELATION,), {}, correlations=found)
    (verdict,) = judge(data)
    assert verdict.verdict == "supported"
    assert verdict.effect == pytest.approx(0.65)
    assert verdict.unit == ""
    assert "the gradient correlation of residual/56 is 0.650 higher than that of plain/56" in verdict.words
    assert data.probes["value"].tolist() == [value for cell in ("plain/56", "residual/56") for value in found[cell]]


def test_a_run_without_the_number_decides_nothing(tmp_path) -> None:
    """Would catch a probe that does not apply and counts as zero."""
    found = {"residual/56": [0.8, 0.7, 0.9, 0.8], "plain/56": [0.1, None, 0.2, 0.2]}
    (verdict,) = judge(study(tmp_path, (CORRELATION,), {}, correlations=found))
    assert verdict.verdict == "undecided"
    assert np.isnan(measurements(study(tmp_path, (CORRELATION,), {}, correlations=found)).metrics["gradient_correlation"]).any()


def test_an_interval_is_cut_at_what_the_metric_can_be(tmp_path) -> None:
    """Would catch correlations above 1, and ratios cut at 100 as if they were percent."""
    found = {"residual/56": [1.0, 0.1, 1.0, 0.2]}
    data = study(tmp_path, (CORRELATION,), {"plain/56": [50.0, 1000.0, 90.0, 1000.0]}, correlations=found)
    runs = data.runs.assign(**{name: metric_values(data, name) for name in ("gradient_correlation", "gradient_ratio")})
    assert cell_summary(runs, "gradient_correlation").set_index("cell").loc["residual/56", "ci_high"] == 1.0
    assert cell_summary(runs, "gradient_ratio").set_index("cell").loc["plain/56", "ci_high"] > 1000.0


@pytest.mark.parametrize(
    ("metric", "expect", "wrong"),
    [
        ("gradient_correlation", "> 2", "can never hold"),
        ("gradient_correlation", "> 1.5", None),
        ("gradient_ratio", "> 300", None),
        ("train_loss", "> 3", None),
    ],
)
def test_a_bound_that_a_metric_cannot_reach_is_refused(metric: str, expect: str, wrong: str | None) -> None:
    """Would catch limits of percent for what is none: the difference of two correlations lies between -2 and 2."""
    problems = claim_problems(Claim("c", {"a": 1, "b": -1}, expect, metric=metric))
    assert [wrong in problem.message for problem in problems] == [True] if wrong else problems == []
