"""Where two studies differ: in which fields of which cells, and in which results."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resnet_lab.analysis.tables import StudyData, cell_summary

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
        for path, mine, other in _differing(cell.spec, specs.get(cell.name, {})):
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

    Over the seeds that both have: the mean difference (second - first), and how many are equal to the bit.
    """
    found = pd.DataFrame({"cell": list(dict.fromkeys(first.runs["cell"]))}).merge(second.runs[["cell"]].drop_duplicates())
    values = []
    for name, data in (("first", first), ("second", second)):
        summary = cell_summary(data.runs, metric).rename(columns={"mean": name, "sd": f"{name}_sd", "n": f"{name}_n"})
        found = found.merge(summary[["cell", name, f"{name}_sd", f"{name}_n"]])
        values.append(data.runs[["cell", "seed", metric]].dropna())
    both = values[0].merge(values[1], on=["cell", "seed"], suffixes=("_first", "_second"))
    apart = (both[f"{metric}_second"] - both[f"{metric}_first"]).groupby(both["cell"])
    of_both = apart.agg(difference="mean", equal_seeds=lambda values: (values == 0).sum(), shared_seeds="size").reset_index()
    found = found.merge(of_both, how="left")
    return found.fillna({"equal_seeds": 0, "shared_seeds": 0}).astype({"equal_seeds": int, "shared_seeds": int})


def _differing(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for section in SECTIONS:
        mine, other = first.get(section, {}), second.get(section, {})
        for name in {**mine, **other} if other else {}:
            if mine.get(name) != other.get(name):
                yield f"{section}.{name}", mine.get(name), other.get(name)
