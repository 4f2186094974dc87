"""The rules of resnet_lab.analysis for many simulated studies at once; `agrees_with_program` holds them against the program itself.

Arrays: values (studies, cells, seeds) in percent; p, levels and verdicts (studies, claims). A verdict is +1 supported, -1 contradicted,
0 undecided. P values and intervals are worked out apart from each other, so that a disagreement between them can be seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, betaincinv, stdtr, stdtrit

from resnet_lab.analysis.contrasts import Measurements
from resnet_lab.analysis.looks import begin, spending, with_next_look
from resnet_lab.analysis.verdicts import judge_measured
from resnet_lab.spec.claims import Claim

Array = NDArray[Any]


@dataclass(frozen=True)
class Tests:
    """One claim in many studies. `interval`: levels (studies,) -> (low, high) of each contrast; `shown`: studies that have one."""

    p: Array
    inside: Array
    shown: Array
    interval: Callable[[Array], list[tuple[Array, Array]]]


def tests_of(claim: Claim, values: Array) -> Tests:
    """The tests of one claim; cells are called by their position: "0", "1", ..."""
    if claim.fails is not None:
        return _share(claim, values)
    parts = [_mean(claim, contrast, values) for contrast in claim.contrasts]
    if len(parts) == 1:
        return parts[0]
    p = np.max([part.p for part in parts], axis=0)
    inside = np.all([part.inside for part in parts], axis=0)
    shown = np.all([part.shown for part in parts], axis=0)
    return Tests(p, inside, shown, lambda level: [pair for part in parts for pair in part.interval(level)])


def holm(p: Array, alpha: float, open_: Array) -> tuple[Array, Array]:
    """Holm's steps over the claims that are open: (decided, level that each was held against)."""
    p = np.where(open_, p, np.inf)
    remaining = open_.sum(axis=1, keepdims=True)
    order = np.argsort(p, axis=1, kind="stable")
    steps = alpha / np.maximum(remaining - np.arange(p.shape[1]), 1)
    passed = np.logical_and.accumulate(np.take_along_axis(p, order, axis=1) <= steps, axis=1)
    decided, level = np.zeros_like(open_), np.empty_like(p)
    np.put_along_axis(decided, order, passed, axis=1)
    np.put_along_axis(level, order, steps, axis=1)
    last = alpha / np.maximum(remaining - passed.sum(axis=1, keepdims=True), 1)
    return decided & open_, np.where(decided, level, last)


def judged(claims: Sequence[Claim], values: Array, alpha: float = 0.05, schedule: Sequence[int] = ()) -> tuple[Array, int]:
    """(verdicts, disagreements of interval and verdict). `schedule`: seeds of several looks, whose decisions stand."""
    shape = (len(values), len(claims))
    verdicts, disagreements = np.zeros(shape, dtype=int), 0
    numbers = tuple(schedule) or (values.shape[2],)
    for n, share in zip(numbers, spending(numbers, alpha), strict=True):
        open_ = verdicts == 0
        tests = [tests_of(claim, values[:, :, :n]) for claim in claims]
        decided, level = holm(np.stack([test.p for test in tests], axis=1), share, open_)
        for column, (claim, test) in enumerate(zip(claims, tests, strict=True)):
            said = np.where(decided[:, column], np.where(test.inside, 1, -1), 0)
            seen = _positions(test.interval(1 - level[:, column]), claim)
            disagreements += int(np.sum((seen != said) & open_[:, column] & test.shown))
            verdicts[:, column] = np.where(open_[:, column], said, verdicts[:, column])
    return verdicts, disagreements


def agrees_with_program(claims: Sequence[Claim], values: Array, verdicts: Array, schedule: Sequence[int] = ()) -> int:
    """Studies in which the program's own verdicts are others than these."""
    wrong = 0
    for study, expected in zip(values, verdicts, strict=True):
        said = [_SIGNS[verdict.verdict] for verdict in _by_program(claims, study, schedule)]
        wrong += said != expected.tolist()
    return wrong


def study_of(values: Array, metric: str = "train_error") -> Measurements:
    """What a study measured whose runs gave `values` (cells, seeds)."""
    cells, seeds = values.shape
    return Measurements(
        cells=tuple(str(cell) for cell in range(cells)),
        seeds=tuple(range(seeds)),
        metrics={metric: values},
        status=np.full(values.shape, "done", dtype=object),
        chance=np.full(cells, 90.0),
        images=(None,) * cells,
    )


def _by_program(claims: Sequence[Claim], study: Array, schedule: Sequence[int]) -> Any:
    failing = {cell: (claim.metric, claim.fails.above) for claim in claims if claim.fails for cell in claim.cells}
    measured = replace(study_of(study), above=failing)
    looks = begin(None, tuple(schedule)) if schedule else None
    for n in schedule:
        assert looks is not None
        looks = with_next_look(measured.upto(range(n)), claims, None, looks)
    return judge_measured(measured, claims, looks=looks)


def _mean(claim: Claim, contrast: dict[str, float], values: Array) -> Tests:
    """Student t of the contrast over seeds, or Welch; without any spread the sign test, and no equivalence."""
    rows, weights = [int(cell) for cell in contrast], np.array(list(contrast.values()), dtype=float)
    used, n = values[:, rows], values.shape[2]
    differences = np.round(np.einsum("c,scn->sn", weights, used), 9)
    mean, df = differences.mean(axis=1), np.full(len(values), n - 1.0)
    se = differences.std(axis=1, ddof=1) / np.sqrt(n)
    if claim.pairing == "none":
        variances = weights**2 * used.var(axis=2, ddof=1) / n
        mean, se = used.mean(axis=2) @ weights, np.sqrt(variances.sum(axis=1))
        df = variances.sum(axis=1) ** 2 / np.maximum((variances**2 / (n - 1)).sum(axis=1), 1e-300)
    spread = se > 1e-9
    se = np.where(spread, se, 1.0)
    df = np.where(spread, df, 1.0)
    inside, outside = np.zeros(len(values)), np.ones(len(values))
    for boundary in claim.region.boundaries:
        above, below = stdtr(df, -(mean - boundary) / se), stdtr(df, (mean - boundary) / se)
        into, out = (above, below) if boundary == claim.region.low else (below, above)
        inside, outside = np.maximum(inside, into), np.minimum(outside, out)

    def interval(level: Array) -> list[tuple[Array, Array]]:
        half = stdtrit(df, 0.5 + level / 2) * se
        return [(mean - half, mean + half)]

    p, leans = np.minimum(1.0, 2 * np.minimum(inside, outside)), inside <= outside
    if not spread.all():
        sign_p, sign_leans = _sign(differences, claim)
        p, leans = np.where(spread, p, sign_p), np.where(spread, leans, sign_leans)
    return Tests(p, leans, spread, interval)


def _sign(differences: Array, claim: Claim) -> tuple[Array, Array]:
    """The exact sign test where all seeds agree: (p, leans inside); 1 where the difference is zero, and for an equivalence."""
    boundaries, n = claim.region.boundaries, differences.shape[1]
    if len(boundaries) == 2:
        return np.ones(len(differences)), np.ones(len(differences), dtype=bool)
    value = differences[:, 0]
    p = np.where((value == boundaries[0]) | (value == 0), 1.0, 2.0 ** (1 - n))
    return p, (value > boundaries[0]) == np.isfinite(claim.region.low)


def _share(claim: Claim, values: Array) -> Tests:
    assert claim.fails is not None
    n = values.shape[2]
    count = (values[:, int(claim.cells[0])] > claim.fails.above).sum(axis=1)
    share = claim.fails.share
    above, below = np.where(count > 0, bdtrc(count - 1, n, share), 1.0), bdtr(count, n, share)
    inside, outside = (above, below) if np.isfinite(claim.region.low) else (below, above)

    def interval(level: Array) -> list[tuple[Array, Array]]:
        tail = (1 - level) / 2
        low = np.where(count > 0, betaincinv(np.maximum(count, 1), n - count + 1, tail), 0.0)
        high = np.where(count < n, betaincinv(count + 1, np.maximum(n - count, 1), 1 - tail), 1.0)
        return [(low, high)]

    return Tests(np.minimum(1.0, 2 * np.minimum(inside, outside)), inside <= outside, np.ones(len(values), dtype=bool), interval)


def _positions(intervals: list[tuple[Array, Array]], claim: Claim) -> Array:
    region = claim.region
    inside = [(low >= region.low) & (high <= region.high) for low, high in intervals]
    outside = [(high <= region.low) | (low >= region.high) for low, high in intervals]
    settled = np.all([one | other for one, other in zip(inside, outside, strict=True)], axis=0)
    return np.where(settled, np.where(np.any(outside, axis=0), -1, 1), 0)


_SIGNS = {"supported": 1, "contradicted": -1, "undecided": 0, "waiting": 0}
