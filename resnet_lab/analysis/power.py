"""How many seeds a claim needs, and which claims the planned seeds can decide.

From the `effect` that a claim wants to see, never from one that was observed: d = |effect - c| / s, c the nearest boundary and s the
spread of the contrast over seeds. Power is E[Phi(d sqrt(n) - t W) + Phi(-d sqrt(n) - t W)] over W = sqrt(chi2_(n-1) / (n - 1)), t at
alpha / r for r claims, by quadrature. An equivalence has two boundaries to clear at once: its power is the probability that the whole interval
lies between them, E[max(0, Phi(a sqrt(n) - t W) - Phi(t W - b sqrt(n)))] with a and b the distances to both in spreads. A claim of several contrasts
has to show all of them: its power is simulated with the covariance that was measured, and where none was, Boole's inequality bounds it. For a claim about
failing it is the exact binomial probability.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import bdtr, bdtrc, chdtri, ndtr, stdtrit

from resnet_lab.analysis.contrasts import measurements
from resnet_lab.analysis.statistics import Floats, share_sides
from resnet_lab.analysis.tables import StudyData
from resnet_lab.spec.claims import Claim, Region
from resnet_lab.spec.errors import SpecError

TARGET = 0.8
STUDIES, MOST_DRAWS = 20_000, 4_000_000
"""Studies that the power of several contrasts is simulated with, and numbers drawn for them at most."""
MOST = 10_000
"""Seeds beyond which nobody asks for the exact number."""
ONE_SIDED = Region(0.0, math.inf)
"""What an effect said in spreads is an effect of: its distance from a single boundary."""


def power(d: float, n: int, alpha: float = 0.05) -> float:
    """Probability that a two-sided t test of n seeds at `alpha` decides, where the truth lies d standard deviations from the boundary."""
    if n < 2:
        return 0.0
    t = float(stdtrit(n - 1, 1 - alpha / 2))
    spread, weights = _spreads(n - 1)
    shift = d * math.sqrt(n)
    return float(weights @ (ndtr(shift - t * spread) + ndtr(-shift - t * spread)))


def region_power(effect: float, sd: float, n: int, region: Region, alpha: float = 0.05) -> float:
    """Probability that n seeds of that spread decide a claim, where the truth is `effect`; of an equivalence, that they show it."""
    low, high = ((end - effect) / sd for end in (region.low, region.high))
    if len(region.boundaries) == 1:
        return power(min(abs(low), abs(high)), n, alpha)
    if n < 2:
        return 0.0
    t = float(stdtrit(n - 1, 1 - alpha / 2))
    spread, weights = _spreads(n - 1)
    between = ndtr(high * math.sqrt(n) - t * spread) - ndtr(low * math.sqrt(n) + t * spread)
    return float(weights @ np.maximum(0.0, between))


def region_seeds(effect: float, sd: float, region: Region, alpha: float = 0.05, target: float = TARGET) -> int | None:
    """The smallest n whose power reaches the target at that spread; None where it takes more than MOST."""
    return _smallest(lambda n: region_power(effect, sd, n, region, alpha) >= target) if _distance(effect, region) > 0 else None


def largest_spread(effect: float, n: int, region: Region, alpha: float = 0.05, target: float = TARGET) -> float:
    """The widest spread over seeds at which n seeds find the effect with the target's power; 0 for one seed."""
    distance = _distance(effect, region)
    if n < 2 or distance <= 0:
        return 0.0
    narrow, wide = 0.0, distance  # at this spread an effect of one spread is to be found
    while region_power(effect, wide, n, region, alpha) >= target:
        narrow, wide = wide, 2 * wide
    for _ in range(60):
        middle = (narrow + wide) / 2
        narrow, wide = (middle, wide) if region_power(effect, middle, n, region, alpha) >= target else (narrow, middle)
    return narrow


def seeds_needed(d: float, alpha: float = 0.05, target: float = TARGET) -> int | None:
    """The smallest n that finds an effect d spreads from the one boundary of its claim; None where it takes more than MOST."""
    return region_seeds(d, 1.0, ONE_SIDED, alpha, target)


def least_effect(n: int, alpha: float = 0.05, target: float = TARGET) -> float:
    """The d that n seeds find with the target's power; infinite for one seed."""
    spread = largest_spread(1.0, n, ONE_SIDED, alpha, target)
    return 1 / spread if spread else math.inf


def share_power(probability: float, n: int, region: Region, alpha: float = 0.05) -> float:
    """Probability that the exact binomial test of n seeds decides, where a cell fails with this probability."""
    deciding = [count for count in range(n + 1) if share_sides(count, n, region).p <= alpha]
    if not deciding:
        return 0.0
    lower = [count for count in deciding if all(other in deciding for other in range(count))]
    upper = [count for count in deciding if count not in lower]
    below = float(bdtr(max(lower), n, probability)) if lower else 0.0
    above = (float(bdtrc(min(upper) - 1, n, probability)) if min(upper) else 1.0) if upper else 0.0
    return below + above


@dataclass(frozen=True)
class Spread:
    """The covariance of a claim's contrasts over seeds, from n runs, and by which factors its deviations may be off."""

    covariance: Floats
    """(contrasts, contrasts), usually one."""
    n: int
    low: float
    high: float
    """Ends of the two-sided confidence interval of a deviation, in deviations."""

    @property
    def sd(self) -> float:
        """Standard deviation over seeds, of the contrast that spreads most."""
        return math.sqrt(float(self.covariance.diagonal().max()))


def spread_of(values: Floats, confidence: float = 0.95) -> Spread:
    """The spread of values (contrasts, n), n > 1, normal; the interval of a deviation is two-sided: s sqrt((n - 1) / chi2 quantile)."""
    n = values.shape[1]
    low, high = (math.sqrt((n - 1) / float(chdtri(n - 1, tail))) for tail in ((1 - confidence) / 2, (1 + confidence) / 2))
    return Spread(np.atleast_2d(np.cov(values)), n, low, high)


def spreads(data: StudyData) -> dict[str, Spread]:
    """The spread of each claim's contrasts in runs that are there already; claims that have none are left out."""
    measured = measurements(data)
    found = {}
    for claim in data.plan.claims:
        parts = measured.evidence(claim)
        usable = [part.values for part in parts if part.n > 1 and not part.zero_spread and not part.diverged and claim.fails is None]
        if len(usable) == len(parts) and len({len(values) for values in usable}) == 1:
            found[claim.name] = spread_of(np.stack(usable))
    return found


def joint_power(effect: float, spread: Spread, n: int, region: Region, alpha: float = 0.05, factor: float = 1.0) -> float:
    """Probability that n seeds decide a claim whose contrasts all have that effect, with `factor` times the deviations of the spread.

    Of several contrasts, that all are shown: by simulation, with the same draws at every call.
    """
    count = len(spread.covariance)
    if count == 1:
        return region_power(effect, factor * spread.sd, n, region, alpha)
    if n < 2:
        return 0.0
    studies = min(STUDIES, max(1000, MOST_DRAWS // (n * count)))
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(count), factor**2 * spread.covariance, size=(studies, n), method="eigh")
    half = float(stdtrit(n - 1, 1 - alpha / 2)) * draws.std(axis=1, ddof=1) / math.sqrt(n)
    means = effect + draws.mean(axis=1)
    return float(np.mean(np.all((means - half >= region.low) & (means + half <= region.high), axis=1)))


@dataclass(frozen=True)
class ClaimPower:
    """What a number of seeds can decide about one claim."""

    name: str
    seeds: int
    power: float | None
    """At the spread measured so far; None where none is known. For claims about failing it is exact."""
    needed: tuple[int | None, int | None] | None
    """Seeds for a power of 0.8 at both ends of that spread's interval."""
    largest_sd: float | None
    """The widest spread over seeds at which these seeds find the wanted effect with a power of 0.8; of several contrasts, in all of them."""
    can_decide: bool | None
    """None where it depends on a spread that is not known, or the claim says no `effect`."""
    words: str


def planned_power(
    claims: Sequence[Claim], n: int, *, alpha: float = 0.05, known: Mapping[str, Spread] | None = None
) -> tuple[ClaimPower, ...]:
    """What n seeds can decide about each claim at alpha / r, the first step of Holm's procedure over the r claims of the family.

    `known`: spreads of contrasts measured before (`spreads`), by the claim's name.
    """
    level = alpha / max(1, len(claims))
    return tuple(_of_claim(claim, n, level, (known or {}).get(claim.name)) for claim in claims)


def too_few_signs(claims: Sequence[Claim], n: int, alpha: float = 0.05) -> str:
    """What n seeds could not decide if runs diverged, or failed beside runs that did not: then signs have to agree too. Empty where they could."""
    asked = sum(claim.fails is None for claim in claims)
    least, level = 2.0 ** (1 - n), alpha / max(1, len(claims))
    if not asked or n < 2 or least <= level:
        return ""
    what = "no claim could be decided" if least > alpha else "not every claim could be decided"
    takes = math.ceil(1 - math.log2(level))
    return f"if runs diverge, signs have to agree too, and {n} seeds give them a p of {least:.4g} at least: {what} on their cells; {takes} seeds could"


def seeds_for(claim: Claim, spread: Spread, level: float = 0.05) -> tuple[int | None, int | None]:
    """Seeds that a claim needs at both ends of the interval of its spread. Raises SpecError where the claim says no `effect`."""
    if claim.effect is None:
        raise SpecError.of(f"{claim.name!r} has no `effect`: add `effect = ...` to the claim", key="effect")
    return _joint_seeds(claim.effect, spread, claim.region, level, spread.low), _joint_seeds(
        claim.effect, spread, claim.region, level, spread.high
    )


def _joint_seeds(effect: float, spread: Spread, region: Region, level: float, factor: float) -> int | None:
    """The smallest n with which all contrasts are shown: no fewer than the widest takes alone, no more than Boole's inequality asks of it."""
    sd, count = factor * spread.sd, len(spread.covariance)
    least = region_seeds(effect, sd, region, level)
    if count == 1 or least is None:
        return least
    most = region_seeds(effect, sd, region, level, _each(count))
    enough = range(least, (most or MOST) + 1)
    found = bisect_left(enough, True, key=lambda n: joint_power(effect, spread, n, region, level, factor) >= TARGET)
    return enough[found] if found < len(enough) else most


def _each(count: int) -> float:
    """The power that each of so many contrasts needs for all of them to have TARGET together, whatever their correlation (Boole's inequality)."""
    return 1 - (1 - TARGET) / count


def _of_claim(claim: Claim, n: int, level: float, spread: Spread | None) -> ClaimPower:
    if claim.fails is not None:
        return _of_failing(claim, n, level)
    if n < 2:
        return ClaimPower(claim.name, n, 0.0, None, None, False, "one seed cannot decide anything: it shows no spread")
    count = len(claim.contrasts)
    if claim.effect is None:
        least = least_effect(n, level, _each(count))
        words = f"it has no `effect`: with {n} seeds an effect {least:.2g} times the spread over seeds is found; add `effect = ...` to the claim"
        return ClaimPower(claim.name, n, None, None, None, None, words)
    largest = largest_spread(claim.effect, n, claim.region, level, _each(count))
    found = "found" if len(claim.region.boundaries) == 1 else f"shown to lie {claim.expectation}"
    says = f"{claim.effect:g} {claim.unit} is {found} by {n} seeds with a power of {TARGET:g} where s, the spread over seeds, is at most {largest:.2g}"
    if count > 1:
        says += f" (all of its {count} contrasts together, whatever their correlation)"
    if spread is None:
        return ClaimPower(claim.name, n, None, None, largest, None, says)
    needed = seeds_for(claim, spread, level)
    likely = joint_power(claim.effect, spread, n, claim.region, level)
    low, high = (f"more than {MOST}" if each is None else str(each) for each in needed)
    measured = f"s = {spread.sd:.2g} in {spread.n} runs (95 % interval {spread.low * spread.sd:.2g} to {spread.high * spread.sd:.2g})"
    words = f"{says}; {measured}, so the power is {likely:.2g}, and {low} to {high} seeds are needed"
    return ClaimPower(claim.name, n, likely, needed, largest, likely >= TARGET, words)


def _of_failing(claim: Claim, n: int, level: float) -> ClaimPower:
    region = claim.region
    extremes = min(share_sides(count, n, region).p for count in (0, n)) if n else 1.0
    if extremes > level:
        least = _least_failing(region, level)
        return ClaimPower(claim.name, n, 0.0, None, None, False, f"{n} seeds can never decide it: it takes {least}")
    if claim.effect is None:
        words = f"{n} seeds can decide it if nearly all runs fail, or none; add `effect = ...`, the share expected, for its power"
        return ClaimPower(claim.name, n, None, None, None, None, words)
    effect = claim.effect
    likely = share_power(effect, n, region, level)
    needed = _smallest(lambda m: share_power(effect, m, region, level) >= TARGET, most=400)
    words = (
        f"where {100 * effect:g} % of runs fail the power is {likely:.2g}; a power of {TARGET:g} takes {needed or 'more than 400'} seeds"
    )
    return ClaimPower(claim.name, n, likely, (needed, needed), None, likely >= TARGET, words)


def _least_failing(region: Region, level: float) -> int | None:
    """Seeds with which a claim about failing is decided where all runs fail, or none."""
    return _smallest(lambda m: min(share_sides(count, m, region).p for count in (0, m)) <= level)


def _distance(effect: float, region: Region) -> float:
    """From the wanted effect to the nearest boundary."""
    return min(abs(effect - boundary) for boundary in region.boundaries)


def _smallest(reached: Callable[[int], bool], most: int = MOST) -> int | None:
    """The smallest n > 0 that reaches it, looked for one by one, then in doubling steps with bisection (exact where it is monotone)."""
    n = next((n for n in range(1, min(100, most) + 1) if reached(n)), None)
    if n is not None or most <= 100:
        return n
    low, high = 100, 200
    while not reached(min(high, most)):
        if high >= most:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


@cache
def _spreads(df: int) -> tuple[Floats, Floats]:
    """(values of W, their weights): Gauss-Legendre over the probability that W lies below."""
    nodes, weights = _legendre()
    below = (nodes + 1) / 2
    return np.sqrt(chdtri(df, 1 - below) / df), weights / 2


@cache
def _legendre() -> tuple[Floats, Floats]:
    """Nodes and weights of the quadrature; they take a twentieth of a second."""
    return np.polynomial.legendre.leggauss(400)
