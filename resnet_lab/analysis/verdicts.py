"""A verdict on each claim of a study: supported, contradicted or undecided, with the interval at the level that the verdict used.

Rules (docs/statistics.md has their sources). D_s, the contrast at seed s, is tested with Student's t against the nearest boundary of the
claim's region, two-sided; analysis/rules.py has the tests for other evidence. Holm's procedure runs over the claims that stood before the
first run; a claim added later is post hoc and judged alone. A claim is supported where the interval at the level used lies inside the
region, contradicted where it lies outside. There is one look, at the planned number of seeds, or a schedule of them (analysis/looks.py).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

from resnet_lab.analysis.contrast_text import claim_text
from resnet_lab.analysis.contrasts import Evidence, Measurements, Mixed, measurements
from resnet_lab.analysis.looks import is_changed, is_post_hoc, withdrawn
from resnet_lab.analysis.new_images import ImageErrors, over_new_images
from resnet_lab.analysis.rules import ClaimTest, Tested, tests_of
from resnet_lab.analysis.statistics import Floats, HolmStep, holm, is_in_two, is_skewed, share_bound
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdict_text import ContrastVerdict, Finding, Stage, details_of, words_of
from resnet_lab.runs.looks import Looks
from resnet_lab.runs.plan import as_registered
from resnet_lab.spec.claims import Claim


@dataclass(frozen=True)
class Verdict:
    """What a study says about one claim. Effects are in `unit`; of several contrasts, those of the one that decides the verdict."""

    name: str
    statement: str
    metric: str
    expect: str
    contrast: dict[str, float]
    verdict: str
    """`supported`, `contradicted`, `undecided`, or `waiting` until all seeds of the next look are there."""
    effect: float | None
    """Mean of the contrast over seeds."""
    ci_low: float | None
    ci_high: float | None
    ci_level: float | None
    """1 - alpha / r: the level at which Holm's procedure used the interval. A pointwise interval, not a simultaneous one."""
    p: float | None
    """What the verdict went by: that of t, of the sign test where there is no t, the larger of both where a cell has two kinds of run, the
    largest of several contrasts."""
    p_sign: float | None
    n: int
    """Seeds shared by all cells."""
    n_planned: int
    n_registered: int
    """Seeds planned at the first run, when the claims were registered; 0 where that is not known."""
    post_hoc: bool
    registered: str
    """What the registered claim of this name says, in words, where this one is post hoc; empty where there was none."""
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
    """The verdict in a few sentences for everybody, which never say more than the data."""
    details: str
    """The test behind it: p, what p was held against, the interval over new images. Empty where nothing was tested."""
    unit: str = "percentage points"
    """Of effect and interval: `percentage points`, `%`, `nats`, either per unit of an axis, or `share of seeds`."""
    pairing: str = "seed"
    """`none` where cells were taken as independent samples."""
    wanted: float | None = None
    """The effect that the claim wants to see."""
    above: float | None = None
    """The error beyond which a run counts as failed, in a claim about failing."""
    failure_bound: float | None = None
    """95 % upper bound of the probability of failing, where no failure was seen."""
    new_images_low: float | None = None
    """The interval of a test error over new seeds and new images, at `ci_level`."""
    new_images_high: float | None = None
    look: int | None = None
    """Which look decided, counted from 1, where several were planned."""
    looks: int | None = None
    """How many looks were planned, where there are several."""
    mixed: tuple[Mixed, ...] = ()
    """Cells with runs that failed to train beside runs that did not."""
    parts: tuple[ContrastVerdict, ...] = ()
    """Every contrast, where the claim has several."""


FLAGS: dict[str, str] = {
    "one seed": "a single seed shows no spread, so nothing can be tested",
    "zero spread": "all seeds agree exactly: no t and no interval, the sign test decides",
    "saturated": "zero spread where equivalence is claimed: no evidence of how small a difference would have been seen",
    "identical arms": "the difference is exactly zero at every seed",
    "floor": "a cell's mean error is next to zero",
    "ceiling": "a cell's mean error is at chance",
    "diverged": "a run of its cells diverged",
    "mixed": "a cell has runs that failed to train beside runs that did not",
    "counts only": "two kinds of run in a cell: judged by t and sign test together, no interval",
    "failed runs": "runs of its cells failed",
    "no values": "finished runs without a number for the metric",
    "skewed": "differences more skewed over seeds than 95 % of normal samples of that size: t errs more often than it says",
    "two groups": "differences in two groups that are farther apart than in 95 % of normal samples of that size",
    "stopped early": "decided before the last of several looks: such effects are overstated",
    "fewer seeds": "judged at fewer seeds than were planned when the claims were registered",
    "error rate not controlled": "the number of seeds was changed after effects had been seen",
}


def judge(data: StudyData, *, alpha: float = 0.05, looks: Looks | None = None) -> tuple[Verdict, ...]:
    """The verdicts on all claims of a study's plan, in their order. `looks`: the study's looks.json, None where no verdict was ever read."""
    plan = data.plan
    return judge_measured(
        measurements(data),
        plan.claims,
        registered=plan.registered,
        alpha=alpha,
        looks=looks,
        images=ImageErrors(data).of,
        before={claim.name: claim for claim in as_registered(plan)},
        planned=plan.registered_seeds,
    )


def judge_measured(
    measured: Measurements,
    claims: Sequence[Claim],
    *,
    registered: Sequence[str] | None = None,
    alpha: float = 0.05,
    looks: Looks | None = None,
    images: Callable[[Evidence], Floats | None] = lambda evidence: None,
    before: Mapping[str, Claim] | None = None,
    planned: int = 0,
) -> tuple[Verdict, ...]:
    """The verdicts on claims, from arrays of what was measured.

    The family of Holm's procedure are the claims `registered` (digests) at the first run, all where that is None. One that was edited or deleted
    since still counts in it, undecided: else the bar for the others would fall with every claim that is withdrawn once its result is seen.
    `images`: evidence -> (N,) its contrast on each test image, for intervals over new images. `before`: the registered claims by name, `planned`: how many
    seeds there were to be then.
    """
    alone = Stage()
    by_looks = looks is not None and looks.controlled and len(looks.schedule) > 1
    if looks is not None and by_looks and all(set(look.seeds) <= set(measured.seeds) for look in looks.done):
        family = _at_looks(measured, claims, registered, looks)
    else:
        alone = Stage(uncontrolled=is_changed(looks, measured.seeds), planned=planned)
        family = _at_once(measured, claims, registered, alpha, alone)
    verdicts = []
    for at, claim in enumerate(claims):
        if at in family:
            test, step, stage = family[at]
        else:
            was = (before or {}).get(claim.name)
            test, stage = tests_of(measured, claim), replace(alone, post_hoc=True, registered=claim_text(was) if was else "")
            step = holm([test.p], alpha)[0]
        verdicts.append(_verdict(test, images, step, stage))
    return tuple(verdicts)


def verdicts_as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as plain JSON values for verdicts.json: one object each with every field of Verdict, null where there is no number."""
    return [{field.name: _plain(getattr(verdict, field.name)) for field in fields(verdict)} for verdict in verdicts]


_Standing = tuple[ClaimTest, HolmStep, Stage]
"""A claim's tests, the step of Holm's procedure that it is judged at, and when that was."""


def _at_once(
    measured: Measurements, claims: Sequence[Claim], registered: Sequence[str] | None, alpha: float, alone: Stage
) -> dict[int, _Standing]:
    """Position of each claim of the family -> how it stands at one look, at all seeds."""
    tests = {at: tests_of(measured, claim) for at, claim in enumerate(claims) if not is_post_hoc(claim, registered)}
    gone = withdrawn(claims, registered)
    steps = holm([*(test.p for test in tests.values()), *[None] * gone], alpha)
    stage = replace(alone, family=len(tests) + gone, withdrawn=gone)
    return {at: (test, step, stage) for (at, test), step in zip(tests.items(), steps, strict=False)}


def _at_looks(measured: Measurements, claims: Sequence[Claim], registered: Sequence[str] | None, looks: Looks) -> dict[int, _Standing]:
    """Position of each claim of the family -> how it stood when a look decided it, else at the last look, else how it stands so far."""
    stage = Stage(family=len(registered or claims), withdrawn=withdrawn(claims, registered, looks), looks=looks.schedule)
    last = len(looks.done) - 1
    found = {}
    for position, claim in enumerate(claims):
        if is_post_hoc(claim, registered):
            continue
        at, decision = looks.decided.get(claim.digest, (last, looks.done[last].decisions.get(claim.digest) if looks.done else None))
        is_decided = claim.digest in looks.decided
        if decision is not None and (is_decided or looks.next is None):
            step = HolmStep(is_decided, decision.level, decision.remaining)
            found[position] = tests_of(measured.upto(looks.done[at].seeds), claim), step, replace(stage, look=at, was=decision.verdict)
        else:
            step = HolmStep(False, looks.alpha, 1)
            found[position] = tests_of(measured, claim), step, replace(stage, look=last + 1, waiting=True)
    return found


def _verdict(test: ClaimTest, images: Callable[[Evidence], Floats | None], step: HolmStep, stage: Stage) -> Verdict:
    verdict, hinge = test.verdict(step.level, decided=step.decided)
    if stage.waiting:
        verdict = "waiting"
    p = None if verdict == "waiting" else test.p
    evidence, claim = hinge.evidence, hinge.evidence.claim
    interval = None if stage.waiting else _interval(hinge, step)
    errors = images(evidence) if interval and hinge.estimate else None
    new = over_new_images(hinge.estimate, errors, 1 - step.level, evidence.bounds) if errors is not None and hinge.estimate else None
    bound = share_bound(evidence.n) if claim.fails and evidence.n and not evidence.values.any() else None
    parts = tuple(_part(part, step, staged=stage.waiting) for part in test.parts) if len(test.parts) > 1 else ()
    finding = Finding(
        evidence=evidence,
        verdict=verdict,
        why="waiting" if verdict == "waiting" else hinge.why,
        effect=_effect(evidence),
        interval=interval,
        p=p,
        step=step,
        stage=stage,
        new_images=new,
        failure_bound=bound,
        parts=parts,
    )
    return Verdict(
        name=claim.name,
        statement=claim.statement,
        metric=claim.metric,
        expect=claim.expectation,
        contrast=dict(evidence.contrast),
        verdict=verdict,
        effect=finding.effect,
        ci_low=interval[0] if interval else None,
        ci_high=interval[1] if interval else None,
        ci_level=1 - step.level if interval else None,
        p=p,
        p_sign=hinge.sign.p if hinge.sign and verdict != "waiting" else None,
        n=evidence.n,
        n_planned=evidence.planned,
        n_registered=stage.planned,
        post_hoc=stage.post_hoc,
        registered=stage.registered,
        level=evidence.is_level,
        correlation=None if math.isnan(evidence.correlation) or claim.fails else evidence.correlation,
        per_seed=dict(zip(evidence.seeds, evidence.values.tolist(), strict=True)),
        diverged=len(evidence.diverged),
        flags=_flags(test, stage, verdict),
        words=words_of(finding),
        details=details_of(finding),
        unit=claim.unit,
        pairing=claim.pairing,
        wanted=claim.effect,
        above=claim.fails.above if claim.fails else None,
        failure_bound=bound,
        new_images_low=new.low if new else None,
        new_images_high=new.high if new else None,
        look=stage.look + 1 if stage.looks and verdict in ("supported", "contradicted") else None,
        looks=len(stage.looks) if stage.looks else None,
        mixed=evidence.mixed,
        parts=parts,
    )


def _interval(test: Tested, step: HolmStep) -> tuple[float, float] | None:
    """What is shown of the interval: cut at what the contrast can be, since no error is below zero."""
    if test.interval is None:
        return None
    (low, high), (least, most) = test.interval(1 - step.level), test.evidence.bounds
    return max(low, least), min(high, most)


def _effect(evidence: Evidence) -> float | None:
    counts_nothing = evidence.n == 0 or (bool(evidence.diverged) and not evidence.is_percent)  # dropping diverged runs would select
    return None if counts_nothing else float(evidence.values.mean())


def _part(test: Tested, step: HolmStep, *, staged: bool) -> ContrastVerdict:
    interval = None if staged else _interval(test, step)
    p_decides = test.p is not None and test.p <= step.level
    verdict = "waiting" if staged or test.why == "waiting" else test.position(step.level, decided=p_decides)
    low, high = interval or (None, None)
    return ContrastVerdict(dict(test.evidence.contrast), verdict, _effect(test.evidence), low, high, None if staged else test.p)


def _flags(test: ClaimTest, stage: Stage, verdict: str) -> tuple[str, ...]:
    evidences = [part.evidence for part in test.parts]
    means = [part.evidence.values for part in test.parts if part.estimate is not None]
    judged = [part.evidence for part in test.parts if part.sign is not None]
    raised = {
        **{part.why: True for part in test.parts},
        "zero spread": any(evidence.zero_spread for evidence in judged),
        "floor": any(evidence.floor for evidence in evidences),
        "ceiling": any(evidence.ceiling for evidence in evidences),
        "diverged": any(evidence.diverged for evidence in evidences),
        "mixed": any(evidence.mixed for evidence in evidences),
        "counts only": any(evidence.diverged or evidence.mixed for evidence in judged),
        "failed runs": any(evidence.failed for evidence in evidences),
        "skewed": any(is_skewed(values) for values in means),
        "two groups": any(is_in_two(values) for values in means),
        "stopped early": stage.stopped_early and verdict in ("supported", "contradicted"),
        "fewer seeds": 0 < evidences[0].planned < stage.planned,
        "error rate not controlled": stage.uncontrolled,
    }
    return tuple(flag for flag in FLAGS if raised.get(flag))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
