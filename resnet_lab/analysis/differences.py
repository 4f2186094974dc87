"""Where two studies differ: in which fields of which cells, and in which results."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resnet_lab.analysis.statistics import Floats, estimate_interval, estimate_sides, paired_estimate
from resnet_lab.analysis.tables import StudyData, cell_summary
from resnet_lab.spec.claims import Region

SECTIONS = ("network", "data", "training")


@dataclass(frozen=True)
class RecipeDifference:
    """A field that two studies have otherwise, and the cells that it concerns."""

    path: str
    first: Any
    second: Any
    cells: tuple[str, ...]


def field_differences(first: StudyData, second: StudyData) -> list[RecipeDifference]:
    """Fields that differ in cells of the same name; one entry per field and pair of values."""
    specs = {cell.name: cell.spec for cell in second.plan.cells}
    found: dict[tuple[str, str, str], list[str]] = {}
    values: dict[tuple[str, str, str], tuple[Any, Any]] = {}
    for cell in first.plan.cells:
        other_spec = specs.get(cell.name)
        sections = SECTIONS if other_spec else ()
        for path, mine, other in (
            each for name in sections for each in _differing(cell.spec.get(name), (other_spec or {}).get(name), name)
        ):
            key = (path, repr(mine), repr(other))
            found.setdefault(key, []).append(cell.name)
            values[key] = (mine, other)
    return [RecipeDifference(key[0], *values[key], tuple(cells)) for key, cells in found.items()]


def only_in(first: StudyData, second: StudyData) -> tuple[str, ...]:
    """Cells that the first study has and the second has not."""
    names = {cell.name for cell in second.plan.cells}
    return tuple(cell.name for cell in first.plan.cells if cell.name not in names)


def result_differences(first: StudyData, second: StudyData, metric: str = "test_error") -> pd.DataFrame:
    """One row per cell that both have: mean, sd and n of a metric in both.

    Over the seeds that both have: the mean difference (second - first), its 95 % interval and two-sided p by the paired t test, and how many seeds
    are equal to the bit. Interval and p are nan below two seeds and without spread. No correction for the number of cells is made.
    """
    found = pd.DataFrame({"cell": list(dict.fromkeys(first.runs["cell"]))}).merge(second.runs[["cell"]].drop_duplicates())
    values = []
    for name, data in (("first", first), ("second", second)):
        summary = cell_summary(data.runs, metric).rename(columns={"mean": name, "sd": f"{name}_sd", "n": f"{name}_n"})
        found = found.merge(summary[["cell", name, f"{name}_sd", f"{name}_n"]])
        values.append(data.runs[["cell", "seed", metric]].dropna())
    both = values[0].merge(values[1], on=["cell", "seed"], suffixes=("_first", "_second"))
    apart = (both[f"{metric}_second"] - both[f"{metric}_first"]).groupby(both["cell"])
    tested = pd.DataFrame([{"cell": cell, **_tested(own.to_numpy(float))} for cell, own in apart])
    found = found.merge(tested.reindex(columns=["cell", "difference", "ci_low", "ci_high", "p", "equal_seeds", "shared_seeds"]), how="left")
    return found.fillna({"equal_seeds": 0, "shared_seeds": 0}).astype({"equal_seeds": int, "shared_seeds": int})


def _tested(differences: Floats) -> dict[str, float]:
    """What the differences (n,) of a cell's seeds say."""
    found = {"difference": float(differences.mean()), "equal_seeds": int((differences == 0).sum()), "shared_seeds": len(differences)}
    if len(differences) < 2 or (estimate := paired_estimate(differences)).se == 0:
        return found
    low, high = estimate_interval(estimate, 0.95)
    return {**found, "ci_low": low, "ci_high": high, "p": estimate_sides(estimate, Region(0.0, math.inf)).p}


def _differing(first: Any, second: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(path, value, other value) of what differs; tables are gone into where both have one."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in {**first, **second}:
            yield from _differing(first.get(name), second.get(name), f"{path}.{name}")
    elif first != second:
        yield path, first, second
