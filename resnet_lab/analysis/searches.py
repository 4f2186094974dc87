"""What the searches of a study came to: finalists beside the scores that chose them, fronts, tuning-budget curves, and the random controls.

Errors are in percent. A search's own score is a validation error, and an optimistic one, since the finalist was chosen by it; the fresh error is a
test error, over seeds that chose nothing.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from resnet_lab.analysis.contrasts import measurements
from resnet_lab.analysis.statistics import Floats
from resnet_lab.analysis.tables import StudyData, cell_summary
from resnet_lab.runs.plan import Plan, PlannedSearch
from resnet_lab.spec.claims import Claim
from resnet_lab.spec.search import Label, parameters

SPENT = ("complete", "pruned", "failed")
"""States of trials that are over and part of the budget."""
MOST_POINTS = 60
"""Numbers of trials at which a tuning-budget curve is worked out, evenly spread on a logarithmic axis."""
_WHO = ("sampler", "seed", "first", "finalists")
"""Fields of a search that say who proposes and what comes of it, and not what is searched or for how long."""


@dataclass(frozen=True)
class AgainstControl:
    """A search's best finalist beside that of its random control: mean of fresh test errors less the control's, paired by seed."""

    search: str
    control: str
    difference: float
    low: float
    high: float
    """The 95 % t interval; nan where seeds show no spread."""
    n: int


def finalists(data: StudyData) -> pd.DataFrame:
    """One row a finalist that is a cell: its trial's own score beside its fresh test error with the 95 % t interval over seeds.

    Columns: cell, search, arm, axes, trial (its number), point (parameter -> label), params, macs, search_error, search_seeds, those of
    `cell_summary` for the test error (n, mean, sd, ci_low, ci_high, diverged), and gap, the mean less the search's own score.
    """
    cells = {cell.name: cell for cell in data.plan.cells}
    summary = cell_summary(data.runs, "test_error").set_index("cell")
    rows = []
    for search in data.plan.searches:
        trials = {trial.number: trial for trial in data.proposals.get(search.name, ())}
        for name, number in search.finalist_cells.items():
            if name not in cells or number not in trials:
                continue
            trial, found = trials[number], summary.loc[name]
            row: dict[str, Any] = {"cell": name, "search": search.name, "arm": search.arm, **cells[name].axes, "trial": number}
            row |= {"point": trial.point, "params": cells[name].params, "macs": cells[name].macs}
            row |= {"search_error": trial.values[0], "search_seeds": len(trial.scores)}
            row |= {column: found[column] for column in ("n", "mean", "sd", "ci_low", "ci_high", "diverged")}
            rows.append({**row, "gap": found["mean"] - trial.values[0]})
    columns = ["cell", "search", "arm", *data.plan.axes, "trial", "point", "params", "macs", "search_error", "search_seeds"]
    return pd.DataFrame(rows, columns=[*columns, "n", "mean", "sd", "ci_low", "ci_high", "diverged", "gap"])


def counts(data: StudyData) -> pd.DataFrame:
    """One row a search: complete, pruned, failed, running and infeasible proposals, runs that diverged, seconds of training, and its best score."""
    states = ("complete", "pruned", "failed", "running", "infeasible")
    rows = []
    for search in data.plan.searches:
        trials = data.proposals.get(search.name, [])
        errors = [trial.values[0] for trial in trials if trial.state == "complete"]
        rows.append(
            {
                "search": search.name,
                **{state: sum(trial.state == state for trial in trials) for state in states},
                "diverged": sum(trial.diverged for trial in trials),
                "seconds": math.fsum(trial.seconds for trial in trials),
                "best": min(errors, default=math.nan),
            }
        )
    return pd.DataFrame(rows, columns=["search", *states, "diverged", "seconds", "best"])


def is_dominated(errors: Floats, costs: Floats) -> Any:
    """(n,) whether another point is at most as high in both and lower in one. Equal points do not dominate each other."""
    order = np.lexsort((costs, errors))
    found = np.zeros(len(errors), dtype=bool)
    cheapest, before = math.inf, (math.nan, math.nan)
    for at in order:  # by rising error: dominated by any earlier point that costs as much or less
        here = (errors[at], costs[at])
        found[at] = cheapest <= costs[at] and here != before
        if not found[at]:
            before = here
        cheapest = min(cheapest, costs[at])
    return found


def expected_best(errors: Floats, trials: Floats) -> Floats:
    """(m,) the lowest error to expect of `trials` (m,) of the N errors (N,): the exact mean over all subsets of that size.

    As Dodge et al. 2019 (arXiv:1909.03004), but drawn without replacement, which does not underestimate it (Tang et al. 2020,
    arXiv:2004.13705). It foretells a search of n trials where trials are independent of each other: in random search.
    """
    ordered = np.sort(errors)
    count = len(ordered)
    rest = count - np.arange(1, count)  # errors above the i-th
    weights = [np.concatenate([[n / count], n / count * np.cumprod((rest - n + 1).clip(0) / rest)]) for n in trials]
    return np.array([float(weight @ ordered) for weight in weights])


def budget_curves(data: StudyData) -> pd.DataFrame:
    """One row a search and number of trials: the lowest validation error to expect of so many of its trials (`expected_best`).

    Trials that were pruned or failed count as the search's worst. Columns: search, trials, value, n (of the search).
    """
    parts = []
    for search, rows in data.trials.groupby("search", sort=False):
        over = rows[rows["state"].isin(SPENT)]
        errors = over["validation_error"].fillna(over["validation_error"].max()).to_numpy(dtype=float)
        if over["validation_error"].notna().any():
            at = np.unique(np.geomspace(1, len(errors), MOST_POINTS).round())
            parts.append(pd.DataFrame({"search": search, "trials": at.astype(int), "value": expected_best(errors, at), "n": len(errors)}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["search", "trials", "value", "n"])


def controls(plan: Plan) -> dict[str, str]:
    """Search -> its random control: the search that tries as many points of the same space at random, over the same network and recipe."""
    question, found = tomllib.loads(plan.toml), dict[str, str]()
    for search in plan.searches:
        for other in plan.searches:
            if search.spec["sampler"] != "random" and other.spec["sampler"] == "random" and _alike(search, other, question):
                found.setdefault(search.name, other.name)
    return found


def _alike(one: PlannedSearch, other: PlannedSearch, question: Mapping[str, Any]) -> bool:
    """Whether two searches differ in nothing but who proposes."""

    def asked(search: PlannedSearch) -> Any:
        fragment = {key: value for key, value in question.get("arms", {}).get(search.arm, {}).items() if key != "search"}
        where = [entry for entry in question.get("where", []) if search.arm in np.atleast_1d(entry.get("arm", []))]
        return fragment, where, search.axes, {key: value for key, value in search.spec.items() if key not in _WHO}

    return bool(asked(one) == asked(other))


def against_controls(data: StudyData) -> list[AgainstControl]:
    """The best finalist of each search that has a random control beside the control's best, where both have fresh errors.

    A run that diverged counts as chance, as in claims.
    """
    measured, found = measurements(data), []
    for search, control in controls(data.plan).items():
        contrast = {f"{search}/1": 1.0, f"{control}/1": -1.0}
        if not contrast.keys() <= set(measured.cells):
            continue
        values = measured.evidence(Claim(search, contrast, metric="test_error"))[0].values
        if len(values):
            mean, n = float(values.mean()), len(values)
            half = float(stdtrit(n - 1, 0.975) * values.std(ddof=1)) / math.sqrt(n) if n > 1 and np.ptp(values) else math.nan
            found.append(AgainstControl(search, control, mean, mean - half, mean + half, n))
    return found


def searched_fields(search: PlannedSearch) -> list[str]:
    """Paths of the fields that it chooses, in the order written."""
    return list(dict.fromkeys(each.path for each in parameters(search.spec["space"])[0]))


def parameter_text(name: str) -> str:
    """`depths, stage 1`, `lr`: the last part of a parameter's field."""
    path, _, stage = name.rpartition(".")
    return f"{path.partition('.')[2]}, stage {int(stage) + 1}" if stage.isdigit() else name.partition(".")[2]


def point_text(point: Mapping[str, Label]) -> str:
    """`depths 2-2-2, lr 0.0312`: parameters by the last part of their name, one of several stages joined by dashes."""
    words: dict[str, list[str]] = {}
    for name, label in point.items():
        path, _, stage = name.rpartition(".")
        words.setdefault(path if stage.isdigit() else name, []).append(_said(label))
    short = {path: path.partition(".")[2] for path in words}
    return ", ".join(f"{short[path]} {'-'.join(values)}" for path, values in words.items())


def _said(label: Label) -> str:
    return {True: "yes", False: "no"}[label] if isinstance(label, bool) else f"{label:.3g}" if isinstance(label, float) else str(label)
