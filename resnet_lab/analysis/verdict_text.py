"""A verdict in words: first a sentence that anybody can read, then what a reader must know, then the details of the test.

Numbers carry as many decimals as their interval deserves. Points are percentage points of error; a level is in percent, a loss in nats; a slope is per
unit of its axis; how often a cell fails is in percent of its seeds. The words never say more than the data.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_lab.analysis.contrast_text import (
    claim_text,
    contrast_text,
    decimals_of,
    expected,
    oriented,
    shown_interval,
    signed,
    told,
    where,
)
from resnet_lab.analysis.contrasts import Evidence
from resnet_lab.analysis.new_images import NewImages
from resnet_lab.analysis.rules import region_position
from resnet_lab.analysis.statistics import HolmStep, is_in_two, is_skewed, skewness
from resnet_lab.analysis.tables import Run
from resnet_lab.runs.plan import Plan, as_registered
from resnet_lab.text import MINUS, plural


@dataclass(frozen=True)
class Stage:
    """When and among what a claim was judged."""

    post_hoc: bool = False
    family: int = 1
    """Claims that Holm's procedure ran over."""
    withdrawn: int = 0
    """Of these, claims that are no longer in the ablation."""
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
    """The verdict in words, beginning with the verdict itself: `Supported: plain/56 ends 62.6 points worse than plain/20 ...`."""
    return " ".join([f"{finding.verdict.capitalize()}: {OPENINGS[finding.why](finding)}.", *_remarks(finding)])


def details_of(finding: Finding) -> str:
    """The test behind the verdict: p, what it was held against, and the interval over new images. Empty where nothing was tested."""
    return " ".join(_details(finding))


def withdrawn_text(plan: Plan) -> list[str]:
    """A sentence for each registered claim that is no longer in the ablation."""
    there = {claim.digest for claim in plan.claims}
    gone = [claim for claim in as_registered(plan) if claim.digest not in there]
    return [f"The registered claim {claim.name} is no longer in the ablation: {claim_text(claim)}." for claim in gone]


def percent(share: float) -> str:
    """`95 %`, `98.3 %` from 0.95, 0.98333; never rounded up to 100 %."""
    digits = next((digits for digits in (3, 4, 5, 6) if share == 1 or float(f"{100 * share:.{digits}g}") < 100), 7)
    return f"{100 * share:.{digits}g} %"


def p_text(p: float) -> str:
    """`p = 0.03`, `p = 0.0005`, `p = 2e-06`, `p < 1e-300` where it is too small for a number."""
    if p < 1e-300:
        return "p < 1e-300"
    return f"p = {p:.2g}" if p >= 1e-3 else f"p = {p:.1g}"


def _from_interval(finding: Finding) -> str:
    evidence, effect = finding.evidence, finding.effect or 0.0
    ends = finding.interval or (math.nan, math.nan)
    decimals = decimals_of((ends[1] - ends[0]) / 2)
    interval = f"{percent(1 - finding.step.level)} interval {_interval(finding, ends)}"
    return f"{told(evidence.claim, evidence.contrast, effect, decimals)} {where(evidence)} ({_seeds(evidence)}, {interval}){_expectation(finding)}"


def _from_zero_spread(finding: Finding) -> str:
    return (
        f"{_told(finding)} {_at_every_seed(finding.evidence)}. Without spread there is no t test and no interval, so the exact sign test "
        f"decides{_too_few(finding)}{_expectation(finding)}"
    )


def _from_counts(finding: Finding) -> str:
    evidence, region = finding.evidence, finding.evidence.claim.region
    inside = sum(region.low < value < region.high for value in evidence.values)
    kinds = [
        f"{mixed.failed} of {mixed.n} runs of {mixed.cell} failed to train (error above {mixed.above:g} %)" for mixed in evidence.mixed
    ]
    if evidence.diverged and evidence.is_percent:
        kinds.append(f"diverged runs ({_counted(evidence.diverged)}) count as chance, {evidence.chance:.3g} % error")
    return (
        f"the claim holds in {inside} of {evidence.n} seeds {where(evidence)}, among runs like these: {'; '.join(kinds)}. "
        f"With them, on average, {_told(finding)}. There is no interval; t test and sign test must agree{_too_few(finding)}{_expectation(finding)}"
    )


def _from_share(finding: Finding) -> str:
    evidence, fails = finding.evidence, finding.evidence.claim.fails
    assert fails is not None
    low, high = finding.interval or (math.nan, math.nan)
    which = "training" if evidence.claim.metric.startswith("train") else "test"
    cell = next(iter(evidence.contrast))
    text = (
        f"{cell} fails to train ({which} error above {fails.above:g} %) in {int(evidence.values.sum())} of {evidence.n} seeds "
        f"({percent(1 - finding.step.level)} interval {100 * low:.3g} % to {100 * high:.3g} % of runs)"
    )
    if finding.failure_bound is not None:
        text += f". No run failed: with 95 % confidence at most {100 * finding.failure_bound:.2g} % do"
    if finding.verdict == "contradicted":
        text += f". The claim expects {'more' if evidence.claim.expectation.startswith('>') else 'less'} than {percent(fails.share)}"
    return text + _too_few_to_fail(finding)


def _waiting(finding: Finding) -> str:
    evidence, stage = finding.evidence, finding.stage
    if stage.waiting:
        looks = ", ".join(str(n) for n in stage.looks)
        text = f"undecided so far. The next look is at {stage.looks[stage.look]} seeds, and {evidence.n} are there (looks at {looks})"
    else:
        text = f"{evidence.n} of {evidence.planned} seeds are there for all its cells"
    if finding.effect is not None:
        so_far = f"{_share_so_far(finding)}" if evidence.claim.fails else f"{_told(finding)} {where(evidence)}"
        text += f". So far {so_far}; this is no verdict yet"
    if uneven := _uneven(evidence):
        text += f". Not all cells have the same seeds yet; still to come: {_listed(uneven)}"
    if evidence.failed:
        text += f". Failed: {_listed(evidence.failed)} (run the study again to retry)"
    return text


def _uneven(evidence: Evidence) -> list[Run]:
    """Runs still to come of seeds that other cells of the contrast have already."""
    late = Counter(seed for _, seed in evidence.missing)
    return [run for run in evidence.missing if late[run[1]] < len(evidence.contrast) and run not in evidence.failed]


def _share_so_far(finding: Finding) -> str:
    return f"{next(iter(finding.evidence.contrast))} failed to train in {int(finding.evidence.values.sum())} of {finding.evidence.n}"


def _one_seed(finding: Finding) -> str:
    observed = _share_so_far(finding) if finding.evidence.claim.fails else f"{_told(finding)} {where(finding.evidence)}"
    return f"{observed}, with 1 seed. A single seed shows no spread, so there is no interval and no test"


def _no_loss(finding: Finding) -> str:
    runs, metric = _counted(finding.evidence.diverged), finding.evidence.claim.metric
    return f"{runs} diverged and have no {metric.replace('_', ' ')}. Leaving them out would be choosing runs by their result"


def _no_values(finding: Finding) -> str:
    return f"some finished runs have no usable {finding.evidence.claim.metric.replace('_', ' ')}: {_listed(finding.evidence.valueless)}"


def _identical(finding: Finding) -> str:
    evidence = finding.evidence
    zero = f"{contrast_text(evidence.contrast)} is exactly zero {_at_every_seed(evidence)}"
    if evidence.diverged:
        return f"{zero}, because diverged runs ({_counted(evidence.diverged)}) all count as chance. This says nothing about a difference"
    return f"{zero}. There is no difference to judge, and no spread to judge it by"


def _saturated(finding: Finding) -> str:
    return (
        f"{_told(finding)} {_at_every_seed(finding.evidence)}. Without spread there is no interval to compare with the margin (saturated)"
    )


def _at_every_seed(evidence: Evidence) -> str:
    return f"with each of {evidence.n} seeds {where(evidence)}"


def _remarks(finding: Finding) -> Iterator[str]:
    """What else a reader must know."""
    evidence, stage = finding.evidence, finding.stage
    decided = finding.verdict in ("supported", "contradicted")
    others = [part for part in finding.parts if part.contrast != evidence.contrast]
    if others:
        listed = "; ".join(_part(evidence, part) for part in others)
        yield f"The claim has {len(finding.parts)} contrasts and this one decides. The {'other' if len(others) == 1 else 'others'}: {listed}."
    if evidence.diverged and evidence.claim.fails:
        yield f"Diverged and counted as failing: {_counted(evidence.diverged)}."
    elif evidence.diverged and evidence.is_percent and finding.why != "counts only":
        yield f"Diverged and counted as chance ({evidence.chance:.3g} % error): {_counted(evidence.diverged)}."
    if evidence.is_level:
        yield "This is a level, not a difference."
    if evidence.floor:
        yield f"At the floor, with almost no errors left: {', '.join(evidence.floor)}."
    if evidence.ceiling:
        yield f"At chance level: {', '.join(evidence.ceiling)}."
    if finding.interval is not None and not evidence.claim.fails:
        yield from _shape(evidence)
    if finding.new_images is not None and decided and _is_about_these_images(finding, finding.new_images):
        yield f"{_on_new_images(finding, finding.new_images)}, and reaches both sides: the verdict is about these images only."
    if decided and stage.stopped_early:
        seeds = f"{evidence.n} of at most {stage.looks[-1]} seeds"
        yield f"Decided early, at look {stage.look + 1} of {len(stage.looks)} ({seeds}), so the effect is probably overstated."
    if stage.was and stage.was != finding.verdict:
        yield f"At that look the verdict was {stage.was}; the runs have changed since."
    if 0 < evidence.planned < stage.planned:
        yield f"Fewer seeds than planned: {evidence.planned} instead of the {stage.planned} planned when the study first ran."
    if stage.uncontrolled:
        yield "Error rate not controlled: the number of seeds changed after effects had been seen."
    if stage.post_hoc and stage.registered:
        yield f"Post hoc: changed after the first run. The registered claim: {stage.registered}. This one: {claim_text(evidence.claim)}. It is judged alone."
    elif stage.post_hoc:
        yield f"Post hoc: added after the first run: {claim_text(evidence.claim)}. It is judged alone."


def _shape(evidence: Evidence) -> Iterator[str]:
    """What a reader must know of values that do not look normal."""
    values = evidence.values
    if is_skewed(values):
        more = f"skewness {signed(float(skewness(values)), 1)}, more than in 95 % of normal samples of {evidence.n}"
        yield f"The values are skewed over seeds ({more}); the interval may be wrong more often than it says."
    if is_in_two(values):
        ordered = np.sort(values)
        split = 2 + int(np.argmax(np.diff(ordered)[1:-1]))
        groups = " and ".join(f"{len(group)} around {signed(float(group.mean()), 1)}" for group in (ordered[:split], ordered[split:]))
        yield f"The values fall into two groups over seeds ({groups}), and their mean describes neither."


def _details(finding: Finding) -> Iterator[str]:
    """What only those need who check the test."""
    stage = finding.stage
    if finding.p is not None:
        yield f"{_p_in_family(finding)}{_by(finding)}."
    if finding.new_images is not None:
        if (finding.new_images.low, finding.new_images.high) == finding.interval:
            yield _no_wider(finding, finding.new_images)
        else:
            yield f"{_on_new_images(finding, finding.new_images)}."
    if stage.withdrawn and finding.p is not None and not stage.post_hoc:
        yield f"The {stage.family} claims include {plural(stage.withdrawn, 'registered claim')} no longer in the ablation."


def _part(evidence: Evidence, part: ContrastVerdict) -> str:
    if part.effect is None or evidence.claim.fails:
        return f"{contrast_text(part.contrast)} ({part.verdict})"
    return f"{told(evidence.claim, part.contrast, part.effect, decimals_of(abs(part.effect) / 10))} ({part.verdict})"


def _is_about_these_images(finding: Finding, new: NewImages) -> bool:
    return region_position((new.low, new.high), finding.evidence.claim.region) == "undecided"


def _on_new_images(finding: Finding, new: NewImages) -> str:
    return f"On new images of the same kind the interval is {_interval(finding, (new.low, new.high))}"


def _no_wider(finding: Finding, new: NewImages) -> str:
    errors = f"standard error {new.images_se:.2g}, beside {new.seeds_se:.2g} over seeds"
    freedom = f"{new.df:.3g} degrees of freedom instead of {finding.evidence.n - 1}"
    return f"On new images of the same kind the interval is no wider: the images add spread ({errors}), but with {freedom} t is smaller."


def _interval(finding: Finding, ends: tuple[float, float]) -> str:
    """An interval as it stands beside the sentence, and after it the unit where there is one to name."""
    evidence, effect = finding.evidence, finding.effect or 0.0
    turned = effect < 0
    boundaries = evidence.claim.region.boundaries
    shown = oriented(evidence.claim, evidence.contrast, effect, ends)
    if turned and shown != ends:
        boundaries = tuple(-at for at in boundaries)
    return shown_interval(shown, boundaries)


def _expectation(finding: Finding) -> str:
    """A sentence on how the claim fell short; none where it is supported."""
    evidence = finding.evidence
    if finding.verdict == "contradicted":
        return f". The claim expects {expected(evidence.claim, evidence.contrast)}"
    if finding.verdict == "undecided" and finding.interval is not None:
        low, high = finding.interval
        shown = [
            oriented(evidence.claim, evidence.contrast, finding.effect or 0.0, (at, at))[0]
            for at in evidence.claim.region.boundaries
            if low < at < high
        ]
        return f". The interval includes {' and '.join(f'{at + 0.0:g}'.replace('-', MINUS) for at in sorted(shown))}"  # no minus zero
    return ""


def _p_in_family(finding: Finding) -> str:
    """p, and what it was held against: `p = 0.0001, compared with 0.0167 (0.05/3, Holm over 4 claims)`."""
    stage, step = finding.stage, finding.step
    text = f"{p_text(1.0 if finding.p is None else finding.p)}, compared with {step.level:.3g}"
    look = f"look {stage.look + 1} of {len(stage.looks)}" if stage.looks else ""
    family = ""
    if not stage.post_hoc and stage.family > 1:
        split = "last step" if step.remaining == 1 else f"{step.level * step.remaining:.3g}/{step.remaining}"
        family = f"{split}, Holm over {stage.family} claims"
    why = ", ".join(part for part in (family, look) if part)
    return f"{text} ({why})" if why else text


def _by(finding: Finding) -> str:
    """Which test gave p."""
    evidence = finding.evidence
    test = {
        "zero spread": "exact sign test",
        "counts only": "the larger of t and sign test",
        "fails": "exact binomial test, Clopper-Pearson interval",
    }
    return f"; {test.get(finding.why, 'Welch' if evidence.claim.pairing == 'none' else 'paired t test')}"


def _too_few(finding: Finding) -> str:
    """Says so where no data at this n could have decided: the sign test's least p is 2 / 2^n."""
    n, level = finding.evidence.n, finding.step.level
    if finding.verdict != "undecided" or 2.0 ** (1 - n) <= level:
        return ""
    return f". With {n} seeds the sign test cannot decide: it takes {math.ceil(1 - math.log2(level))}"


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
    return f". With {n} seeds no outcome could decide this: it takes {takes}{both}"


def _seeds(evidence: Evidence) -> str:
    return plural(evidence.n, "seed") + (" per cell, unpaired" if evidence.claim.pairing == "none" else "")


def _told(finding: Finding) -> str:
    effect = finding.effect or 0.0
    return told(finding.evidence.claim, finding.evidence.contrast, effect, decimals_of(abs(effect) / 10))


def _counted(runs: Sequence[Run]) -> str:
    """`3 runs of plain/56 and 1 run of plain/44`."""
    cells = Counter(cell for cell, _ in runs)
    return " and ".join(f"{plural(count, 'run')} of {cell}" for cell, count in cells.items())


def _listed(runs: Sequence[Run], most: int = 4) -> str:
    shown = ", ".join(f"{cell} seed {seed}" for cell, seed in runs[:most])
    return f"{shown} and {len(runs) - most} more" if len(runs) > most else shown


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
