"""The tests behind verdicts, as functions of plain arrays: Student t, Welch, exact sign and binomial tests, Holm's step-down over a family.

One value a seed goes in, in the metric's unit. Tests are two-sided: a p is twice the smaller of the probabilities, at the boundary of the
claim's region, of data at least as far inside and of data at least as far outside. `scipy.special` stands in for the same functions of
`scipy.stats`, which take fifty times as long a call.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, betaincinv, stdtr, stdtrit

from resnet_lab.spec.claims import Region

Floats = NDArray[np.float64]
Tails = Callable[[float], tuple[float, float]]
"""boundary -> (probability of data this far above it, probability of data this far below it), were the truth at the boundary."""


@dataclass(frozen=True)
class Sides:
    """One-sided probabilities that the data lean this far into the region, or this far out of it, were the truth at its boundary."""

    inside: float
    outside: float

    @property
    def p(self) -> float:
        """Two-sided."""
        return min(1.0, 2 * min(self.inside, self.outside))

    @property
    def leans_inside(self) -> bool:
        """Whether the data speak for the region rather than against it."""
        return self.inside <= self.outside


def larger(first: Sides, second: Sides) -> Sides:
    """Both tests together: each side as improbable as the less convinced test has it. Tests that point opposite ways decide nothing."""
    return Sides(max(first.inside, second.inside), max(first.outside, second.outside))


def sign_sides(differences: Floats, region: Region) -> Sides:
    """The exact sign test against the region: values on a boundary are dropped, the rest are coin tosses."""

    def tails(boundary: float) -> tuple[float, float]:
        above, below = int(np.sum(differences > boundary)), int(np.sum(differences < boundary))
        tossed = above + below
        return (float(bdtr(below, tossed, 0.5)), float(bdtr(above, tossed, 0.5))) if tossed else (1.0, 1.0)

    return _sides(tails, region)


def spearman(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation of two samples (n,), ties at their mean rank; nan where n < 3, or where one of them does not vary."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(pd.Series(first).rank(), pd.Series(second).rank())[0, 1])


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and the degrees of freedom of that error."""

    mean: float
    se: float
    df: float


def paired_estimate(differences: Floats) -> Estimate:
    """The mean of per-seed differences (n,), n > 1, with n - 1 degrees of freedom."""
    n = len(differences)
    if differences.min() == differences.max():  # the mean of equal numbers is off by rounding, and its deviation then not zero
        return Estimate(float(differences[0]), 0.0, n - 1)
    return Estimate(float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n), n - 1)


def welch_estimate(weights: Floats, values: Floats) -> Estimate:
    """A contrast of the means of independent samples: `weights` (cells,), `values` (cells, n), n > 1.

    Degrees of freedom by Satterthwaite (1946), V^2 / sum of v_j^2 / (n - 1) with v_j = c_j^2 s_j^2 / n (Welch 1947 for two cells).
    """
    n = values.shape[1]
    parts = weights**2 * values.var(axis=1, ddof=1) / n
    parts = np.where(np.ptp(values, axis=1) == 0, 0.0, parts)  # equal numbers spread by rounding alone
    return Estimate(float(weights @ values.mean(axis=1)), math.sqrt(parts.sum()), satterthwaite(parts, np.full(len(parts), n - 1.0)))


def satterthwaite(variances: Floats, df: Floats) -> float:
    """Degrees of freedom of a sum of independent variance estimates with so many each (Satterthwaite 1946); nan where all are zero."""
    total = float(variances.sum())
    return float(total**2 / (variances**2 / df).sum()) if total > 0 else math.nan


def estimate_sides(estimate: Estimate, region: Region) -> Sides:
    """Student t of an estimate against the region; its standard error is above zero."""

    def tails(boundary: float) -> tuple[float, float]:
        t = (estimate.mean - boundary) / estimate.se
        return float(stdtr(estimate.df, -t)), float(stdtr(estimate.df, t))

    return _sides(tails, region)


def estimate_interval(estimate: Estimate, level: float) -> tuple[float, float]:
    """The two-sided t interval of an estimate at a confidence level in (0, 1)."""
    half = float(stdtrit(estimate.df, 0.5 + level / 2)) * estimate.se
    return estimate.mean - half, estimate.mean + half


def share_sides(count: int, n: int, region: Region) -> Sides:
    """The exact binomial test of a probability against the region, from `count` of `n`."""

    def tails(boundary: float) -> tuple[float, float]:
        return float(bdtrc(count - 1, n, boundary)) if count else 1.0, float(bdtr(count, n, boundary))

    return _sides(tails, region)


def share_interval(count: int, n: int, level: float) -> tuple[float, float]:
    """The exact interval of a probability from `count` of `n` (Clopper & Pearson 1934), each tail with (1 - level) / 2."""
    tail = (1 - level) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return low, high


def share_bound(n: int, alpha: float = 0.05) -> float:
    """The one-sided upper bound of a probability that showed in none of n: 1 - alpha^(1/n)."""
    return float(1 - alpha ** (1 / n))


@dataclass(frozen=True)
class HolmStep:
    """What Holm's procedure did with one claim: decided at `alpha / remaining`, or left undecided at the last step's."""

    decided: bool
    level: float
    """alpha / remaining: what p was held against."""
    remaining: int
    """Claims still undecided at that step, this one included."""


def holm(p_values: Sequence[float | None], alpha: float) -> tuple[HolmStep, ...]:
    """Holm's step-down (Holm 1979): with r claims undecided the smallest p is decided if it is at most alpha / r, then r is one less.

    Keeps the probability of any false decision at or below alpha. A p of None is never decided. One step a claim, in the order given.
    """
    p = [math.inf if value is None else value for value in p_values]
    ordered = sorted(range(len(p)), key=lambda i: (p[i], i))
    steps: dict[int, HolmStep] = {}
    remaining = len(p)
    for i in ordered:
        level = alpha / remaining
        if p[i] > level:
            break
        steps[i] = HolmStep(True, level, remaining)
        remaining -= 1
    return tuple(steps.get(i) or HolmStep(False, alpha / remaining, remaining) for i in range(len(p)))


def correlation(first: Floats, second: Floats) -> float:
    """Pearson's r of two arms over seeds; nan for fewer than three seeds or where an arm does not vary."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def skewness(values: Floats) -> Floats:
    """The skewness m3 / m2^1.5 of values (..., n) along their last axis; nan where they do not vary."""
    away = values - values.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((away**3).mean(axis=-1) / (away**2).mean(axis=-1) ** 1.5)


def widest_gap(values: Floats) -> Floats:
    """The widest gap between neighbors that leaves two values or more on either side, as a share of the range; values (..., n), n > 3."""
    ordered = np.sort(values, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.diff(ordered, axis=-1)[..., 1:-1].max(axis=-1) / (ordered[..., -1] - ordered[..., 0]))


FEWEST_SHAPED = 5
"""Values from which on something can be said of their shape."""


def is_skewed(values: Floats) -> bool:
    """Whether values (n,) are more skewed than 95 % of normal samples of their size."""
    return len(values) >= FEWEST_SHAPED and bool(abs(skewness(values)) > _usual_shape(len(values))[0])


def is_in_two(values: Floats) -> bool:
    """Whether values (n,) lie in two groups that are farther apart than in 95 % of normal samples of their size."""
    return len(values) >= FEWEST_SHAPED and bool(widest_gap(values) > _usual_shape(len(values))[1])


@cache
def _usual_shape(n: int) -> tuple[float, float]:
    """The skewness and the widest gap that 95 % of normal samples of n stay below; simulated, with the same draws at every call."""
    draws = np.random.default_rng(0).normal(size=(max(1000, min(20_000, 1_000_000 // n)), n))
    return float(np.quantile(abs(skewness(draws)), 0.95)), float(np.quantile(widest_gap(draws), 0.95))


def _sides(tails: Tails, region: Region) -> Sides:
    """Inside means beyond every boundary of the region in its own direction; outside means beyond one of them in the other."""
    inside, outside = 0.0, 1.0
    for boundary in region.boundaries:
        above, below = tails(boundary)
        into, out = (above, below) if boundary == region.low else (below, above)
        inside, outside = max(inside, into), min(outside, out)
    return Sides(inside, outside)
