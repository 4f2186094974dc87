"""What the data say about one contrast of a claim before anything is tested: its value for each seed, and what was odd about its runs.

Values are in the metric's unit (percent for errors and accuracies, nats for losses). A diverged run has no final error: unless the metric is a loss it
counts as chance level, 100 (1 - 1/classes), and the evidence says so. For a claim about failing the value is 1 where the run failed to
train, diverged runs among them, and 0 where it did not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_lab.analysis.statistics import Floats, correlation
from resnet_lab.analysis.tables import METRICS, Run, StudyData, metric_values
from resnet_lab.spec.claims import Claim, is_level, reach
from resnet_lab.spec.probes import metric_facts

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
    def is_percent(self) -> bool:
        """Whether the metric is an error or an accuracy, which have a chance level; a loss and a probe's number have none."""
        return self.claim.is_percent

    @property
    def is_level(self) -> bool:
        """Whether its weights do not cancel."""
        return self.claim.fails is None and is_level(self.contrast)

    @property
    def weights(self) -> Floats:
        """(cells,) the contrast's weights."""
        return np.array([float(weight) for weight in self.contrast.values()])

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that the contrast can be: no error is below zero."""
        return reach(self.contrast, *metric_facts(self.claim.metric).claimed)

    @property
    def identical(self) -> bool:
        """Whether a difference is exactly zero at every seed."""
        return self.n > 0 and not self.is_level and not self.values.any()

    @property
    def zero_spread(self) -> bool:
        """Whether all seeds agree exactly, so that there is no t."""
        return self.n > 1 and float(np.ptp(self.values)) <= 2 * 10.0**-_DECIMALS


@dataclass(frozen=True)
class Measurements:
    """What the runs of a study measured, as arrays with a row per cell and a column per seed: all that its claims are judged by."""

    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[str, Floats]
    """Metric -> (cells, seeds), as claims are about it: a ratio is its decimal logarithm. nan where a run has none."""
    status: NDArray[Any]
    """(cells, seeds) of `done`, `diverged`, `failed` or `missing`."""
    chance: Floats
    """(cells,) error in percent of guessing among the cell's classes."""
    images: tuple[int | None, ...]
    """(cells,) number of test images, None where no run tells."""
    above: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """Cell -> (metric, error) beyond which a claim about failing counts its runs as failed."""

    def upto(self, seeds: Sequence[int]) -> "Measurements":
        """Those of some of the seeds."""
        kept = tuple(seed for seed in seeds if seed in self.seeds)
        columns = [self.seeds.index(seed) for seed in kept]
        metrics = {name: values[:, columns] for name, values in self.metrics.items()}
        return replace(self, seeds=kept, metrics=metrics, status=self.status[:, columns])

    def evidence(self, claim: Claim) -> tuple[Evidence, ...]:
        """The evidence on each contrast of a claim, whose cells are all here."""
        return tuple(_evidence(self, claim, contrast) for contrast in claim.contrasts)


def measurements(data: StudyData) -> Measurements:
    """The tables of a study as arrays. A run's images are asked of one run per cell, since all runs of a cell see the same data.

    Cells that only claims name are finalists of searches that go on: all their runs are missing.
    """
    plan, runs = data.plan, data.runs
    chance = {cell.name: 100.0 * (1 - 1 / int(cell.spec["network"]["classes"])) for cell in plan.cells}
    row = {
        name: position for position, name in enumerate(dict.fromkeys([*chance, *(name for claim in plan.claims for name in claim.cells)]))
    }
    column = {seed: position for position, seed in enumerate(plan.seeds)}
    at = np.array([row[name] for name in runs["cell"]], dtype=int), np.array([column[seed] for seed in runs["seed"]], dtype=int)

    def table(found: Any, empty: Any, kind: type) -> NDArray[Any]:
        values: NDArray[Any] = np.full((len(row), len(column)), empty, dtype=kind)
        values[at] = np.asarray(found, dtype=kind)
        return values

    wanted = dict.fromkeys([*(name for name in METRICS if name in runs), *(claim.metric for claim in plan.claims)])

    images: dict[str, int] = {}
    for (cell, _), record in data.records.items():
        images.setdefault(cell, record.images["test"])
    failing = [claim for claim in plan.claims if claim.fails is not None]
    return Measurements(
        cells=tuple(row),
        seeds=tuple(plan.seeds),
        metrics={name: table(_as_claimed(name, metric_values(data, name)), np.nan, float) for name in wanted},
        status=table(runs["status"], "missing", object),
        chance=np.array([chance.get(name, np.nan) for name in row]),
        images=tuple(images.get(name) for name in row),
        above={cell: (claim.metric, claim.fails.above) for claim in failing if claim.fails for cell in claim.cells},
    )


def _as_claimed(metric: str, values: Floats) -> Floats:
    """The decimal logarithm of a ratio; nan where it has none."""
    if not metric_facts(metric).log:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm: Floats = np.log10(values)
    return np.where(np.isfinite(logarithm), logarithm, np.nan)


def _evidence(measured: Measurements, claim: Claim, contrast: dict[str, float]) -> Evidence:
    cells, seeds = list(contrast), measured.seeds
    rows = [measured.cells.index(name) for name in cells]
    weights = np.array([float(weight) for weight in contrast.values()])
    status, values, chances = measured.status[rows], measured.metrics[claim.metric][rows], measured.chance[rows]
    diverged, gone = status == "diverged", (status == "missing") | (status == "failed")
    is_accuracy = claim.metric.endswith("accuracy")
    if claim.is_percent:
        values = np.where(diverged, (100 - chances if is_accuracy else chances)[:, None], values)
    finite = np.isfinite(values)
    if not claim.is_percent:  # what was measured before a run diverged is a number like any other
        diverged = diverged & ~finite
    shared: Any = finite.all(axis=0)
    means = _means(values, finite)
    errors = 100 - means if is_accuracy else means
    if claim.fails is not None:
        values = np.where(finite, (values > claim.fails.above) | diverged, np.nan)
    affected = chances[diverged.any(axis=1)] if diverged.any() else chances

    def runs(where: NDArray[np.bool_]) -> tuple[Run, ...]:
        return tuple((cells[row], seeds[column]) for row, column in np.argwhere(where))

    return Evidence(
        claim=claim,
        contrast=contrast,
        seeds=tuple(seed for seed, is_shared in zip(seeds, shared, strict=True) if is_shared),
        values=np.round(weights @ values[:, shared], _DECIMALS) + 0.0,  # + 0.0: no minus zero
        cell_values=values[:, shared],
        correlation=_two_arms(weights, values[:, shared]) if claim.is_percent or not diverged.any() else float("nan"),
        planned=len(seeds),
        missing=runs(gone),
        failed=runs(status == "failed"),
        diverged=runs(diverged),
        mixed=() if claim.fails else _mixed(measured, cells),
        valueless=runs(~finite & ~gone & ~diverged),
        floor=_named(cells, errors <= FLOOR) if claim.is_percent else (),
        ceiling=_named(cells, errors >= chances - CEILING) if claim.is_percent else (),
        images=tuple(sorted({count for row in rows if (count := measured.images[row]) is not None})),
        chance=float(affected[0]),
    )


def _mixed(measured: Measurements, cells: list[str]) -> tuple[Mixed, ...]:
    """Cells of the contrast that a claim about failing names, with finished runs on both sides of its `above`."""
    found = []
    for cell in cells:
        if cell in measured.above:
            metric, above = measured.above[cell]
            row = measured.cells.index(cell)
            values, status = measured.metrics[metric][row], measured.status[row]
            fails, n = int(np.sum((values > above) | (status == "diverged"))), int(np.sum((status == "done") | (status == "diverged")))
            found += [Mixed(cell, above, fails, n)] if 0 < fails < n else []
    return tuple(found)


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
