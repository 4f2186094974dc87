"""Which test the evidence on a contrast gets, and what may not be tested at all.

Pairs: Student's t of the contrast over seeds, the exact sign test beside it. No pairing: Welch. Failing: the exact binomial test. Where a
cell has two kinds of run (diverged, or on both sides of what counts as failing) t and sign test have to agree and there is no interval.
"""

from collections.abc import Callable
from dataclasses import dataclass

from resnet_lab.analysis.contrasts import Evidence, Measurements
from resnet_lab.analysis.statistics import (
    Estimate,
    Sides,
    estimate_interval,
    estimate_sides,
    larger,
    paired_estimate,
    share_interval,
    share_sides,
    sign_sides,
    welch_estimate,
)
from resnet_lab.spec.claims import Claim, Region

Interval = tuple[float, float]


@dataclass(frozen=True)
class Tested:
    """Evidence with its tests. `sides` is what the verdict goes by, None where nothing may be decided; `why` then says why."""

    evidence: Evidence
    sides: Sides | None
    sign: Sides | None
    interval: Callable[[float], Interval] | None = None
    """Confidence level -> interval; None where there is none to show."""
    why: str = ""
    """A flag of verdicts.FLAGS, or `waiting`."""
    estimate: Estimate | None = None
    """Mean, standard error and degrees of freedom behind the interval of a mean."""

    @property
    def p(self) -> float | None:
        """Two-sided."""
        return self.sides.p if self.sides else None

    def position(self, level: float, *, decided: bool) -> str:
        """Read from the interval where there is one, so that the two cannot disagree, not even by a rounding.

        `level` is what p was held against, `decided` whether p was small enough.
        """
        if self.interval is not None:
            return region_position(self.interval(1 - level), self.evidence.claim.region)
        if self.sides is None or not decided:
            return "undecided"
        return "supported" if self.sides.leans_inside else "contradicted"


def tested(evidence: Evidence) -> Tested:
    """The test that the evidence gets."""
    if evidence.missing:
        return Tested(evidence, None, None, why="waiting")
    if evidence.diverged and not evidence.is_percent:
        return Tested(evidence, None, None, why="diverged")
    if evidence.valueless:
        return Tested(evidence, None, None, why="no values")
    if evidence.n < 2:
        return Tested(evidence, None, None, why="one seed")
    return _mean(evidence) if evidence.claim.fails is None else _share(evidence)


def region_position(interval: Interval, region: Region) -> str:
    """supported: inside the region; contradicted: outside; else undecided."""
    low, high = interval
    if low >= region.low and high <= region.high:
        return "supported"
    return "contradicted" if high <= region.low or low >= region.high else "undecided"


def _share(evidence: Evidence) -> Tested:
    count, n = int(evidence.values.sum()), evidence.n
    sides = share_sides(count, n, evidence.claim.region)
    return Tested(evidence, sides, None, interval=lambda level: share_interval(count, n, level), why="fails")


def _mean(evidence: Evidence) -> Tested:
    values, region = evidence.values, evidence.claim.region
    sign = sign_sides(values, region)
    if evidence.identical:
        return Tested(evidence, None, sign, why="identical arms")
    unpaired = evidence.claim.pairing == "none"
    estimate = welch_estimate(evidence.weights, evidence.cell_values) if unpaired else paired_estimate(values)
    if estimate.se == 0 or (evidence.zero_spread and not unpaired):
        is_equivalence = len(region.boundaries) == 2
        return Tested(evidence, None, sign, why="saturated") if is_equivalence else Tested(evidence, sign, sign, why="zero spread")
    sides = estimate_sides(estimate, region)
    if evidence.diverged or evidence.mixed:
        return Tested(evidence, larger(sides, sign), sign, why="counts only")
    return Tested(evidence, sides, sign, interval=lambda level: estimate_interval(estimate, level), estimate=estimate)


@dataclass(frozen=True)
class ClaimTest:
    """A claim's tests, one per contrast. Of several contrasts all have to hold: p is the largest, and needs no correction."""

    parts: tuple[Tested, ...]

    @property
    def p(self) -> float | None:
        """The largest; None where a part may not be decided."""
        values = [part.p for part in self.parts]
        return None if any(p is None for p in values) else max(p for p in values if p is not None)

    @property
    def waiting(self) -> bool:
        """Whether runs are still to come."""
        return any(part.why == "waiting" for part in self.parts)

    def verdict(self, level: float, *, decided: bool) -> tuple[str, Tested]:
        """(verdict, the contrast that decides it), p held against `level`; `decided`: whether p was small enough.

        Supported where every contrast lies inside, contradicted where every one is decided and one lies outside. The deciding one is the least
        certain contrast, of those outside where it is contradicted.
        """
        by_doubt = sorted(self.parts, key=lambda part: -1.0 if part.p is None else -part.p)  # stable: the first of equals
        untestable = [part for part in self.parts if part.p is None]
        if untestable:
            late = next((part for part in untestable if part.why == "waiting"), None)
            return ("waiting", late) if late else ("undecided", untestable[0])
        positions = {id(part): part.position(level, decided=decided) for part in by_doubt}
        for verdict in ("undecided", "contradicted", "supported"):
            found = next((part for part in by_doubt if positions[id(part)] == verdict), None)
            if found is not None:
                return verdict, found
        raise AssertionError("a claim has at least one contrast")


def tests_of(measured: Measurements, claim: Claim) -> ClaimTest:
    """A claim's tests, from arrays of what was measured."""
    return ClaimTest(tuple(tested(evidence) for evidence in measured.evidence(claim)))
