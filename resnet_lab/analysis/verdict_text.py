"""A verdict as a sentence or two that name the claim's own cells, n, the interval at the level used and p, and say no more than the data.

Numbers carry as many decimals as their interval deserves; errors are in percentage points where cells are compared and in percent where
the claim is about a level; losses are in nats; a slope is per unit of its axis; how often a cell fails is in percent of its seeds.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_lab.analysis.contrasts import Evidence
from resnet_lab.analysis.new_images import NewImages
from resnet_lab.analysis.rules import region_position
from resnet_lab.analysis.statistics import HolmStep, is_in_two, is_skewed, skewness
from resnet_lab.analysis.tables import Run
from resnet_lab.runs.plan import Plan, as_registered
from resnet_lab.spec.claims import Claim, Trend
from resnet_lab.text import MINUS, plural


@dataclass(frozen=True)
class Stage:
    """When and among what a claim was judged."""

    post_hoc: bool = False
    family: int = 1
    """Claims that Holm's procedure ran over."""
    withdrawn: int = 0
    """Of these, claims that are no longer in the question."""
    looks: tuple[int, ...] = ()
    """Numbers of seeds of all planned looks, where there are several."""
    look: int = 0
    """The look that spoke last, counted from 0; the one to come, where `waiting`."""
    waiting: bool = False
    """Undecided so far, with looks to come."""
    was: str = ""
    """The verdict when that look was taken."""
    uncontrolled: bool = False
    """The number of seeds was changed after effects had been seen."""
    planned: int = 0
    """Seeds planned at the first run; 0 where that is not known, and where looks are planned."""
    registered: str = ""
    """What the registered claim of this name says, where this one is post hoc."""

    @property
    def stopped_early(self) -> bool:
        """Whether a decision came before the last of several looks."""
        return bool(self.looks) and not self.waiting and self.look < len(self.looks) - 1


@dataclass(frozen=True)
class ContrastVerdict:
    """What was found about one of a claim's contrasts, at the level that the claim used."""

    contrast: dict[str, float]
    verdict: str
    effect: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None


@dataclass(frozen=True)
class Finding:
    """What there is to say about one claim."""

    evidence: Evidence
    verdict: str
    why: str
    """Which of OPENINGS tells it; empty for a verdict read from an interval."""
    effect: float | None
    interval: tuple[float, float] | None
    p: float | None
    step: HolmStep
    stage: Stage
    new_images: NewImages | None = None
    failure_bound: float | None = None
    """Upper bound of the probability of failing, where no failure was seen."""
    parts: tuple[ContrastVerdict, ...] = ()
    """All contrasts, where the claim has several."""


def words_of(finding: Finding) -> str:
    """The verdict in words, beginning with the verdict itself."""
    return " ".join([f"{finding.verdict.capitalize()}: {OPENINGS[finding.why](finding)}.", *_remarks(finding)])


def contrast_text(contrast: dict[str, float]) -> str:
    """`plain/56 − plain/20`, with weights where they are not one."""
    terms = []
    for cell, weight in contrast.items():
        size = "" if abs(weight) == 1 else f"{abs(weight):g} × "
        sign = MINUS if weight < 0 else "+"
        terms.append(f"{sign} {size}{cell}")
    return " ".join(terms).removeprefix("+ ")


def claim_text(claim: Claim) -> str:
    """What a claim says: `train error, plain/56 − plain/20 > 0`."""
    contrasts = [contrast_text(contrast) for contrast in claim.contrasts]
    of = _slope(claim.trend) if claim.trend else contrasts[0] if len(contrasts) == 1 else f"each of {', '.join(contrasts)}"
    fails = f" above {claim.fails.above:g} %, share of seeds" if claim.fails else ""
    return f"{claim.metric.replace('_', ' ')}{fails}, {of} {claim.expectation.replace('-', MINUS)}"


def withdrawn_text(plan: Plan) -> list[str]:
    """A sentence for each registered claim that is no longer in the question."""
    there = {claim.digest for claim in plan.claims}
    gone = [claim for claim in as_registered(plan) if claim.digest not in there]
    return [f"The registered claim {claim.name} is no longer in the question: {claim_text(claim)}." for claim in gone]


def subject(evidence: Evidence) -> str:
    """What was measured: a contrast, or the slope that it stands for."""
    trend = evidence.claim.trend
    return contrast_text(evidence.contrast) if trend is None else _slope(trend)


def _slope(trend: Trend) -> str:
    return f"slope of {trend.arm} over {trend.axis}" + (f" {MINUS} slope of {trend.minus}" if trend.minus else "")


def percent(share: float) -> str:
    """`95 %`, `98.75 %` from 0.95, 0.9875."""
    return f"{100 * share:.4g} %"


def p_text(p: float) -> str:
    """`p = 0.03`, `p = 0.0005`, `p = 2e-06`, `p < 1e-300` where it is too small for a number."""
    if p < 1e-300:
        return "p < 1e-300"
    return f"p = {p:.2g}" if p >= 1e-3 else f"p = {p:.1g}"


def _from_interval(finding: Finding) -> str:
    low, high = finding.interval or (math.nan, math.nan)
    decimals = _decimals((high - low) / 2)
    interval = f"{percent(1 - finding.step.level)} interval {_signed(low, decimals)} to {_signed(high, decimals)}"
    return (
        f"{_equation(finding, decimals)} ({interval}, {_seeds(finding.evidence)}, {_p_in_family(finding)}) {_where(finding.evidence)}"
        f"{_expectation(finding)}"
    )


def _from_zero_spread(finding: Finding) -> str:
    return (
        f"{_equation(finding)} {_at_every_seed(finding.evidence)}; without spread there is no t and no interval, and the exact sign test "
        f"decides: {_p_in_family(finding)}{_too_few(finding)}{_expectation(finding)}"
    )


def _from_counts(finding: Finding) -> str:
    evidence, region = finding.evidence, finding.evidence.claim.region
    inside = sum(region.low < value < region.high for value in evidence.values)
    kinds = [
        f"{mixed.failed} of {mixed.n} runs of {mixed.cell} failed to train (error above {mixed.above:g} %)" for mixed in evidence.mixed
    ]
    if evidence.diverged and evidence.is_error:
        kinds.append(f"diverged runs ({_counted(evidence.diverged)}) count as chance, {evidence.chance:.3g} % error")
    return (
        f"{subject(evidence)} is {evidence.claim.expectation} in {inside} of {evidence.n} seeds "
        f"{_where(evidence)}, among runs like these: {'; '.join(kinds)}. With them the mean is {_quantity(finding)}; there is no interval, and p is the "
        f"larger one of t and sign test: {_p_in_family(finding)}{_too_few(finding)}"
    )


def _from_share(finding: Finding) -> str:
    evidence, fails = finding.evidence, finding.evidence.claim.fails
    assert fails is not None
    low, high = finding.interval or (math.nan, math.nan)
    which = "training" if evidence.claim.metric.startswith("train") else "test"
    cell = next(iter(evidence.contrast))
    text = (
        f"{cell} fails to train ({which} error above {fails.above:g} %) in {int(evidence.values.sum())} of {evidence.n} seeds "
        f"({percent(1 - finding.step.level)} Clopper-Pearson interval {100 * low:.3g} % to {100 * high:.3g} %, {_p_in_family(finding)})"
    )
    if finding.failure_bound is not None:
        text += f"; no failure seen: with 95 % confidence it fails in at most {100 * finding.failure_bound:.2g} %"
    if finding.verdict == "contradicted":
        text += f"; the claim expects {evidence.claim.expectation[0]} {percent(fails.share)}"
    return text + _too_few_to_fail(finding)


def _waiting(finding: Finding) -> str:
    evidence, stage = finding.evidence, finding.stage
    if stage.waiting:
        looks = ", ".join(str(n) for n in stage.looks)
        text = f"undecided so far, the next look is at n = {stage.looks[stage.look]} seeds (looks at {looks}); {evidence.n} are there"
    else:
        text = f"{evidence.n} of {evidence.planned} seeds are there for all of its cells"
    if finding.effect is not None:
        so_far = f"{_share_so_far(finding)}" if evidence.claim.fails else f"{_equation(finding)} {_where(evidence)}"
        text += f"; so far {so_far}, which is no verdict yet"
    if uneven := _uneven(evidence):
        text += f"; its cells have different seeds so far, without {_listed(uneven)}"
    if evidence.failed:
        text += f"; failed: {_listed(evidence.failed)} (run the study again to try once more)"
    return text


def _uneven(evidence: Evidence) -> list[Run]:
    """Runs still to come of seeds that other cells of the contrast have already."""
    late = Counter(seed for _, seed in evidence.missing)
    return [run for run in evidence.missing if late[run[1]] < len(evidence.contrast) and run not in evidence.failed]


def _share_so_far(finding: Finding) -> str:
    return f"{next(iter(finding.evidence.contrast))} failed to train in {int(finding.evidence.values.sum())} of {finding.evidence.n}"


def _one_seed(finding: Finding) -> str:
    observed = _share_so_far(finding) if finding.evidence.claim.fails else f"{_equation(finding)} {_where(finding.evidence)}, n = 1 seed"
    return f"a single seed shows no spread, so there is no interval and no test; {observed}"


def _no_loss(finding: Finding) -> str:
    runs, metric = _counted(finding.evidence.diverged), finding.evidence.claim.metric
    return f"{runs} diverged and have no {metric}; a result without them would be one about chosen runs"


def _no_values(finding: Finding) -> str:
    return f"finished runs have no usable {finding.evidence.claim.metric}: {_listed(finding.evidence.valueless)}"


def _identical(finding: Finding) -> str:
    evidence = finding.evidence
    zero = f"{subject(evidence)} is exactly zero {_at_every_seed(evidence)}"
    if evidence.diverged:
        return f"{zero}, since diverged runs ({_counted(evidence.diverged)}) all count as chance: that says nothing about a difference"
    return f"{zero}: no difference to judge, and no spread to judge it by"


def _saturated(finding: Finding) -> str:
    return f"{_equation(finding)} {_at_every_seed(finding.evidence)}; without spread there is no interval to hold against the margin (saturated)"


def _at_every_seed(evidence: Evidence) -> str:
    return f"at every one of n = {evidence.n} seeds {_where(evidence)}"


def _remarks(finding: Finding) -> Iterator[str]:
    """What else a reader must know."""
    evidence, stage = finding.evidence, finding.stage
    decided = finding.verdict in ("supported", "contradicted")
    others = [part for part in finding.parts if part.contrast != evidence.contrast]
    if others:
        listed = ", ".join(_part(evidence, part) for part in others)
        yield f"The claim has {len(finding.parts)} contrasts, and its verdict rests on this one; the others: {listed}."
    if evidence.diverged and evidence.claim.fails:
        yield f"Diverged: {_counted(evidence.diverged)}, counted as failing."
    elif evidence.diverged and evidence.is_error and finding.why != "counts only":
        yield f"Diverged: {_counted(evidence.diverged)}, counted as chance ({evidence.chance:.3g} % error)."
    if evidence.is_level:
        yield "This is a level, not a difference."
    if evidence.floor:
        yield f"At the floor, with next to no errors left: {', '.join(evidence.floor)}."
    if evidence.ceiling:
        yield f"At chance level: {', '.join(evidence.ceiling)}."
    if finding.interval is not None and not evidence.claim.fails:
        yield from _shape(evidence)
    if finding.new_images is not None:
        yield _on_new_images(finding, finding.new_images, decided=decided)
    if decided and stage.stopped_early:
        seeds = f"n = {evidence.n} of at most {stage.looks[-1]} seeds"
        yield f"Decided at look {stage.look + 1} of {len(stage.looks)} ({seeds}): effects of studies that stop early are overstated."
    if stage.was and stage.was != finding.verdict:
        yield f"When that look was taken the verdict was {stage.was}; its runs have changed since."
    if 0 < evidence.planned < stage.planned:
        yield f"Fewer seeds than planned: {evidence.planned}, where {stage.planned} were planned when the study first ran."
    if stage.uncontrolled:
        yield "Error rate not controlled: the number of seeds was changed after effects had been seen."
    if stage.post_hoc and stage.registered:
        yield f"Post hoc: changed after the first run. The registered claim: {stage.registered}. This one: {claim_text(evidence.claim)}. It is judged alone."
    elif stage.post_hoc:
        yield f"Post hoc: added after the first run: {claim_text(evidence.claim)}. It is judged alone."
    elif stage.withdrawn and finding.p is not None:
        yield f"Holm's family holds {plural(stage.withdrawn, 'registered claim')} no longer in the question."


def _shape(evidence: Evidence) -> Iterator[str]:
    """What a reader must know of values that do not look normal."""
    values = evidence.values
    if is_skewed(values):
        more = f"skewness {_signed(float(skewness(values)), 1)}, more than in 95 % of normal samples of {evidence.n}"
        yield f"The values are skewed over seeds ({more}): t errs more often than it says where differences are skewed."
    if is_in_two(values):
        ordered = np.sort(values)
        split = 2 + int(np.argmax(np.diff(ordered)[1:-1]))
        groups = " and ".join(f"{len(group)} around {_signed(float(group.mean()), 1)}" for group in (ordered[:split], ordered[split:]))
        yield f"The values fall into two groups over seeds ({groups}): their mean is that of neither."


def _part(evidence: Evidence, part: ContrastVerdict) -> str:
    shown = "" if part.effect is None or evidence.claim.fails else f" = {_amount(evidence, part.effect, _decimals(abs(part.effect) / 10))}"
    return f"{contrast_text(part.contrast)}{shown} ({part.verdict})"


def _on_new_images(finding: Finding, new: NewImages, *, decided: bool) -> str:
    if (new.low, new.high) == finding.interval:
        errors = f"standard error {new.images_se:.2g}, beside {new.seeds_se:.2g} over seeds"
        freedom = f"{new.df:.3g} degrees of freedom instead of {finding.evidence.n - 1}"
        return (
            f"On new images of the same kind the interval is no wider: the images add spread ({errors}), but with {freedom} t is smaller."
        )
    decimals = _decimals((new.high - new.low) / 2)
    text = f"On new images of the same kind the interval is {_signed(new.low, decimals)} to {_signed(new.high, decimals)}"
    if decided and region_position((new.low, new.high), finding.evidence.claim.region) == "undecided":
        text += ", which is not all on one side: the verdict is about these images"
    return text + "."


def _expectation(finding: Finding) -> str:
    claim = finding.evidence.claim
    if finding.verdict == "contradicted":
        return f"; the claim expects {claim.expectation}"
    if finding.verdict == "undecided" and finding.interval is not None:
        low, high = finding.interval
        crossed = [f"{boundary:g}".replace("-", MINUS) for boundary in claim.region.boundaries if low < boundary < high]
        return f"; the interval contains {' and '.join(crossed)}"
    return ""


def _p_in_family(finding: Finding) -> str:
    """p, and what it was held against."""
    stage, step = finding.stage, finding.step
    text = f"{p_text(1.0 if finding.p is None else finding.p)} against {step.level:.3g}"
    look = f" at look {stage.look + 1} of {len(stage.looks)}" if stage.looks else ""
    if stage.post_hoc or stage.family < 2:
        return text + look
    alpha = step.level * step.remaining
    which = "at the last step of Holm" if step.remaining == 1 else f"= {alpha:.3g}/{step.remaining} by Holm"
    return f"{text} {which} over {stage.family} claims{look}"


def _too_few(finding: Finding) -> str:
    """Says so where no data at this n could have decided: the sign test's least p is 2 / 2^n."""
    n, level = finding.evidence.n, finding.step.level
    if finding.verdict != "undecided" or 2.0 ** (1 - n) <= level:
        return ""
    return f"; with n = {n} seeds the sign test cannot reach this level, it takes {math.ceil(1 - math.log2(level))}"


def _too_few_to_fail(finding: Finding) -> str:
    """Says so where no data at this n could have decided: all runs failing, or none."""
    fails, level, n = finding.evidence.claim.fails, finding.step.level, finding.evidence.n
    assert fails is not None
    likelier = max(1 - fails.share, fails.share)  # of the two extremes, the one that is harder to be surprised by
    least = min(fails.share, 1 - fails.share)
    if finding.verdict != "undecided" or 2 * least**n <= level:
        return ""
    takes = math.ceil(math.log(level / 2) / math.log(least))
    both = f", and {math.ceil(math.log(level / 2) / math.log(likelier))} for the other side" if likelier > least else ""
    return f"; with n = {n} seeds no outcome could reach this level, it takes {takes}{both}"


def _seeds(evidence: Evidence) -> str:
    return f"n = {evidence.n} seeds" + (" a cell, unpaired (Welch)" if evidence.claim.pairing == "none" else "")


def _equation(finding: Finding, decimals: int | None = None) -> str:
    return f"{subject(finding.evidence)} = {_quantity(finding, decimals)}"


def _quantity(finding: Finding, decimals: int | None = None) -> str:
    effect = finding.effect or 0.0
    return _amount(finding.evidence, effect, _decimals(abs(effect) / 10) if decimals is None else decimals)


def _amount(evidence: Evidence, value: float, decimals: int) -> str:
    trend = evidence.claim.trend
    per = f" per unit of {trend.axis}" if trend else ""
    number = _signed(value, decimals)
    if evidence.is_level:
        return f"{number} {'%' if evidence.is_error else 'nats'}{per}"
    plus = "+" if value > 0 else ""
    return f"{plus}{number} {'percentage points' if evidence.is_error else 'nats'}{per}"


def _where(evidence: Evidence) -> str:
    if not evidence.claim.metric.startswith("test_"):
        return "on the training images"
    if not evidence.images:
        return "on the test images"
    if len(evidence.images) > 1:
        return f"on test sets of {evidence.images[0]} to {evidence.images[-1]} images"
    return f"on these {evidence.images[0]:,} test images"


def _counted(runs: Sequence[Run]) -> str:
    """`3 runs of plain/56 and 1 run of plain/44`."""
    cells = Counter(cell for cell, _ in runs)
    return " and ".join(f"{plural(count, 'run')} of {cell}" for cell, count in cells.items())


def _listed(runs: Sequence[Run], most: int = 4) -> str:
    shown = ", ".join(f"{cell} seed {seed}" for cell, seed in runs[:most])
    return f"{shown} and {len(runs) - most} more" if len(runs) > most else shown


def _decimals(half_width: float) -> int:
    """So many that half the interval has two digits, but at least one and at most six."""
    return min(6, max(1, 1 - math.floor(math.log10(half_width)))) if half_width > 0 else 1


def _signed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return (text[1:] if float(text) == 0 else MINUS + text[1:]) if text.startswith("-") else text


OPENINGS: dict[str, Callable[[Finding], str]] = {
    "": _from_interval,
    "waiting": _waiting,
    "one seed": _one_seed,
    "diverged": _no_loss,
    "no values": _no_values,
    "identical arms": _identical,
    "saturated": _saturated,
    "zero spread": _from_zero_spread,
    "counts only": _from_counts,
    "fails": _from_share,
}
"""What each way of reaching a verdict says after the verdict itself."""
