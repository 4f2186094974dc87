"""What the data say about one contrast of a claim before anything is tested: its value for each seed, and what was odd about its runs.

Values are in the metric's unit (percent for errors, nats for losses). A diverged run has no final error: where the metric is an error it
counts as chance level, 100 (1 - 1/classes), and the evidence says so. For a claim about failing the value is 1 where the run failed to
train, diverged runs among them, and 0 where it did not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnet_lab.analysis.statistics import Floats, correlation
from resnet_lab.analysis.tables import Run, StudyData
from resnet_lab.spec.claims import Claim, is_level

FLOOR = 0.05
"""A cell whose mean error is at most this is at the floor: its nets make next to no mistakes, so smaller errors cannot be seen."""
CEILING = 0.5
"""A cell whose mean error comes this close to chance is at the ceiling: a net that always names one class lands here."""
_DECIMALS = 9
"""Contrasts are rounded to this many decimals: differences that are equal but for the rounding of binary fractions are then equal."""


@dataclass(frozen=True)
class Mixed:
    """A cell some of whose runs failed to train, by what a claim of the study counts as failing, while others did not."""

    cell: str
    above: float
    failed: int
    n: int


@dataclass(frozen=True)
class Evidence:
    """A claim's contrast, seed by seed, over the seeds at which every cell has a value."""

    claim: Claim
    contrast: dict[str, float]
    seeds: tuple[int, ...]
    values: Floats
    """(n,) the contrast at each seed."""
    cell_values: Floats
    """(cells, n) what it is made of, rows in the order of the contrast."""
    correlation: float
    """Of the two arms over seeds, where the contrast is one cell against another; else nan."""
    planned: int
    missing: tuple[Run, ...]
    """Planned runs of its cells that are not there, failed ones included."""
    failed: tuple[Run, ...]
    diverged: tuple[Run, ...]
    mixed: tuple[Mixed, ...]
    """Cells with runs on both sides of what counts as failing: two kinds of run, whose mean is a mean of neither."""
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
    def is_level(self) -> bool:
        """Whether its weights do not cancel."""
        return self.claim.fails is None and is_level(self.contrast)

    @property
    def weights(self) -> Floats:
        """(cells,) the contrast's weights."""
        return np.array([float(weight) for weight in self.contrast.values()])

    @property
    def identical(self) -> bool:
        """Whether a difference is exactly zero at every seed."""
        return self.n > 0 and not self.is_level and not self.values.any()

    @property
    def zero_spread(self) -> bool:
        """Whether all seeds agree exactly, so that there is no t."""
        return self.n > 1 and float(np.ptp(self.values)) <= 2 * 10.0**-_DECIMALS


class Evidences:
    """Gathers the evidence on claims from one study; the study's tables are turned into arrays once.

    `seeds`: the study's seeds to go by, by default all that it planned.
    """

    def __init__(self, data: StudyData, seeds: Sequence[int] | None = None) -> None:
        self._data = data
        self._seeds = data.plan.seeds if seeds is None else tuple(seed for seed in seeds if seed in data.plan.seeds)
        self._kept = [data.plan.seeds.index(seed) for seed in self._seeds]
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
        self._status = self._status[:, self._kept]
        self._metrics: dict[str, Floats] = {}
        failing = [claim for claim in data.plan.claims if claim.fails is not None]
        self._above = {cell: (claim.metric, claim.fails.above) for claim in failing if claim.fails for cell in claim.cells}

    def of(self, claim: Claim) -> tuple[Evidence, ...]:
        """The evidence on each contrast of a claim. Its cells are the plan's: a claim about another was refused when it was read."""
        return tuple(self._on(claim, contrast) for contrast in claim.contrasts)

    def _on(self, claim: Claim, contrast: dict[str, float]) -> Evidence:
        cells = list(contrast)
        rows = np.array([self._row[name] for name in cells])
        weights = np.array([float(weight) for weight in contrast.values()])
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
        if claim.fails is not None:
            values = np.where(finite, (values > claim.fails.above) | diverged, np.nan)
        seeds = self._seeds
        affected = chances[diverged.any(axis=1)] if diverged.any() else chances
        return Evidence(
            claim=claim,
            contrast=contrast,
            seeds=tuple(seed for seed, is_shared in zip(seeds, shared, strict=True) if is_shared),
            values=np.round(weights @ values[:, shared], _DECIMALS) + 0.0,  # + 0.0: no minus zero
            cell_values=values[:, shared],
            correlation=_two_arms(weights, values[:, shared]) if is_error or not diverged.any() else float("nan"),
            planned=len(seeds),
            missing=self._runs(cells, gone),
            failed=self._runs(cells, status == "failed"),
            diverged=self._runs(cells, diverged),
            mixed=() if claim.fails else self._mixed(cells),
            valueless=self._runs(cells, ~finite & ~gone & ~diverged),
            floor=_named(cells, means <= FLOOR) if is_error else (),
            ceiling=_named(cells, means >= chances - CEILING) if is_error else (),
            images=self._images(cells),
            chance=float(affected[0]),
        )

    def _metric(self, metric: str) -> Floats:
        """(cells, seeds) of a metric, nan where a run has none."""
        if metric not in self._metrics:
            values = np.full((len(self._row), len(self._data.plan.seeds)), np.nan)
            values[self._at] = self._data.runs[metric].to_numpy(dtype=float)
            self._metrics[metric] = values[:, self._kept]
        return self._metrics[metric]

    def _mixed(self, cells: list[str]) -> tuple[Mixed, ...]:
        """Cells of the contrast that a claim about failing names, with finished runs on both sides of its `above`."""
        found = []
        for cell in cells:
            if cell in self._above:
                metric, above = self._above[cell]
                values, status = self._metric(metric)[self._row[cell]], self._status[self._row[cell]]
                fails, n = int(np.sum((values > above) | (status == "diverged"))), int(np.sum((status == "done") | (status == "diverged")))
                found += [Mixed(cell, above, fails, n)] if 0 < fails < n else []
        return tuple(found)

    def _chance(self, cell: str) -> float:
        """Error in percent of guessing among the cell's classes."""
        return 100.0 * (1 - 1 / int(self._cells[cell].spec["network"]["classes"]))

    def _runs(self, cells: list[str], where: NDArray[np.bool_]) -> tuple[Run, ...]:
        if not where.any():
            return ()
        return tuple((cells[row], self._seeds[column]) for row, column in np.argwhere(where))

    def _images(self, cells: list[str]) -> tuple[int, ...]:
        """Distinct numbers of test images; one run a cell is asked, since all runs of a cell see the same data."""
        counts = set()
        for cell in cells:
            record = next((self._data.records[cell, seed] for seed in self._seeds if (cell, seed) in self._data.records), None)
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
