"""How many seeds a claim needs, and which claims the planned seeds can decide.

From the `effect` that a claim wants to see, never from one that was observed: d = |effect - c| / s, c the nearest boundary and s the
spread of the contrast over seeds. Power is E[Phi(d sqrt(n) - t W) + Phi(-d sqrt(n) - t W)] over W = sqrt(chi2_(n-1) / (n - 1)), t at
alpha / r for r claims, by quadrature. An equivalence has two boundaries to clear at once: its power is the probability that the whole interval
lies between them, E[max(0, Phi(a sqrt(n) - t W) - Phi(t W - b sqrt(n)))] with a and b the distances to both in spreads. For a claim about
failing it is the exact binomial probability.
"""

import math
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
    """The standard deviation of a contrast over seeds, with its upper confidence limit, from n runs."""

    sd: float
    upper: float
    n: int


def spread_of(values: Floats, confidence: float = 0.95) -> Spread:
    """The spread of values (n,), n > 1, normal; the limit is one-sided: s sqrt((n - 1) / chi2 quantile)."""
    n = len(values)
    sd = float(values.std(ddof=1))
    return Spread(sd, sd * math.sqrt((n - 1) / float(chdtri(n - 1, confidence))), n)


def spreads(data: StudyData) -> dict[str, Spread]:
    """The spread of each claim's contrast in runs that are there already, of the widest of several; claims that have none are left out."""
    measured = measurements(data)
    found = {}
    for claim in data.plan.claims:
        parts = measured.evidence(claim)
        usable = [part.values for part in parts if part.n > 1 and not part.zero_spread and not part.diverged and claim.fails is None]
        if len(usable) == len(parts):
            found[claim.name] = max((spread_of(values) for values in usable), key=lambda spread: spread.sd)
    return found


@dataclass(frozen=True)
class ClaimPower:
    """What a number of seeds can decide about one claim."""

    name: str
    seeds: int
    power: float | None
    """At the spread measured so far; None where none is known. For claims about failing it is exact."""
    needed: tuple[int | None, int | None] | None
    """Seeds for a power of 0.8 at that spread and at its upper limit."""
    largest_sd: float | None
    """The widest spread over seeds at which these seeds find the wanted effect with a power of 0.8."""
    can_decide: bool | None
    """None where it hangs on a spread that is not known, or the claim says no `effect`."""
    words: str


def planned_power(
    claims: Sequence[Claim], n: int, *, alpha: float = 0.05, known: Mapping[str, Spread] | None = None
) -> tuple[ClaimPower, ...]:
    """What n seeds can decide about each claim at alpha / r, the first step of Holm's procedure over the r claims of the family.

    `known`: spreads of contrasts measured before (`spreads`), by the claim's name.
    """
    level = alpha / max(1, len(claims))
    return tuple(_of_claim(claim, n, level, (known or {}).get(claim.name)) for claim in claims)


def seeds_for(claim: Claim, spread: Spread, level: float = 0.05) -> tuple[int | None, int | None]:
    """Seeds that a claim needs at the spread measured and at its upper limit. Raises SpecError where the claim says no `effect`."""
    if claim.effect is None:
        raise SpecError.of(f"{claim.name!r} does not say what it wants to see: add `effect = ...` to the claim", key="effect")
    return region_seeds(claim.effect, spread.sd, claim.region, level), region_seeds(claim.effect, spread.upper, claim.region, level)


def _of_claim(claim: Claim, n: int, level: float, spread: Spread | None) -> ClaimPower:
    if claim.fails is not None:
        return _of_failing(claim, n, level)
    if n < 2:
        return ClaimPower(claim.name, n, 0.0, None, None, False, "one seed decides nothing: it shows no spread")
    if claim.effect is None:
        least = least_effect(n, level)
        words = f"it says no `effect`: with {n} seeds an effect {least:.2g} times the spread over seeds is found; add `effect = ...` to the claim"
        return ClaimPower(claim.name, n, None, None, None, None, words)
    largest = largest_spread(claim.effect, n, claim.region, level)
    found = "found" if len(claim.region.boundaries) == 1 else f"shown to lie {claim.expectation}"
    says = f"{claim.effect:g} {claim.unit} is {found} by {n} seeds with a power of {TARGET:g} where s, the spread over seeds, is at most {largest:.2g}"
    if len(claim.contrasts) > 1:
        says += f" (each of its {len(claim.contrasts)} contrasts; all together less often)"
    if spread is None:
        return ClaimPower(claim.name, n, None, None, largest, None, says)
    needed = seeds_for(claim, spread, level)
    likely = region_power(claim.effect, spread.sd, n, claim.region, level)
    low, high = ("more than 10000" if each is None else str(each) for each in needed)
    words = f"{says}; s = {spread.sd:.2g} in {spread.n} runs, so the power is {likely:.2g} and {low} to {high} seeds are needed"
    return ClaimPower(claim.name, n, likely, needed, largest, likely >= TARGET, words)


def _of_failing(claim: Claim, n: int, level: float) -> ClaimPower:
    region = claim.region
    extremes = min(share_sides(count, n, region).p for count in (0, n)) if n else 1.0
    if extremes > level:
        least = _least_failing(region, level)
        return ClaimPower(claim.name, n, 0.0, None, None, False, f"{n} seeds cannot decide it whatever happens: it takes {least}")
    if claim.effect is None:
        words = f"{n} seeds can decide it where nearly all runs fail, or none; add `effect = ...`, the share expected, for its power"
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
    nodes, weights = np.polynomial.legendre.leggauss(400)
    below = (nodes + 1) / 2
    return np.sqrt(chdtri(df, 1 - below) / df), weights / 2
