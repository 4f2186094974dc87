"""What the data say about one claim before anything is tested: its contrast's value for each seed, and what was odd about its runs.

Values are in the metric's unit (percent for errors, nats for losses). A diverged run has no final error: where the metric is an error it
counts as chance level, 100 (1 - 1/classes), and the evidence says so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnet_lab.analysis.statistics import Floats, correlation
from resnet_lab.analysis.tables import Run, StudyData
from resnet_lab.spec.claims import Claim

FLOOR = 0.05
"""A cell whose mean error is at most this is at the floor: its nets make next to no mistakes, so smaller errors cannot be seen."""
CEILING = 0.5
"""A cell whose mean error comes this close to chance is at the ceiling: a net that always names one class lands here."""
_DECIMALS = 9
"""Contrasts are rounded to this many decimals: differences that are equal but for the rounding of binary fractions are then equal."""


@dataclass(frozen=True)
class Evidence:
    """A claim's contrast, seed by seed, over the seeds at which every cell has a value."""

    claim: Claim
    seeds: tuple[int, ...]
    values: Floats
    """(n,) the contrast at each seed."""
    correlation: float
    """Of the two arms over seeds, where the contrast is one cell against another; else nan."""
    planned: int
    missing: tuple[Run, ...]
    """Planned runs of its cells that are not there, failed ones included."""
    failed: tuple[Run, ...]
    diverged: tuple[Run, ...]
    valueless: tuple[Run, ...]
    """Runs that finished without a number for this metric."""
    floor: tuple[str, ...]
    """Cells at the floor."""
    ceiling: tuple[str, ...]
    """Cells at chance."""
    images: tuple[int, ...]
    """Numbers of test images of its runs; one unless cells differ in their data."""
    chance: float
    """Chance level of the error in percent, of the cells with diverged runs where there are some."""

    @property
    def n(self) -> int:
        """Seeds shared by all cells."""
        return len(self.values)

    @property
    def is_error(self) -> bool:
        """Whether the metric is an error in percent, which has a floor and a chance level; a loss has neither."""
        return self.claim.metric.endswith("error")

    @property
    def identical(self) -> bool:
        """Whether a difference is exactly zero at every seed."""
        return self.n > 0 and not self.claim.is_level and not self.values.any()

    @property
    def zero_spread(self) -> bool:
        """Whether all seeds agree exactly, so that there is no t."""
        return self.n > 1 and float(np.ptp(self.values)) <= 2 * 10.0**-_DECIMALS


class Evidences:
    """Gathers the evidence on claims from one study; the study's tables are turned into arrays once."""

    def __init__(self, data: StudyData) -> None:
        self._data = data
        self._cells = {cell.name: cell for cell in data.plan.cells}
        self._row = {name: row for row, name in enumerate(self._cells)}
        column = {seed: position for position, seed in enumerate(data.plan.seeds)}
        runs = data.runs
        self._at = (
            np.array([self._row[name] for name in runs["cell"]], dtype=int),
            np.array([column[seed] for seed in runs["seed"]], dtype=int),
        )
        self._status = np.full((len(self._row), len(column)), "missing", dtype=object)
        self._status[self._at] = runs["status"].to_numpy(dtype=object)
        self._metrics: dict[str, Floats] = {}

    def of(self, claim: Claim) -> Evidence:
        """The evidence on a claim. Its cells are the plan's: a claim about another cell was refused when it was read."""
        cells = list(claim.contrast)
        rows = np.array([self._row[name] for name in cells])
        weights = np.array([float(weight) for weight in claim.contrast.values()])
        status = self._status[rows]
        diverged, gone = status == "diverged", (status == "missing") | (status == "failed")
        values = self._metric(claim.metric)[rows]
        is_error = claim.metric.endswith("error")
        chances = np.array([self._chance(name) for name in cells])
        if is_error:
            values = np.where(diverged, chances[:, None], values)
        finite = np.isfinite(values)
        shared = finite.all(axis=0)
        means = _means(values, finite)
        seeds = self._data.plan.seeds
        affected = chances[diverged.any(axis=1)] if diverged.any() else chances
        return Evidence(
            claim=claim,
            seeds=tuple(seed for seed, is_shared in zip(seeds, shared, strict=True) if is_shared),
            values=np.round(weights @ values[:, shared], _DECIMALS) + 0.0,  # + 0.0: no minus zero
            correlation=_two_arms(weights, values[:, shared]) if is_error or not diverged.any() else float("nan"),
            planned=len(seeds),
            missing=self._runs(cells, gone),
            failed=self._runs(cells, status == "failed"),
            diverged=self._runs(cells, diverged),
            valueless=self._runs(cells, ~finite & ~gone & ~diverged),
            floor=_named(cells, means <= FLOOR) if is_error else (),
            ceiling=_named(cells, means >= chances - CEILING) if is_error else (),
            images=self._images(cells),
            chance=float(affected[0]),
        )

    def _metric(self, metric: str) -> Floats:
        """(cells, seeds) of a metric, nan where a run has none."""
        if metric not in self._metrics:
            values = np.full(self._status.shape, np.nan)
            values[self._at] = self._data.runs[metric].to_numpy(dtype=float)
            self._metrics[metric] = values
        return self._metrics[metric]

    def _chance(self, cell: str) -> float:
        """Error in percent of guessing among the cell's classes."""
        return 100.0 * (1 - 1 / int(self._cells[cell].spec["network"]["classes"]))

    def _runs(self, cells: list[str], where: NDArray[np.bool_]) -> tuple[Run, ...]:
        if not where.any():
            return ()
        return tuple((cells[row], self._data.plan.seeds[column]) for row, column in np.argwhere(where))

    def _images(self, cells: list[str]) -> tuple[int, ...]:
        """Distinct numbers of test images; one run a cell is asked, since all runs of a cell see the same data."""
        counts = set()
        for cell in cells:
            record = next((self._data.records[cell, seed] for seed in self._data.plan.seeds if (cell, seed) in self._data.records), None)
            if record is not None:
                counts.add(record.images["test"])
        return tuple(sorted(counts))


def _means(values: Floats, finite: NDArray[np.bool_]) -> Floats:
    """(cells,) mean over the seeds that have a value, nan where none has."""
    counts = finite.sum(axis=1)
    sums = np.where(finite, values, 0.0).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _named(cells: list[str], where: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(cell for cell, is_there in zip(cells, where, strict=True) if is_there)


def _two_arms(weights: Floats, values: Floats) -> float:
    """Correlation over seeds of the two cells of a contrast with one weight above and one below zero; nan for any other contrast."""
    is_pair = len(weights) == 2 and weights[0] * weights[1] < 0
    return correlation(values[0], values[1]) if is_pair else float("nan")
