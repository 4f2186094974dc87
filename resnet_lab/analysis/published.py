"""Our mean beside a published number, outside the family of claims and at paper scale only.

`consistent` is weak: the two could be draws from one distribution. `agrees` is strong: they are shown to be within a margin of each other.
Bands of independent replications are labels and never a verdict: laboratories differ by more than the bands are wide.
"""

import math
from dataclasses import dataclass

from scipy.special import stdtrit

from resnet_lab.analysis.statistics import Floats, paired_estimate


@dataclass(frozen=True)
class Published:
    """A published error in percent. `runs` behind it: 1 for a single run, 5 for a mean of five, 3.5 for the median of five.

    A median of five normal values is about as certain as a mean of 3.5 of them.
    """

    value: float
    runs: float = 1.0
    source: str = ""


@dataclass(frozen=True)
class Comparison:
    """Ours against the published number; differences are ours less theirs, in percentage points."""

    difference: float
    half_width: float
    consistent: bool
    agrees: bool | None
    """None where no margin was asked for."""
    words: str


def against(errors: Floats, published: Published, *, margin: float | None = None, level: float = 0.95) -> Comparison | None:
    """Compare errors (n,) with a published number: |mean - y| <= t s sqrt(1/n + 1/k) is consistent. None for fewer than two runs.

    The published runs are taken to spread as ours do. `margin`: agreement is the interval of the difference lying within it.
    """
    n = len(errors)
    if n < 2:
        return None
    estimate = paired_estimate(errors)
    se = estimate.se * math.sqrt(n) * math.sqrt(1 / n + 1 / published.runs)
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * se
    difference = estimate.mean - published.value
    consistent = abs(difference) <= half
    agrees = None if margin is None else abs(difference) + half < margin
    size = f"{difference:+.2f} \u00b1 {half:.2f} percentage points".replace("-", "\u2212")
    words = f"{'consistent' if consistent else 'not consistent'} with the published {published.value:g} % ({size}, n = {n} runs against "
    words += f"{published.runs:g})"
    if agrees is not None:
        words += f"; {'agrees' if agrees else 'not shown to agree'} within {margin:g}"
    return Comparison(difference, half, consistent, agrees, words)


def band_label(low: float, high: float, band: tuple[float, float]) -> str:
    """Where an interval lies relative to a band: `inside`, `outside`, or `straddles` one of its ends."""
    if low >= band[0] and high <= band[1]:
        return "inside"
    return "outside" if high < band[0] or low > band[1] else "straddles"
