"""How numbers read in a report: few digits, the unit beside them, no digit that the measurement does not carry.

Errors and effects are in percent and percentage points, times in seconds. A missing number reads as a dash.
"""

import math
from collections.abc import Iterable

from resnet_lab.text import DASH, MINUS


def known(value: float | None) -> bool:
    """Whether there is a number to show."""
    return value is not None and not math.isnan(value)


def digits(value: float) -> int:
    """Decimals that a percentage of this size is shown with: about three significant digits, at most three decimals."""
    size = abs(value)
    return 1 if size >= 9.995 else 2 if size >= 0.0995 or size == 0 else 3


def number(value: float | None, decimals: int | None = None) -> str:
    """A plain number with a true minus sign; infinities as `∞`."""
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:.{digits(value) if decimals is None else decimals}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def spread(mean: float | None, sd: float | None) -> str:
    """`54.3 ± 1.2`, or the mean alone where there is no deviation (one run)."""
    if mean is None or math.isnan(mean):
        return DASH
    return number(mean) if not known(sd) else f"{number(mean)} ± {number(sd, digits(mean))}"


def significant(value: float, digits: int) -> str:
    """A number of any size with so many significant digits: `1,400`, `0.012`, `2.3e−5`."""
    if value == 0 or not math.isfinite(value):
        return number(value, 0)
    rounded = float(f"{value:.{digits - 1}e}")
    if not 1e-3 <= abs(rounded) < 1e7:
        return f"{rounded:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", MINUS)
    return f"{rounded:,.{max(0, digits - 1 - math.floor(math.log10(abs(rounded))))}f}".replace("-", MINUS)


def interval(low: float | None, high: float | None) -> str:
    """`[52.1, 56.5]`, or a dash."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return DASH
    decimals = digits(max(abs(low), abs(high)))
    return f"[{number(low, decimals)}, {number(high, decimals)}]"


def n_of(counts: Iterable[float]) -> str:
    """`n = 5`, `n = 4 to 5`."""
    known = [int(count) for count in counts]
    low, high = min(known, default=0), max(known, default=0)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def short(count: float | None) -> str:
    """`856 k`, `1.73 M`, `4.09 G`: three significant digits."""
    if count is None or math.isnan(count):
        return DASH
    for scale, unit in _UNITS:
        if abs(count) >= scale * 0.9995:
            return f"{_three(count / scale)} {unit}".strip()
    return f"{count:g}"


def tick(count: float) -> str:
    """`1.2 M` without trailing zeros, for the numbers along an axis."""
    scale, unit = next(((scale, unit) for scale, unit in _UNITS if abs(count) >= scale), (1.0, ""))
    return f"{count / scale:.4g} {unit}".strip()


def probability(p: float | None) -> str:
    """`p = 0.012`, `p < 0.001`."""
    if p is None or math.isnan(p):
        return "no p"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p >= 0.1 else f"p = {p:.3f}"


def _three(value: float) -> str:
    decimals = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{decimals}f}"


_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
