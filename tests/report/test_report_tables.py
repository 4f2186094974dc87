"""Tables of the report as numbers and as text."""

from dataclasses import replace

import pytest
from factories import degradation

from resnet_lab.report import numbers
from resnet_lab.report.tables import least_sign_p, main_frame, main_text, region_text, verdict_frame, verdict_text
from resnet_lab.spec.claims import Claim


def test_main_table_by_value(study):
    """Catches a statistic in the wrong column, and counts that do not add up to the planned runs."""
    made = study(diverged={("plain/56", 2)}, failed={("residual/20", 0)}, missing={("residual/56", 1)})
    frame = main_frame(made.data, made.verdicts).set_index("cell")
    assert frame.loc["plain/20", ["train_error_mean", "train_error_sd", "train_error_median", "n_done"]].tolist() == [2.0, 1.0, 2.0, 3]
    assert frame.loc["plain/56", ["train_error_mean", "n_done", "n_diverged"]].tolist() == [65.0, 2, 1]
    assert frame[["n_done", "n_diverged", "n_failed", "n_missing"]].sum(axis=1).tolist() == [3, 3, 3, 3]
    assert frame["params"].tolist() == [cell.params for cell in made.plan.cells]
    assert frame.loc["plain/20", "seconds_median"] == pytest.approx(2.1)


def test_accuracy_stands_beside_error(study):
    """Catches an accuracy that is not 100 - error, with the ends of its interval exchanged, and one that the table does not show."""
    made = study()
    frame = main_frame(made.data, made.verdicts)
    assert (frame["test_accuracy_mean"] + frame["test_error_mean"]).tolist() == pytest.approx([100.0] * 4)
    assert (frame["test_accuracy_ci_low"] + frame["test_error_ci_high"]).tolist() == pytest.approx([100.0] * 4)
    table = main_text(*_of(made))
    shown = [row[table.headers.index("test accuracy, %")] for row in table.rows]
    assert [float(text) for text in shown] == pytest.approx(frame["test_accuracy_mean"].tolist(), abs=0.051)


def test_main_table_shows_trouble_only_where_there_is_some(study):
    """Catches a diverged run that the table does not tell of."""
    assert "diverged" not in main_text(*_of(study())).headers
    table = main_text(*_of(study(diverged={("plain/56", 2)})))
    assert table.rows[1][:3] == ("plain/56", "2", "1")
    assert "not in any mean" in table.note


def test_verdict_table_by_value(study):
    """Catches a table that tells another story than the verdicts."""
    made = study()
    frame = verdict_frame(made.data, made.verdicts)
    assert frame["effect"].tolist() == [verdict.effect for verdict in made.verdicts]
    table = verdict_text(made.data, made.verdicts)
    assert [row[3] for row in table.rows] == [verdict.verdict for verdict in made.verdicts]
    assert [row[-1] for row in table.rows] == ["3"] * len(made.verdicts)


def test_the_smallest_p_of_the_sign_test_is_said_where_it_is_reached(study):
    """Catches a p of 0.0625 at five seeds that is read as weak evidence, where no stronger one could be had."""
    made = study({"plain/56": (60.0, 70, 80, 75, 66), "plain/20": (1.0, 2, 3, 2, 1)}, seeds=range(5), claims=(degradation(),))
    assert "The smallest p that the sign test can give is 0.0625 at n = 5." in verdict_text(made.data, made.verdicts).note
    (verdict,) = made.verdicts
    assert least_sign_p(verdict) == ", the smallest possible at n = 5"
    assert least_sign_p(replace(verdict, p_sign=0.375)) == ""


@pytest.mark.parametrize(
    ("expect", "metric", "level", "words"),
    [
        ("> 0", "train_error", False, "above 0 percentage points"),
        ("< 2.5", "test_error", True, "below 2.5 %"),
        ("within 0.25", "test_loss", False, "within ±0.25 nats"),
    ],
)
def test_regions_in_words(expect, metric, level, words):
    """Catches percent said of a difference, and digits lost from a margin."""
    claim = Claim("c", {"a": 1} if level else {"a": 1, "b": -1}, expect, metric=metric)
    assert region_text(expect, claim.unit) == words


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.spread(54.321, 1.234), "54.3 ± 1.2"),
        (numbers.spread(0.0481, 0.0062), "0.048 ± 0.006"),
        (numbers.spread(7.0, float("nan")), "7.00"),
        (numbers.spread(None, None), "–"),
        (numbers.interval(-1.25, 9.4), "[−1.25, 9.40]"),
        (numbers.interval(float("nan"), 1.0), "–"),
        (numbers.number(-0.0001, 2), "0.00"),
        (numbers.short(855770), "856 k"),
        (numbers.short(999_999), "1.00 M"),
        (numbers.short(4_089_184_256), "4.09 G"),
        (numbers.probability(0.00004), "p < 0.001"),
        (numbers.probability(0.0123), "p = 0.012"),
    ],
)
def test_numbers_read_well(shown, expected):
    """Catches digits that the measurement does not carry, and units that jump a thousand."""
    assert shown == expected


def _of(made):
    return made.data, made.verdicts
