"""Where two studies differ."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from factories import fill_store, make_plan

from resnet_lab.analysis.differences import field_differences, only_in, result_differences
from resnet_lab.analysis.tables import StudyData, load
from resnet_lab.runs.store import RunStore


def study(tmp_path: Path, **fields) -> StudyData:
    plan = make_plan(seeds=range(3), **fields)
    fill_store(tmp_path, plan)
    return load(plan, RunStore(tmp_path))


def test_a_field_that_differs_is_named_once_with_its_values(tmp_path: Path) -> None:
    differences = field_differences(study(tmp_path, epochs=3), study(tmp_path, epochs=5))
    assert [difference.path for difference in differences] == ["training.iterations"]
    assert (differences[0].first, differences[0].second) == (66, 110)
    assert len(differences[0].cells) == 4
    assert field_differences(study(tmp_path), study(tmp_path)) == []


def test_cells_that_only_one_has(tmp_path: Path) -> None:
    small, large = study(tmp_path), study(tmp_path, axes={"layers": [20, 44, 56]})
    assert only_in(large, small) == ("plain/44", "residual/44")
    assert only_in(small, large) == ()


def test_results_side_by_side(tmp_path: Path) -> None:
    first, second = study(tmp_path, epochs=3), study(tmp_path, epochs=5)
    found = result_differences(first, second, "train_error").set_index("cell")
    mine, theirs = (data.runs[data.runs["cell"] == "plain/56"]["train_error"] for data in (first, second))
    assert found.loc["plain/56", "first"] == pytest.approx(mine.mean())
    assert found.loc["plain/56", "difference"] == pytest.approx(theirs.mean() - mine.mean())
    assert found.loc["plain/56", "first_sd"] == pytest.approx(np.std(mine, ddof=1))
    assert (result_differences(first, first)["equal_seeds"] == 3).all()


def test_a_difference_has_the_interval_and_p_of_the_paired_t_test(tmp_path: Path) -> None:
    """Would catch a difference that nobody can tell from noise, and a test that forgets that seeds are shared."""
    first = study(tmp_path)
    second = replace(first, runs=first.runs.assign(train_error=first.runs["train_error"] + first.runs["seed"] ** 2 + 0.5))
    found = result_differences(first, second, "train_error").set_index("cell").loc["plain/56"]
    mine, theirs = (data.runs[data.runs["cell"] == "plain/56"]["train_error"].to_numpy() for data in (first, second))
    expected = scipy.stats.ttest_rel(theirs, mine)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert result_differences(first, first)["p"].isna().all()


def test_tables_are_compared_key_by_key(tmp_path: Path) -> None:
    """Would catch `{'iterations': 22, ...}` in a message: what differs within a table has a path of its own."""
    one = study(tmp_path)

    def warmed(iterations: int) -> StudyData:
        warmup = {"iterations": iterations, "start": 0.0}
        cells = [replace(cell, spec={**cell.spec, "training": {**cell.spec["training"], "warmup": warmup}}) for cell in one.plan.cells]
        return replace(one, plan=replace(one.plan, cells=tuple(cells)))

    first, second = warmed(5), warmed(9)
    (found,) = field_differences(first, second)
    assert (found.path, found.first, found.second) == ("training.warmup.iterations", 5, 9)


def test_only_seeds_that_both_have_are_compared(tmp_path: Path) -> None:
    # Means over other seeds differ although every run is the same. Catches that difference being shown as one.
    one = study(tmp_path)
    other = replace(one, runs=one.runs[one.runs["seed"] != 2])
    rows = result_differences(one, other, "train_error")
    assert (rows["difference"] == 0).all()
    assert (rows["shared_seeds"] == 2).all()
    assert (rows["first"] != rows["second"]).all()
