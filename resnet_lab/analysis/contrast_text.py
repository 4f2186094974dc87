"""How a contrast reads in a sentence: `plain/56 ends 62.6 points worse than plain/20`.

Errors and losses are worse where they are higher, accuracies where they are lower. Where two cells are compared the sentence follows the sign
of the effect, so that neither the effect nor `worse` needs a minus sign; `oriented` turns an interval the same way. Points are percentage
points of error or accuracy.
"""

import math
from collections.abc import Sequence

from resnet_lab.analysis.contrasts import Evidence
from resnet_lab.spec.claims import Claim, Contrast, Trend, is_level
from resnet_lab.spec.probes import metric_facts
from resnet_lab.text import MINUS


def contrast_text(contrast: Contrast) -> str:
    """`plain/56 − plain/20`, with weights where they are not one."""
    terms = []
    for cell, weight in contrast.items():
        size = "" if abs(weight) == 1 else f"{abs(weight):g} × "
        sign = MINUS if weight < 0 else "+"
        terms.append(f"{sign} {size}{cell}")
    return " ".join(terms).removeprefix("+ ")


def claim_text(claim: Claim) -> str:
    """What a claim says, as an inequality: `train error, plain/56 − plain/20 > 0`."""
    contrasts = [contrast_text(contrast) for contrast in claim.contrasts]
    of = _slope(claim.trend) if claim.trend else contrasts[0] if len(contrasts) == 1 else f"each of {', '.join(contrasts)}"
    fails = f" above {claim.fails.above:g} %, share of seeds" if claim.fails else ""
    return f"{claim.metric.replace('_', ' ')}{fails}, {of} {claim.expectation.replace('-', MINUS)}"


def told(claim: Claim, contrast: Contrast, effect: float, decimals: int) -> str:
    """A clause that says what was measured: `plain/56 ends 62.6 points worse than plain/20`."""
    if not claim.is_outcome:
        return _told_of_a_measurement(claim, contrast, effect, decimals)
    amount = f"{signed(abs(effect), decimals)} {short_unit(claim)}"
    if claim.trend is not None:
        per = f"per unit of {claim.trend.axis}"
        if claim.trend.minus is None:
            return f"{claim.trend.arm} gets {amount} {_worse(claim, effect)} {per}"
        return f"{claim.trend.arm} gets {amount} {_worse(claim, effect)} {per} than {claim.trend.minus} does"
    if is_level(contrast):
        only = next(iter(contrast)) if list(contrast.values()) == [1] else contrast_text(contrast)
        unit = f"% {claim.metric.partition('_')[2]}" if claim.is_percent else "nats"
        return f"{only} ends at {signed(effect, decimals)} {unit}"
    if (pair := _pair(contrast)) is not None:
        return f"{pair[0]} ends {amount} {_worse(claim, effect)} than {pair[1]}"
    if (four := _two_pairs(contrast)) is not None:
        ahead, behind, other_ahead, other_behind = four
        return f"{ahead} trails {behind} by {amount} {'less' if (effect < 0) != _is_accuracy(claim) else 'more'} than {other_ahead} trails {other_behind}"
    return f"{contrast_text(contrast)} is {'+' if effect > 0 else ''}{signed(effect, decimals)} {short_unit(claim)}"


def _told_of_a_measurement(claim: Claim, contrast: Contrast, effect: float, decimals: int) -> str:
    """`log10 of the gradient ratio of plain/56 is 2.1 higher than of residual/56`: it is neither better nor worse."""
    facts = metric_facts(claim.metric)
    what = f"{'log10 of ' if facts.log else ''}the {claim.metric.replace('_', ' ')}"
    unit = "" if facts.log or not facts.unit else f" {short_unit(claim)}"
    amount, higher = f"{signed(abs(effect), decimals)}{unit}", "lower" if effect < 0 else "higher"
    if claim.trend is not None:
        per = f"per unit of {claim.trend.axis}"
        if claim.trend.minus is None:
            return f"{what} of {claim.trend.arm} gets {amount} {higher} {per}"
        return f"{what} of {claim.trend.arm} gets {amount} {higher} {per} than that of {claim.trend.minus}"
    if (pair := _pair(contrast)) is not None:
        return f"{what} of {pair[0]} is {amount} {higher} than that of {pair[1]}"
    only = next(iter(contrast)) if list(contrast.values()) == [1] else contrast_text(contrast)
    return f"{what} of {only} is {signed(effect, decimals)}{unit}"


def oriented(claim: Claim, contrast: Contrast, effect: float, ends: tuple[float, float]) -> tuple[float, float]:
    """The ends of an interval of the contrast as they stand beside `told`: turned round where the clause has turned the effect."""
    told_in_words = claim.trend or _pair(contrast) or (_two_pairs(contrast) if claim.is_outcome else None)
    turned = effect < 0 and not is_level(contrast) and bool(told_in_words)
    return (-ends[1], -ends[0]) if turned else ends


def expected(claim: Claim, contrast: Contrast) -> str:
    """What the claim expects of the contrast, as a clause: `residual/56 less than 1 point worse than residual/20`."""
    region, pair = claim.region, _pair(contrast)
    if pair is None or claim.trend is not None:
        what = _slope(claim.trend) if claim.trend is not None else contrast_text(contrast)
        return f"{what} {claim.expectation.replace('-', MINUS)}"
    one, other = pair
    unit = short_unit(claim)
    if len(region.boundaries) == 2:
        return f"{one} and {other} less than {_number(region.high, unit)} apart"
    bound = region.boundaries[0]
    above = math.isinf(region.high)
    if bound == 0:
        return f"{one} {_worse(claim, 1 if above else -1)} than {other}"
    size = "more" if above == (bound > 0) else "less"
    return f"{one} {size} than {_number(abs(bound), unit)} {_worse(claim, bound)} than {other}"


def short_unit(claim: Claim) -> str:
    """`points` of error or accuracy, `nats` of loss, whatever a probe's number is in."""
    return metric_facts(claim.metric).unit.replace("percentage points", "points")


def shown_interval(ends: tuple[float, float], boundaries: Sequence[float]) -> str:
    """`46 to 79`: two digits of half its width, and more where rounding would move an end across or onto a boundary of the claim."""
    low, high = ends
    decimals = decimals_of((high - low) / 2, least=0)
    while decimals < 6 and any(_side(round(end, decimals), at) != _side(end, at) for end in ends for at in boundaries):
        decimals += 1
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


def decimals_of(half_width: float, least: int = 1) -> int:
    """So many that half an interval has two digits; between `least` and six."""
    return min(6, max(least, 1 - math.floor(math.log10(half_width)))) if half_width > 0 else max(1, least)


def signed(value: float, decimals: int) -> str:
    """A number with a true minus sign, and none before a zero."""
    text = f"{value:.{decimals}f}"
    return (text[1:] if float(text) == 0 else MINUS + text[1:]) if text.startswith("-") else text


def where(evidence: Evidence) -> str:
    """`on the training images`, `on these 10,000 test images`."""
    if not evidence.claim.metric.startswith("test_"):
        return "on the training images"
    if not evidence.images:
        return "on the test images"
    if len(evidence.images) > 1:
        return f"on test sets of {evidence.images[0]} to {evidence.images[-1]} images"
    return f"on these {evidence.images[0]:,} test images"


def _worse(claim: Claim, effect: float) -> str:
    if not claim.is_outcome:
        return "lower" if effect < 0 else "higher"
    return "better" if (effect < 0) != _is_accuracy(claim) else "worse"


def _is_accuracy(claim: Claim) -> bool:
    return claim.metric.endswith("accuracy")


def _number(value: float, unit: str) -> str:
    return f"{value:g} {unit.removesuffix('s') if value == 1 else unit}".rstrip()


def _side(value: float, boundary: float) -> int:
    return (value > boundary) - (value < boundary)


def _slope(trend: Trend) -> str:
    return f"slope of {trend.arm} over {trend.axis}" + (f" {MINUS} slope of {trend.minus}" if trend.minus else "")


def _pair(contrast: Contrast) -> tuple[str, str] | None:
    """(cell with weight 1, cell with weight -1), where the contrast is nothing else."""
    cells = {weight: cell for cell, weight in contrast.items()}
    return (cells[1], cells[-1]) if len(contrast) == 2 and set(cells) == {1, -1} else None


def _two_pairs(contrast: Contrast) -> tuple[str, str, str, str] | None:
    """(a, b, c, d) where the contrast is (a - b) - (c - d), in the order in which it is written."""
    plus = [cell for cell, weight in contrast.items() if weight == 1]
    minus = [cell for cell, weight in contrast.items() if weight == -1]
    return (plus[0], minus[0], minus[1], plus[1]) if len(contrast) == 4 and len(plus) == len(minus) == 2 else None
