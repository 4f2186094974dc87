"""What was measured beside the errors: gradient norms and probes of each cell with their intervals, and how the norms go with the final error.

A ratio (`MetricFacts.log`) is averaged as its logarithm and given as itself: a geometric mean, and the ends of its interval.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resnet_lab.analysis.statistics import spearman
from resnet_lab.analysis.tables import StudyData, axis_columns, cell_summary, metric_values
from resnet_lab.spec.probes import GRADIENT_RATIO, PROBES, metric_facts
from resnet_lab.text import MINUS, plural


def measured_frame(data: StudyData) -> pd.DataFrame:
    """One row a metric and cell, in the order of metrics, then cells: n, mean, and the 95 % t interval of one cell alone; cells without a number left out.

    Columns: metric, cell, arm, axes, n, mean, ci_low, ci_high, lost. `lost` counts ended runs that measured it and have no usable number: what
    was zero or infinite in a ratio, or is of a run that diverged. The interval is nan for one run, and where runs show no spread.
    """
    axes = axis_columns(data.runs)
    columns = ["metric", "cell", "arm", *axes, "n", "mean", "ci_low", "ci_high", "lost"]
    values = {metric: _usable(metric, metric_values(data, metric)) for metric in _metrics(data)}
    parts = [_of_metric(data, metric, found)[columns] for metric, found in values.items() if np.isfinite(found).any()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def amplification(data: StudyData) -> pd.DataFrame:
    """One row a run: cell, seed, ratio (the gradient norm of the first block over that of the last, at initialization), train_error in percent.

    A run is left out that has no final error, or whose ratio is zero or not finite.
    """
    runs = data.runs[["cell", "seed"]].assign(ratio=metric_values(data, GRADIENT_RATIO), train_error=data.runs["train_error"])
    known = runs["train_error"].notna() & np.isfinite(runs["ratio"]) & (runs["ratio"] > 0)
    found: pd.DataFrame = runs.loc[known].reset_index(drop=True)
    return found


def association(runs: pd.DataFrame) -> str:
    """The rank correlation of the rows of `amplification` as a sentence that claims no cause."""
    rho = spearman(runs["ratio"].to_numpy(float), runs["train_error"].to_numpy(float))
    of = f"{plural(len(runs), 'run')} of {plural(runs['cell'].nunique(), 'cell')}"
    if math.isnan(rho):
        return f"No rank correlation: it needs three runs that differ in both ({of})."
    said = f"{rho:.2f}".replace("-", MINUS)
    return f"Spearman’s rank correlation over {of} (n = {len(runs)}): {said}. This is an association, not cause: cells differ in more than this ratio."


def _metrics(data: StudyData) -> list[str]:
    """Those that a run may have: gradient norms first, then probes in the order of their table, then those from outside."""
    known = [GRADIENT_RATIO, *(metric for facts in PROBES.values() for metric in facts.named_metrics)]
    found = {metric for record in data.records.values() for metric in record.probe_numbers}
    return [metric for metric in dict.fromkeys([*known, *sorted(found)]) if metric == GRADIENT_RATIO or metric in found]


def _of_metric(data: StudyData, metric: str, values: NDArray[np.float64]) -> pd.DataFrame:
    facts = metric_facts(metric)
    runs = data.runs.assign(measured=values)
    summary = cell_summary(runs, "measured").assign(metric=metric)
    ends = ["mean", "ci_low", "ci_high"]
    summary[ends] = 10.0 ** summary[ends] if facts.log else summary[ends].clip(facts.low, facts.high)
    asked = [run in data.records and _has_asked(data, run, metric) for run in zip(runs["cell"], runs["seed"], strict=True)]
    lost = (runs["measured"].isna() & np.array(asked)).groupby(runs["cell"], sort=False).sum()
    return summary.assign(lost=summary["cell"].map(lost))[summary["n"] > 0]


def _has_asked(data: StudyData, run: tuple[str, int], metric: str) -> bool:
    record = data.records[run]
    return "gradient_norms" in record.arrays if metric == GRADIENT_RATIO else metric in record.probe_numbers


def _usable(metric: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(runs,) what is averaged: the logarithm of a ratio; nan where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = np.log10(values) if metric_facts(metric).log else values
    return np.where(np.isfinite(found), found, np.nan)
