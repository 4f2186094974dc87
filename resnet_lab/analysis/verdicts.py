"""A verdict on each claim of a study: supported, contradicted or undecided, with the interval at the level that the verdict used.

Rules. D_s, the contrast at seed s, is tested with Student's t against the nearest boundary of the claim's region, two-sided. Holm's
procedure runs over the claims that stood before the first run; a claim added later is post hoc and judged alone. A claim is supported
where the interval at the level used lies inside the region, contradicted where it lies outside. Where a run diverged, the sign test has
to agree and no interval is shown; where all seeds agree exactly there is no t, and the sign test decides alone. There is one look, at the
planned number of seeds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from resnet_lab.analysis.contrasts import Evidence, Evidences
from resnet_lab.analysis.statistics import HolmStep, Sides, holm, larger, sign_sides, t_interval, t_sides
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.wording import Finding, words_of
from resnet_lab.records.plan import Plan
from resnet_lab.spec.claims import Claim, Region


@dataclass(frozen=True)
class Verdict:
    """What a study says about one claim. Effects are in percentage points for errors, in nats for losses."""

    name: str
    says: str
    metric: str
    expect: str
    contrast: dict[str, float]
    verdict: str
    """`supported`, `contradicted`, `undecided`, or `waiting` until all planned seeds of its cells are there."""
    effect: float | None
    """Mean of the contrast over seeds."""
    ci_low: float | None
    ci_high: float | None
    ci_level: float | None
    """1 - alpha / r: the level at which Holm's procedure used the interval. A pointwise interval, not a simultaneous one."""
    p: float | None
    """What the verdict went by: that of t, of the sign test where there is no t, the larger of both where runs diverged."""
    p_sign: float | None
    n: int
    """Seeds shared by all cells."""
    n_planned: int
    post_hoc: bool
    level: bool
    """Whether the contrast does not sum to zero."""
    correlation: float | None
    """Between the two arms over seeds, where the contrast is one cell against another."""
    per_seed: dict[int, float]
    """The contrast at each shared seed."""
    diverged: int
    """Diverged runs in the contrast's cells."""
    flags: tuple[str, ...]
    """Any of FLAGS."""
    words: str
    """The verdict in a sentence or two, which never say more than the data."""


FLAGS: dict[str, str] = {
    "one seed": "a single seed shows no spread, so nothing can be tested",
    "zero spread": "all seeds agree exactly: no t and no interval, the sign test decides",
    "saturated": "zero spread where equivalence is claimed: no evidence of how small a difference would have been seen",
    "identical arms": "the difference is exactly zero at every seed",
    "floor": "a cell's mean error is next to zero",
    "ceiling": "a cell's mean error is at chance",
    "diverged": "a run of its cells diverged",
    "counts only": "diverged runs: judged by t and sign test together, no interval",
    "failed runs": "runs of its cells failed",
    "no values": "finished runs without a number for the metric",
}


def judge(data: StudyData, *, alpha: float = 0.05) -> tuple[Verdict, ...]:
    """The verdicts on all claims of a study's plan, in their order.

    The family of Holm's procedure are the claims registered at the first run. One that was edited or deleted since still counts in it,
    undecided: else the bar for the others would fall with every claim that is withdrawn once its result is seen.
    """
    evidences = Evidences(data)
    tested = [_test(evidences.of(claim)) for claim in data.plan.claims]
    family = [i for i, claim in enumerate(data.plan.claims) if not _is_post_hoc(claim, data.plan)]
    withdrawn = _withdrawn(data.plan)
    p_values = [math.nan if tested[i].p is None else float(tested[i].p or 0.0) for i in family]
    steps = dict(zip(family, holm([*p_values, *[math.nan] * withdrawn], alpha)[: len(family)], strict=True))
    verdicts = []
    for i, test in enumerate(tested):
        alone = holm([math.nan if test.p is None else test.p], alpha)[0]
        verdicts.append(_verdict(test, steps.get(i, alone), post_hoc=i not in steps, family=len(family) + withdrawn, withdrawn=withdrawn))
    return tuple(verdicts)


def verdicts_as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as plain JSON values for verdicts.json: one object each with every field of Verdict, null where there is no number."""
    return [{field.name: _plain(getattr(verdict, field.name)) for field in fields(verdict)} for verdict in verdicts]


@dataclass(frozen=True)
class _Tested:
    """Evidence with its tests. `sides` is what the verdict goes by, None where nothing may be decided; `why` then says why."""

    evidence: Evidence
    sides: Sides | None
    sign: Sides | None
    has_interval: bool = False
    why: str = ""
    """A flag of FLAGS, or `waiting`."""

    @property
    def p(self) -> float | None:
        return self.sides.p if self.sides else None


def _test(evidence: Evidence) -> _Tested:
    values, region = evidence.values, evidence.claim.region
    if evidence.missing:
        return _Tested(evidence, None, None, why="waiting")
    if evidence.diverged and not evidence.is_error:
        return _Tested(evidence, None, None, why="diverged")
    if evidence.valueless:
        return _Tested(evidence, None, None, why="no values")
    if evidence.n < 2:
        return _Tested(evidence, None, None, why="one seed")
    sign = sign_sides(values, region)
    if evidence.identical:
        return _Tested(evidence, None, sign, why="identical arms")
    if evidence.zero_spread:
        is_equivalence = len(region.boundaries) == 2
        return _Tested(evidence, None, sign, why="saturated") if is_equivalence else _Tested(evidence, sign, sign, why="zero spread")
    if evidence.diverged:
        return _Tested(evidence, larger(t_sides(values, region), sign), sign, why="counts only")
    return _Tested(evidence, t_sides(values, region), sign, has_interval=True)


def _verdict(test: _Tested, step: HolmStep, *, post_hoc: bool, family: int, withdrawn: int) -> Verdict:
    evidence, claim = test.evidence, test.evidence.claim
    interval = t_interval(evidence.values, 1 - step.level) if test.has_interval else None
    counts_nothing = evidence.n == 0 or (bool(evidence.diverged) and not evidence.is_error)  # dropping diverged runs would select
    effect = None if counts_nothing else float(evidence.values.mean())
    verdict = "waiting" if test.why == "waiting" else _decision(test, step, interval)
    finding = Finding(
        evidence=evidence,
        verdict=verdict,
        why=test.why,
        effect=effect,
        interval=interval,
        p=test.p,
        step=step,
        family=family,
        withdrawn=withdrawn,
        post_hoc=post_hoc,
    )
    return Verdict(
        name=claim.name,
        says=claim.says,
        metric=claim.metric,
        expect=claim.expect,
        contrast=dict(claim.contrast),
        verdict=verdict,
        effect=effect,
        ci_low=interval[0] if interval else None,
        ci_high=interval[1] if interval else None,
        ci_level=1 - step.level if interval else None,
        p=test.p,
        p_sign=test.sign.p if test.sign else None,
        n=evidence.n,
        n_planned=evidence.planned,
        post_hoc=post_hoc,
        level=claim.is_level,
        correlation=None if math.isnan(evidence.correlation) else evidence.correlation,
        per_seed=dict(zip(evidence.seeds, evidence.values.tolist(), strict=True)),
        diverged=len(evidence.diverged),
        flags=_flags(test),
        words=words_of(finding),
    )


def _decision(test: _Tested, step: HolmStep, interval: tuple[float, float] | None) -> str:
    """Read from the interval where there is one, so that the two cannot disagree, not even by a rounding."""
    if interval is not None:
        return _position(interval, test.evidence.claim.region)
    if test.sides is None or not step.decided:
        return "undecided"
    return "supported" if test.sides.leans_inside else "contradicted"


def _position(interval: tuple[float, float], region: Region) -> str:
    low, high = interval
    if low >= region.low and high <= region.high:
        return "supported"
    return "contradicted" if high <= region.low or low >= region.high else "undecided"


def _flags(test: _Tested) -> tuple[str, ...]:
    evidence = test.evidence
    is_judged = test.sign is not None
    raised = {
        test.why: True,
        "zero spread": evidence.zero_spread and is_judged,
        "floor": bool(evidence.floor),
        "ceiling": bool(evidence.ceiling),
        "diverged": bool(evidence.diverged),
        "counts only": bool(evidence.diverged) and is_judged,
        "failed runs": bool(evidence.failed),
    }
    return tuple(flag for flag in FLAGS if raised.get(flag))


def _is_post_hoc(claim: Claim, plan: Plan) -> bool:
    return plan.registered is not None and claim.digest not in plan.registered


def _withdrawn(plan: Plan) -> int:
    """Claims that were registered at the first run and are no longer there."""
    return len(set(plan.registered or ()) - {claim.digest for claim in plan.claims})


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
