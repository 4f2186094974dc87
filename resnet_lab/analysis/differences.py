"""Where two studies differ: in which fields of which cells, and in which results."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from resnet_lab.analysis.tables import StudyData

SECTIONS = ("network", "data", "training")


@dataclass(frozen=True)
class FieldDifference:
    """A field that two studies have otherwise, and the cells that it concerns."""

    path: str
    first: Any
    second: Any
    cells: tuple[str, ...]


def field_differences(first: StudyData, second: StudyData) -> list[FieldDifference]:
    """Fields that differ in cells of the same name; one entry a (field, pair of values)."""
    specs = {cell.name: cell.spec for cell in second.plan.cells}
    found: dict[tuple[str, str, str], list[str]] = {}
    values: dict[tuple[str, str, str], tuple[Any, Any]] = {}
    for cell in first.plan.cells:
        for path, mine, other in _differing(cell.spec, specs.get(cell.name, {})):
            key = (path, repr(mine), repr(other))
            found.setdefault(key, []).append(cell.name)
            values[key] = (mine, other)
    return [FieldDifference(key[0], *values[key], tuple(cells)) for key, cells in found.items()]


def only_in(first: StudyData, second: StudyData) -> tuple[str, ...]:
    """Cells that the first study has and the second has not."""
    names = {cell.name for cell in second.plan.cells}
    return tuple(cell.name for cell in first.plan.cells if cell.name not in names)


def result_differences(first: StudyData, second: StudyData, metric: str = "test_error") -> pd.DataFrame:
    """A row a cell of the same name: mean, sd and n of a metric in both.

    Over the seeds that both have: the mean difference (second - first), and how many are equal to the bit.
    """
    rows = []
    values = [_by_cell(data, metric) for data in (first, second)]
    for name in values[0]:
        if name not in values[1]:
            continue
        one, other = values[0][name], values[1][name]
        shared = sorted(set(one) & set(other))
        a, b = np.array(list(one.values())), np.array(list(other.values()))
        rows.append(
            {
                "cell": name,
                "first": a.mean() if a.size else np.nan,
                "first_sd": a.std(ddof=1) if a.size > 1 else np.nan,
                "first_n": a.size,
                "second": b.mean() if b.size else np.nan,
                "second_sd": b.std(ddof=1) if b.size > 1 else np.nan,
                "second_n": b.size,
                "difference": np.mean([other[seed] - one[seed] for seed in shared]) if shared else np.nan,
                "equal_seeds": sum(one[seed] == other[seed] for seed in shared),
                "shared_seeds": len(shared),
            }
        )
    return pd.DataFrame(rows)


def _by_cell(data: StudyData, metric: str) -> dict[str, dict[int, float]]:
    known = data.runs.dropna(subset=[metric])
    return {
        cell.name: dict(zip(rows["seed"], rows[metric], strict=True))
        for cell in data.plan.cells
        if (rows := known[known["cell"] == cell.name]) is not None
    }


def _differing(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for section in SECTIONS:
        mine, other = first.get(section, {}), second.get(section, {})
        for name in {**mine, **other} if other else {}:
            if mine.get(name) != other.get(name):
                yield f"{section}.{name}", mine.get(name), other.get(name)
