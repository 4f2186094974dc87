"""Tidy tables: their rows, order, columns and statistics, from stores with gaps."""

import math

import numpy as np
import pytest
import scipy.stats
from factories import fill_store, make_plan

from resnet_lab.analysis import tables


def test_runs_has_a_row_a_planned_run_in_the_plans_order(study):
    # Catches rows lost with missing runs, and the store's order instead of the plan's.
    data = study(missing=[("plain/56", 1)], failed=[("plain/56", 2)], diverged=[("plain/20", 0)], seeds=(3, 0, 2, 1))
    runs = data.runs
    assert list(zip(runs["cell"], runs["seed"], strict=True)) == [(cell.name, seed) for cell in data.plan.cells for seed in (3, 0, 2, 1)]
    status = dict(zip(zip(runs["cell"], runs["seed"], strict=True), runs["status"], strict=True))
    expected = {("plain/56", 1): "missing", ("plain/56", 2): "failed", ("plain/20", 0): "diverged", ("residual/56", 3): "done"}
    assert {run: status[run] for run in expected} == expected
    assert list(data.failures) == [("plain/56", 2)]
    assert len(data.records) == 14


def test_runs_holds_what_the_record_says(study):
    # Catches columns filled from another run.
    data = study({"plain/56": [50, 60, 55, 70, 52]})
    row = data.runs[(data.runs["cell"] == "plain/56") & (data.runs["seed"] == 3)].iloc[0]
    record = data.records["plain/56", 3]
    assert row["train_error"] == 70
    assert row["test_error"] == record.test_error
    assert (row["arm"], row["layers"], row["weighted_layers"], row["params"]) == ("plain", 56, 56, record.params)
    assert (row["epochs"], row["iterations"]) == (3, 66)
    assert row["images_per_second"] == 3002
    assert (row["device"], row["threads"], row["torch"], row["started"]) == ("cpu", "1", "2.14.1", record.started)
    assert row["fingerprint"] == record.fingerprint
    assert math.isnan(row["validation_error"])


def test_columns_come_in_the_order_of_the_csv(study):
    # runs.csv is read by other tools: cell, arm, axes, seed come first.
    data = study()
    assert list(data.runs.columns[:6]) == ["cell", "arm", "layers", "seed", "fingerprint", "status"]
    assert list(data.epochs.columns) == [
        "cell", "arm", "layers", "seed", "epoch", "iteration", "loss", "train_error", "validation_error", "test_error", "lr", "seconds",
        "images_per_second",
    ]  # fmt: skip
    assert list(data.gradients.columns) == ["cell", "arm", "layers", "seed", "epoch", "block", "position", "norm"]


def test_an_axis_keeps_its_name_beside_a_measured_column(study):
    # A grid over the learning rate must not be overwritten by the rate of each epoch, nor one over blocks by the names of gradient rows.
    data = study(axes={"layers": (20,), "lr": (0.1, 0.2), "block": ("basic", "bottleneck")}, claims=())
    assert tables.axis_columns(data.runs) == ["layers", "lr", "block"]
    assert set(data.epochs["lr"]) == {0.1, 0.2}
    assert set(data.epochs["run_lr"]) == {epoch.lr for record in data.records.values() for epoch in record.epochs}
    assert set(data.gradients["axis_block"]) == {"basic", "bottleneck"}
    assert "stage1.block1" in set(data.gradients["block"])


def test_epochs_repeats_the_cell_for_each_epoch_of_its_run(study):
    # Catches a misaligned repeat where runs have curves of different lengths or are missing.
    data = study(missing=[("plain/20", 0)], diverged=[("plain/56", 1)])
    one = data.epochs[(data.epochs["cell"] == "plain/56") & (data.epochs["seed"] == 1)]
    record = data.records["plain/56", 1]
    assert one["epoch"].tolist() == [1, 2, 3]
    assert one["train_error"].tolist() == [epoch.train_error for epoch in record.epochs]
    assert len(data.epochs) == 3 * 19


def test_gradients_are_the_arrays_row_by_row(study):
    # Catches a transposed array: rows are epochs, columns are blocks, and row 0 is at initialization.
    data = study()
    record = data.records["residual/56", 2]
    one = data.gradients[(data.gradients["cell"] == "residual/56") & (data.gradients["seed"] == 2)]
    pivot = one.pivot(index="epoch", columns="position", values="norm").to_numpy()
    assert np.array_equal(pivot, record.arrays["gradient_norms"].astype(float))
    assert tuple(one[one["epoch"] == 3].sort_values("position")["block"]) == record.blocks
    assert one["epoch"].unique().tolist() == [0, 1, 2, 3]


def test_first_and_last_gradients_equal_those_rows_of_all(study):
    # gradients.csv: catches a wrong last epoch.
    data = study(missing=[("plain/20", 0)])
    both = data.gradients[data.gradients["epoch"].isin([0, 3])].reset_index(drop=True)
    assert data.gradient_ends.equals(both)


@pytest.mark.parametrize("fields", [{"arrays": False}, {"epochs": 1}])
def test_gradients_of_runs_that_kept_none_or_one_epoch(study, fields):
    # `record.gradients = false` leaves no array; one epoch leaves two rows, each of which is to appear once.
    data = study(**fields)
    expected = 0 if "arrays" in fields else sum(2 * len(record.blocks) for record in data.records.values())
    assert len(data.gradients) == len(data.gradient_ends) == expected


def test_an_empty_store_makes_empty_tables(tmp_path):
    # The report is drawn before the first run too.
    plan = make_plan()
    data = tables.load(plan, fill_store(tmp_path, plan, missing=[(cell.name, seed) for cell in plan.cells for seed in plan.seeds]))
    assert set(data.runs["status"]) == {"missing"}
    assert data.epochs.empty
    assert data.gradients.empty
    assert data.gradient_ends.empty
    assert tables.cell_summary(data.runs, "test_error")["n"].tolist() == [0, 0, 0, 0]


def test_cell_summary_is_scipys_and_counts_diverged_runs(study):
    # Catches a population deviation, a normal quantile, sorted cells, and diverged runs taken for zero error.
    values = [50.0, 60.0, 55.0, 70.0, 52.0]
    data = study({"plain/56": values}, diverged=[("plain/56", 1)], arms=("residual", "plain"), axes={"layers": (56, 20)})
    summary = tables.cell_summary(data.runs, "train_error", 0.9)
    assert summary["cell"].tolist() == ["residual/56", "residual/20", "plain/56", "plain/20"]
    row = summary.set_index("cell").loc["plain/56"]
    left = np.array([50, 55, 70, 52.0])
    low, high = scipy.stats.t.interval(0.9, 3, left.mean(), scipy.stats.sem(left))
    assert (row["n"], row["diverged"]) == (4, 1)
    found = row[["mean", "sd", "ci_low", "ci_high", "median", "min", "max"]].tolist()
    assert found == pytest.approx([left.mean(), left.std(ddof=1), low, high, 53.5, 50, 70])
    assert (row["arm"], row["layers"], row["weighted_layers"]) == ("plain", 56, 56)
    one = tables.cell_summary(study(seeds=(0,)).runs, "test_error").iloc[0]
    assert (one["n"], *one[["sd", "ci_low", "ci_high"]].isna()) == (1, True, True, True)  # one run has no interval of width zero


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [((0.0, 0.0, 0.0), None, None), ((0.0, 0.07, 0.0), 0.0, 0.1238), ((99.0, 100.0, 98.0), 96.516, 100.0), ((5.0,), None, None)],
)
def test_an_interval_stays_within_what_can_be_measured(study, values, low, high):
    """Would catch an error of minus two percent at the end of an interval, and [0.00, 0.00], which says that no other run could differ."""
    row = tables.cell_summary(study({"plain/20": values}, seeds=range(len(values))).runs, "train_error").set_index("cell").loc["plain/20"]
    found = [None if math.isnan(end) else pytest.approx(end, abs=1e-3) for end in (row.ci_low, row.ci_high)]
    assert found == [low, high]
