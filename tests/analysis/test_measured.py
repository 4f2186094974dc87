"""Means and intervals of what was measured beside the errors, by value."""

import math

import numpy as np
import pytest
from factories import fill_store, make_plan, with_probes, with_ratios
from scipy import stats

from resnet_lab.analysis.measured import measured_frame
from resnet_lab.analysis.tables import load


@pytest.fixture
def data(tmp_path):
    plan = make_plan(seeds=(0, 1, 2), claims=())
    return load(plan, fill_store(tmp_path, plan))


def row(frame, metric, cell):
    found = frame[(frame["metric"] == metric) & (frame["cell"] == cell)]
    assert len(found) == 1
    return found.iloc[0]


def test_a_ratio_is_averaged_as_its_logarithm(data):
    """Catches the mean of ratios, which the largest run makes, and an interval of the logarithm under the name of the ratio."""
    ratios = (10.0, 100.0, 1000.0)
    found = row(
        measured_frame(with_ratios(data, {("plain/56", seed): (ratio, 1.0) for seed, ratio in enumerate(ratios)})),
        "gradient_ratio",
        "plain/56",
    )
    half = stats.t.ppf(0.975, 2) * 1 / math.sqrt(3)
    assert (found["n"], found["lost"]) == (3, 0)
    assert [found["mean"], found["ci_low"], found["ci_high"]] == pytest.approx([100.0, 10 ** (2 - half), 10 ** (2 + half)])


def test_what_is_no_number_is_in_no_mean_and_is_counted(data):
    """Catches a zero norm or a failed measurement that becomes 0 in a mean, and one that is dropped without a word."""
    data = with_ratios(data, {("plain/56", 0): (0.0, 1.0), ("plain/56", 1): (4.0, 1.0), ("plain/56", 2): (4.0, 1.0)})
    data = with_probes(data, {"lesion_1": {"plain/20": (None, 2.0, 4.0), "residual/20": (None, None, None)}})
    frame = measured_frame(data)
    assert row(frame, "gradient_ratio", "plain/56")[["n", "mean", "lost"]].tolist() == [2, pytest.approx(4.0), 1]
    assert row(frame, "lesion_1", "plain/20")[["n", "mean", "lost"]].tolist() == [2, 3.0, 1]
    assert set(frame.loc[frame["metric"] == "lesion_1", "cell"]) == {"plain/20"}


def test_an_interval_ends_where_the_metric_does(data):
    """Catches a correlation above 1, and an interval of width zero for one run or for runs that agree."""
    found = measured_frame(with_probes(data, {"gradient_correlation": {"residual/20": (0.8, 0.9, 1.0), "plain/20": (0.5, 0.5, 0.5)}}))
    wide, flat = row(found, "gradient_correlation", "residual/20"), row(found, "gradient_correlation", "plain/20")
    assert (wide["mean"], wide["ci_high"]) == (pytest.approx(0.9), 1.0)
    assert np.isnan([flat["ci_low"], flat["ci_high"]]).all()
