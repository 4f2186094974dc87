"""A study's run records as tidy tables: one row a run, an epoch, a block's gradient norm, or a proposal of a search.

Errors and accuracies are in percent, losses in nats, times in seconds. Every table begins with `cell`, `arm`, one column a grid axis (its short name)
and `seed`. An axis keeps its name: a measured column that is called the same becomes `run_NAME` (`run_lr` beside a grid over `lr`), and
only where the name is one of the table's own keys (KEYS below) does the axis become `axis_NAME`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from resnet_lab.runs.plan import Plan, PlannedCell, PlannedSearch
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.searches import SearchTrial, load_trials
from resnet_lab.runs.store import Failure, RunStore
from resnet_lab.spec.probes import GRADIENT_RATIO, OUTCOMES, metric_facts
from resnet_lab.spec.search import FINALIST, SEARCH_SEEDS, parameters

Run = tuple[str, int]
"""(cell name, seed)"""
MEASURED = ("train_error", "test_error", "train_loss", "test_loss")
"""What a run records of its end."""
METRICS = tuple(OUTCOMES)
"""What comparisons are about; accuracies are 100 - error. Claims can also be about what probes measured."""
KEYS = ("cell", "arm", "seed", "fingerprint", "status", *METRICS, "epoch", "block", "position", "norm")
"""Columns that tables are read by."""
_EPOCH = ("epoch", "iteration", "loss", "train_error", "validation_error", "test_error", "lr", "seconds", "images_per_second")


@dataclass(frozen=True, repr=False)
class StudyData:
    """A study as it stands: its plan, and what of it is in the store."""

    plan: Plan
    runs: pd.DataFrame
    """One row a planned run, in the order of cells, then seeds; status is `done`, `diverged`, `failed` or `missing`."""
    records: dict[Run, RunRecord]
    """The finished runs, diverged ones included."""
    failures: dict[Run, Failure] = field(default_factory=dict)
    """Why runs failed for good."""
    proposals: dict[str, list[SearchTrial]] = field(default_factory=dict)
    """Search -> what it proposed, by number; empty for a study without searches."""
    judged_by: dict[str, RunRecord] = field(default_factory=dict)
    """Finalist -> a run of the trial that it was chosen by, where the store has one: on how many images it was trained and judged, and how long."""

    def __repr__(self) -> str:
        ended = int(self.runs["status"].isin(["done", "diverged"]).sum())
        return f"{type(self).__name__}({self.plan.name}: {len(self.plan.cells)} cells, {ended} of {len(self.runs)} runs have ended)"

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row an epoch of a finished run: running training means, learning rate, time. Built when first asked for."""
        return _epochs_table(self)

    @cached_property
    def gradients(self) -> pd.DataFrame:
        """One row a block and epoch of a finished run: its gradient's norm; epoch 0 is at initialization. Built when first asked for."""
        return _gradients_table(self, first_and_last=False)

    @cached_property
    def gradient_ends(self) -> pd.DataFrame:
        """The rows of `gradients` at initialization and after each run's last epoch, without building the rest."""
        return _gradients_table(self, first_and_last=True)

    @cached_property
    def gradient_ratios(self) -> NDArray[np.float64]:
        """(runs,) the norm of the first block's gradient over that of the last one's, at initialization, of each row of `runs`; nan where a run has none."""
        return _of_runs(self, _gradient_ratio)

    @cached_property
    def probes(self) -> pd.DataFrame:
        """One row a number that a probe found in a finished run: probe, moment, metric as claims call it, value, and why it was not measured, if so."""
        return _probes_table(self)

    def probe_table(self, probe: str, moment: str) -> pd.DataFrame:
        """The tables that a probe made at a moment in all finished runs, one below the other; empty where it was not asked for."""
        return _tables_of_a_probe(self, probe, moment)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a proposal of a search, infeasible ones too: its place in the budget, state, validation error, the best so far, cost, parameters."""
        return _trials_table(self)


def load(plan: Plan, store: RunStore) -> StudyData:
    """What the store has of a plan. Raises StoreError where the store was written by a newer version."""
    records: dict[Run, RunRecord] = {}
    failures: dict[Run, Failure] = {}
    for cell in plan.cells:
        for seed in plan.seeds:
            record = store.load(cell.fingerprint, seed)
            if record is not None:
                records[cell.name, seed] = replace(record, spec=cell.spec) if record.spec == cell.spec else record  # one spec for all seeds
            elif (failure := store.failure(cell.fingerprint, seed)) is not None:
                failures[cell.name, seed] = failure
    studies = store.root.parent
    proposals = load_trials(studies, plan.name, {search.name: search.identity for search in plan.searches}) if plan.searches else {}
    return StudyData(plan, _runs_table(plan, records, failures), records, failures, proposals, _judged_by(plan, proposals, store))


def axis_columns(runs: pd.DataFrame) -> list[str]:
    """The columns of a runs table that are grid axes: those between `arm` and `seed`."""
    columns = list(runs.columns)
    return columns[columns.index("arm") + 1 : columns.index("seed")]


def cell_summary(runs: pd.DataFrame, metric: str, confidence: float = 0.95) -> pd.DataFrame:
    """One row a cell, in the order of `runs`: n, mean, sd, ci_low, ci_high, median, min, max of a metric over seeds, and diverged runs.

    The columns of the cell (arm, axes, params, macs, weighted_layers) come first. Diverged runs have no final error: they are counted in
    `diverged` and not in n. The interval is Student's t for one cell alone, cut at what the metric can be; it is nan where runs show no spread,
    and so is sd for fewer than two runs.
    """
    grouped = runs.groupby("cell", sort=False)
    facts = [column for column in ("arm", *axis_columns(runs), "params", "macs", "weighted_layers") if column in runs]
    summary = grouped[facts].first()
    values = grouped[metric]
    n, mean, sd = values.count(), values.mean(), values.std(ddof=1)
    lone, flat = n < 2, ~(sd > 0)
    bounds = metric_facts(metric)
    half = stdtrit(np.maximum(n - 1, 1), 0.5 + confidence / 2) * sd / np.sqrt(np.maximum(n, 1))
    low, high = ((mean + end).clip(bounds.low, bounds.high).mask(flat) for end in (-half, half))
    summary = summary.assign(n=n, mean=mean, sd=sd.mask(lone), ci_low=low, ci_high=high)
    summary = summary.assign(median=values.median(), min=values.min(), max=values.max())
    summary["diverged"] = (runs["status"] == "diverged").groupby(runs["cell"], sort=False).sum()
    return summary.reset_index()


def _runs_table(plan: Plan, records: Mapping[Run, RunRecord], failures: Mapping[Run, Failure]) -> pd.DataFrame:
    runs = [(cell, seed) for cell in plan.cells for seed in plan.seeds]
    found = [records.get((cell.name, seed)) for cell, seed in runs]
    status = [
        record.status if record else "failed" if (cell.name, seed) in failures else "missing"
        for (cell, seed), record in zip(runs, found, strict=True)
    ]
    own: dict[str, Any] = {"fingerprint": [cell.fingerprint for cell, _ in runs], "status": status}
    for name in (*MEASURED, "validation_error"):
        own[name] = np.array([np.nan if record is None else _number(getattr(record, name)) for record in found], dtype=float)
    own |= {f"{which}_accuracy": 100 - own[f"{which}_error"] for which in ("train", "test")}
    own |= {
        "params": [cell.params for cell, _ in runs],
        "macs": [cell.macs for cell, _ in runs],
        "weighted_layers": [cell.layers for cell, _ in runs],
        "seconds": np.array([record.seconds if record else np.nan for record in found], dtype=float),
        "epochs": pd.array([len(record.epochs) if record else None for record in found], dtype="Int64"),
        "iterations": pd.array([record.epochs[-1].iteration if record and record.epochs else None for record in found], dtype="Int64"),
        "images_per_second": np.array([_median_speed(record) for record in found], dtype=float),
    }
    for name in ("device", "threads", "torch"):
        own[name] = [record.environment.get(name, "") if record else "" for record in found]
    own["started"] = [record.started if record else "" for record in found]
    cells = [cell for cell, _ in runs]
    return _with_cell_columns(plan, cells, [seed for _, seed in runs], np.ones(len(runs), dtype=int), own)


def _epochs_table(data: StudyData) -> pd.DataFrame:
    cells, seeds, records = _finished(data)
    rows = [epoch for record in records for epoch in record.epochs]
    own: dict[str, Any] = {}
    for name in _EPOCH:
        kind = int if name in ("epoch", "iteration") else float
        own[name] = np.array([_number(getattr(row, name)) for row in rows], dtype=kind)
    return _with_cell_columns(data.plan, cells, seeds, np.array([len(record.epochs) for record in records], dtype=int), own)


def _gradients_table(data: StudyData, *, first_and_last: bool) -> pd.DataFrame:
    cells, seeds, records = _finished(data)
    norms: list[Any] = []
    last: list[int] = []
    for record in records:
        kept = record.arrays.get("gradient_norms", np.zeros((0, len(record.blocks))))
        norms.append(kept[[0, -1]] if first_and_last and len(kept) > 2 else kept)
        last.append(len(kept) - 1)
    epochs = [np.array([0, end]) if first_and_last and end > 1 else np.arange(len(kept)) for end, kept in zip(last, norms, strict=True)]
    widths = [len(record.blocks) for record in records]
    names = {record.blocks: np.array(record.blocks, dtype=object) for record in records}
    own = {
        "epoch": _joined([np.repeat(epoch, width) for epoch, width in zip(epochs, widths, strict=True)], int),
        "block": _joined([np.tile(names[record.blocks], len(kept)) for record, kept in zip(records, norms, strict=True)], object),
        "position": _joined([np.tile(np.arange(width), len(kept)) for width, kept in zip(widths, norms, strict=True)], int),
        "norm": _joined([kept.ravel() for kept in norms], float),
    }
    return _with_cell_columns(data.plan, cells, seeds, np.array([kept.size for kept in norms], dtype=int), own)


def metric_values(data: StudyData, metric: str) -> NDArray[np.float64]:
    """(runs,) a metric of each row of `data.runs`, nan where it has none: an error, a ratio of gradient norms, a number of a probe."""
    if metric in data.runs and metric in METRICS:
        return data.runs[metric].to_numpy(dtype=float)
    return data.gradient_ratios if metric == GRADIENT_RATIO else _of_runs(data, lambda record: record.probe_numbers.get(metric, np.nan))


def _of_runs(data: StudyData, measure: Callable[[RunRecord], float | None]) -> NDArray[np.float64]:
    records = [data.records.get((cell.name, seed)) for cell in data.plan.cells for seed in data.plan.seeds]
    return np.array([np.nan if record is None else measure(record) for record in records], dtype=float)


def _gradient_ratio(record: RunRecord) -> float:
    blocks = [row for row, name in enumerate(record.blocks) if "." in name]  # neither stem nor head
    if not blocks or "gradient_norms" not in record.arrays:
        return np.nan
    norms = record.arrays["gradient_norms"][0].astype(float)
    return float(norms[blocks[0]] / norms[blocks[-1]]) if norms[blocks[-1]] > 0 else np.nan


def _probes_table(data: StudyData) -> pd.DataFrame:
    cells, seeds, records = _finished(data)
    rows = [
        [(each, metric, value) for each in record.probes for metric, value in (each.numbers or {"": None}).items()] for record in records
    ]
    flat = [row for run in rows for row in run]
    own = {
        "probe": [each.probe for each, _, _ in flat],
        "moment": [each.moment for each, _, _ in flat],
        "metric": [metric for _, metric, _ in flat],
        "value": np.array([_number(value) for _, _, value in flat], dtype=float),
        "why_not": [each.why_not for each, _, _ in flat],
    }
    return _with_cell_columns(data.plan, cells, seeds, np.array([len(run) for run in rows], dtype=int), own)


def _tables_of_a_probe(data: StudyData, probe: str, moment: str) -> pd.DataFrame:
    cells, seeds, records = _finished(data)
    found = [(record, record.probed(probe, moment)) for record in records]
    tables = [record.probe_table(each) if each else {} for record, each in found]
    columns = dict.fromkeys(column for table in tables for column in table)
    own = {column: np.concatenate([table[column] for table in tables if column in table]) for column in columns}
    return _with_cell_columns(data.plan, cells, seeds, np.array([each.rows if each else 0 for _, each in found], dtype=int), own)


def _judged_by(plan: Plan, proposals: Mapping[str, Sequence[SearchTrial]], store: RunStore) -> dict[str, RunRecord]:
    """Finalist -> the first run of its trial, where it is there."""
    found = {}
    for search in plan.searches:
        trials = {trial.number: trial for trial in proposals[search.name]}
        for cell, number in search.finalist_cells.items():
            if number in trials and (record := store.load(trials[number].fingerprint, SEARCH_SEEDS)) is not None:
                found[cell] = record
    return found


def _trials_table(data: StudyData) -> pd.DataFrame:
    """Columns: search, arm, axes, number, those of `own` below, and one per parameter of any search, by its name.

    `trial` counts what is part of the budget, from 1. `validation_error` and `best` are of complete trials alone.
    """
    rows = [(search, trial) for search in data.plan.searches for trial in data.proposals.get(search.name, ())]
    searches, trials = [search for search, _ in rows], [trial for _, trial in rows]
    frame = pd.DataFrame({"search": [search.name for search in searches], "counts": [trial.state != "infeasible" for trial in trials]})
    complete = [trial.values[0] if trial.state == "complete" else np.nan for trial in trials]
    frame["error"] = np.array(complete, dtype=float)
    grouped = frame.groupby("search", sort=False)
    own: dict[str, Any] = {
        "trial": grouped["counts"].cumsum().where(frame["counts"]).astype("Int64"),
        "state": [trial.state for trial in trials],
        "proposed_by": [trial.proposed_by for trial in trials],
        "validation_error": frame["error"],
        "best": grouped["error"].cummin().groupby(frame["search"], sort=False).ffill(),
        "macs": [trial.macs for trial in trials],
        "params": [trial.params for trial in trials],
        "weighted_layers": [trial.layers for trial in trials],
        "diverged": [trial.diverged for trial in trials],
        "seconds": np.array([trial.seconds for trial in trials], dtype=float),
        "fingerprint": [trial.fingerprint for trial in trials],
    }
    names = dict.fromkeys(each.name for search in data.plan.searches for each in parameters(search.spec["space"])[0])
    own |= {name: [trial.point.get(name) for trial in trials] for name in names}
    table = _with_cell_columns(data.plan, searches, [trial.number for trial in trials], np.ones(len(rows), dtype=int), own)
    return table.drop(columns=FINALIST, errors="ignore").rename(columns={"cell": "search", "seed": "number"})


def _finished(data: StudyData) -> tuple[list[PlannedCell], list[int], list[RunRecord]]:
    """The finished runs in the plan's order: (cells, seeds, records), one item a run."""
    runs = [(cell, seed) for cell in data.plan.cells for seed in data.plan.seeds if (cell.name, seed) in data.records]
    return [cell for cell, _ in runs], [seed for _, seed in runs], [data.records[cell.name, seed] for cell, seed in runs]


def _with_cell_columns(
    plan: Plan, cells: Sequence[PlannedCell | PlannedSearch], seeds: Sequence[int], repeats: Any, own: Mapping[str, Any]
) -> pd.DataFrame:
    """A table: the cell's columns, each run's repeated so many times, then the table's own."""

    def repeated(values: Iterable[Any]) -> Any:
        return pd.Series(list(values)).repeat(repeats).reset_index(drop=True)

    columns: dict[str, Any] = {"cell": repeated(cell.name for cell in cells), "arm": repeated(cell.arm for cell in cells)}
    keys = {"cell", "arm", "seed", *(name for name in own if name in KEYS)}
    for axis in plan.axes:
        columns[f"axis_{axis}" if axis in keys else axis] = repeated(cell.axes.get(axis) for cell in cells)
    columns["seed"] = repeated(seeds)
    for name, values in own.items():
        columns[f"run_{name}" if name in columns else name] = values
    return pd.DataFrame(columns)


def _joined(parts: Sequence[Any], kind: type) -> Any:
    return np.concatenate(parts).astype(kind, copy=False) if parts else np.array([], dtype=kind)


def _median_speed(record: RunRecord | None) -> float:
    return median(epoch.images_per_second for epoch in record.epochs) if record and record.epochs else np.nan


def _number(value: float | None) -> float:
    return np.nan if value is None else value
