"""A verdict as a sentence or two that name the claim's own cells, n, the interval at the level used and p, and say no more than the data.

Numbers carry as many decimals as their interval deserves; errors are in percentage points where cells are compared and in percent where
the claim is about a level; losses are in nats.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_lab.analysis.contrasts import Evidence
from resnet_lab.analysis.statistics import HolmStep
from resnet_lab.analysis.tables import Run

MINUS = "\u2212"


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
    family: int
    """Claims that Holm's procedure ran over."""
    withdrawn: int
    """Of these, claims that are no longer in the question."""
    post_hoc: bool


def words_of(finding: Finding) -> str:
    """The verdict in words, beginning with the verdict itself."""
    sentences = [f"{finding.verdict.capitalize()}: {OPENINGS[finding.why](finding)}.", *_remarks(finding)]
    return " ".join(sentence for sentence in sentences if sentence)


def contrast_text(contrast: dict[str, float]) -> str:
    """`plain/56 − plain/20`, with weights where they are not one."""
    terms = []
    for cell, weight in contrast.items():
        size = "" if abs(weight) == 1 else f"{abs(weight):g} × "
        sign = MINUS if weight < 0 else "+"
        terms.append(f"{sign} {size}{cell}")
    return " ".join(terms).removeprefix("+ ")


def percent(share: float) -> str:
    """`95 %`, `98.75 %` from 0.95, 0.9875."""
    return f"{100 * share:.4g} %"


def p_text(p: float) -> str:
    """`p = 0.03`, `p = 2e-06`, `p < 1e-300` where it is too small for a number."""
    if p < 1e-300:
        return "p < 1e-300"
    return f"p = {p:.2g}" if p >= 1e-3 else f"p = {p:.0e}"


def _from_interval(finding: Finding) -> str:
    low, high = finding.interval or (math.nan, math.nan)
    decimals = _decimals((high - low) / 2)
    interval = f"{percent(1 - finding.step.level)} interval {_signed(low, decimals)} to {_signed(high, decimals)}"
    return (
        f"{_equation(finding, decimals)} ({interval}, n = {finding.evidence.n} seeds, {_p_in_family(finding)}) {_where(finding.evidence)}"
        f"{_expectation(finding)}"
    )


def _from_zero_spread(finding: Finding) -> str:
    return (
        f"{_equation(finding)} at every one of n = {finding.evidence.n} seeds {_where(finding.evidence)}; without spread there is no t and "
        f"no interval, and the exact sign test decides: {_p_in_family(finding)}{_too_few(finding)}{_expectation(finding)}"
    )


def _from_counts(finding: Finding) -> str:
    evidence, region = finding.evidence, finding.evidence.claim.region
    inside = sum(region.low < value < region.high for value in evidence.values)
    return (
        f"{contrast_text(evidence.claim.contrast)} is {evidence.claim.expect.strip()} in {inside} of {evidence.n} seeds "
        f"{_where(evidence)}, among runs like these: diverged runs ({_counted(evidence.diverged)}) count as chance, "
        f"{evidence.chance:.3g} % error, with which the mean is {_quantity(finding)}; no interval, {_p_in_family(finding)}, "
        f"the larger p of t and sign test{_too_few(finding)}"
    )


def _waiting(finding: Finding) -> str:
    evidence = finding.evidence
    text = f"{evidence.n} of {evidence.planned} seeds are there for all of its cells"
    if finding.effect is not None:
        text += f"; so far {_equation(finding)} {_where(evidence)}, which is no verdict yet"
    if evidence.failed:
        text += f"; failed: {_listed(evidence.failed)} (run the study again to try once more)"
    return text


def _one_seed(finding: Finding) -> str:
    observed = f"{_equation(finding)} {_where(finding.evidence)}, n = 1 seed"
    return f"a single seed shows no spread, so there is no interval and no test; {observed}"


def _no_loss(finding: Finding) -> str:
    evidence = finding.evidence
    return (
        f"{_counted(evidence.diverged)} diverged; a diverged run has no {evidence.claim.metric}, and a result without such runs would be "
        "one about chosen runs"
    )


def _no_values(finding: Finding) -> str:
    evidence = finding.evidence
    return f"finished runs have no usable {evidence.claim.metric}: {_listed(evidence.valueless)}"


def _identical(finding: Finding) -> str:
    evidence = finding.evidence
    return (
        f"{contrast_text(evidence.claim.contrast)} is exactly zero at every one of n = {evidence.n} seeds {_where(evidence)}: no "
        "difference to judge, and no spread to judge it by"
    )


def _saturated(finding: Finding) -> str:
    evidence = finding.evidence
    return (
        f"{_equation(finding)} at every one of n = {evidence.n} seeds {_where(evidence)}; without spread there is no interval to hold "
        "against the margin (saturated)"
    )


def _remarks(finding: Finding) -> list[str]:
    """What else a reader must know."""
    evidence = finding.evidence
    counted_at_chance = bool(evidence.diverged) and evidence.is_error and finding.why != "counts only"
    return [
        f"Diverged: {_counted(evidence.diverged)}, counted as chance ({evidence.chance:.3g} % error)." if counted_at_chance else "",
        "This is a level, not a difference." if evidence.claim.is_level else "",
        f"At the floor, with next to no errors left: {', '.join(evidence.floor)}." if evidence.floor else "",
        f"At chance level: {', '.join(evidence.ceiling)}." if evidence.ceiling else "",
        "Post hoc: added or changed after the first run, judged alone, outside the registered family." if finding.post_hoc else "",
        f"Holm's family holds {finding.withdrawn} registered claim(s) no longer in the question."
        if finding.withdrawn and not finding.post_hoc and finding.p is not None
        else "",
    ]


def _expectation(finding: Finding) -> str:
    claim = finding.evidence.claim
    if finding.verdict == "contradicted":
        return f"; the claim expects {claim.expect.strip()}"
    if finding.verdict == "undecided" and finding.interval is not None:
        low, high = finding.interval
        crossed = [f"{boundary:g}".replace("-", MINUS) for boundary in claim.region.boundaries if low < boundary < high]
        return f"; the interval reaches both sides of {' and of '.join(crossed)}"
    return ""


def _p_in_family(finding: Finding) -> str:
    """p, and what it was held against."""
    text = f"{p_text(1.0 if finding.p is None else finding.p)} against {finding.step.level:.3g}"
    if finding.post_hoc or finding.family < 2:
        return text
    alpha = finding.step.level * finding.step.remaining
    step = "at the last step of Holm" if finding.step.remaining == 1 else f"= {alpha:g}/{finding.step.remaining} by Holm"
    return f"{text} {step} over {finding.family} claims"


def _too_few(finding: Finding) -> str:
    """Says so where no data at this n could have decided: the sign test's least p is 2 / 2^n."""
    n, level = finding.evidence.n, finding.step.level
    if finding.verdict != "undecided" or 2.0 ** (1 - n) <= level:
        return ""
    return f"; with n = {n} seeds the sign test cannot reach this level, it takes {math.ceil(1 - math.log2(level))}"


def _equation(finding: Finding, decimals: int | None = None) -> str:
    return f"{contrast_text(finding.evidence.claim.contrast)} = {_quantity(finding, decimals)}"


def _quantity(finding: Finding, decimals: int | None = None) -> str:
    evidence, effect = finding.evidence, finding.effect or 0.0
    number = _signed(effect, _decimals(abs(effect) / 10) if decimals is None else decimals)
    if evidence.claim.is_level:
        return f"{number} {'%' if evidence.is_error else 'nats'}"
    plus = "+" if effect > 0 else ""
    return f"{plus}{number} {'percentage points' if evidence.is_error else 'nats'}"


def _where(evidence: Evidence) -> str:
    if not evidence.claim.metric.startswith("test_"):
        return "on the training images"
    if not evidence.images:
        return "on the test images"
    if len(evidence.images) > 1:
        return f"on test sets of {evidence.images[0]} to {evidence.images[-1]} images"
    return f"on these {evidence.images[0]} test images"


def _counted(runs: Sequence[Run]) -> str:
    """`3 runs of plain/56 and 1 run of plain/44`."""
    cells = Counter(cell for cell, _ in runs)
    return " and ".join(f"{count} run{'s' if count > 1 else ''} of {cell}" for cell, count in cells.items())


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
}
"""What each way of reaching a verdict says after the verdict itself."""
