"""A study's cells beside the numbers that its source published: which net of the paper a cell is, and how our runs of it compare.

At the paper's scale only (deviations.py): at any other, a published number would invite a comparison that means nothing. Errors are in
percent, differences in percentage points. None of this is part of the family of claims.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from resnet_lab.analysis.statistics import Floats, paired_estimate
from resnet_lab.analysis.tables import StudyData, cell_summary, load
from resnet_lab.analysis.verdicts import Verdict, judge
from resnet_lab.papers.deviations import ledger_of
from resnet_lab.papers.facts import PublishedNet, agreement_margin, band
from resnet_lab.papers.nets import nets_like
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.looks import load_looks
from resnet_lab.runs.plan import Plan, driven_plan, study_names
from resnet_lab.runs.store import RunStore
from resnet_lab.text import MINUS

FEWEST = 3
"""Runs from which on a mean is held against the bands, which are about means of as many or more."""


@dataclass(frozen=True)
class Gap:
    """Our mean less the published number, in percentage points.

    `consistent` is weak: the two could be draws from one distribution. `agrees` is strong: they are shown to be within a margin.
    """

    difference: float
    half_width: float
    consistent: bool
    agrees: bool
    words: str


@dataclass(frozen=True)
class NetComparison:
    """One cell beside one published net. `gap` is None where there is no single published number, or fewer than two runs."""

    cell: str
    net: PublishedNet
    n: int
    diverged: int
    mean: float | None
    sd: float | None
    gap: Gap | None
    band: tuple[float, float] | None
    """Where independent replications lie: a label and no verdict, since laboratories differ by more than the bands are wide."""
    label: str
    """Where our 95 % interval lies relative to that band: inside, outside, straddles; empty for few runs, with diverged ones, and without a band."""
    words: str


@dataclass(frozen=True)
class PaperStudy:
    """A study at a paper's scale: its cells beside the paper's nets, and what it says about its claims."""

    name: str
    cells: tuple[NetComparison, ...]
    verdicts: tuple[Verdict, ...]


def studies_of(paper: str, studies: Path, passed_over: list[str]) -> tuple[PaperStudy, ...]:
    """The studies of a folder whose source is the paper `paper`, and which have cells at its scale.

    A study whose files cannot be used is added to `passed_over`, as what is wrong with it.
    """
    found = []
    for name in study_names(studies):
        try:
            plan = driven_plan(studies, name)
            source = ledger_of(plan).paper
            if source is not None and source.key == paper and published_nets(plan):
                data = load(plan, RunStore(studies))
                found.append(PaperStudy(name, compare(data), judge(data, looks=load_looks(studies, name))))
        except StoreError as error:
            passed_over.append(str(error))
    return tuple(found)


def published_nets(plan: Plan) -> dict[str, PublishedNet]:
    """Cell -> the net of its source that it is, of the cells at the source's scale; the first table that names a net counts."""
    ledger = ledger_of(plan)
    if ledger.paper is None:
        return {}
    at_scale = [cell for cell in plan.cells if cell.name in ledger.paper_scale]
    return {cell.name: nets[0] for cell in at_scale if (nets := nets_like(cell.spec["network"], ledger.paper.key))}


def published_text(net: PublishedNet) -> str:
    """What the paper gives for a net: `8.75`, `9 to 9.5` (read off a figure), `fails`; empty where it gives nothing."""
    if net.read_off is not None:
        low, high = net.read_off
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if net.test_error is not None:
        return f"{net.test_error:.2f}"
    return "fails" if net.fails else ""


def compare(data: StudyData) -> tuple[NetComparison, ...]:
    """Every cell that is a net of the source, at the source's scale, beside what was published about it; in the plan's order."""
    nets = published_nets(data.plan)
    if not nets:
        return ()
    rows = {row.cell: row for row in cell_summary(data.runs, "test_error").itertuples()}
    return tuple(_compared(cell, net, _errors(data, cell), rows[cell]) for cell, net in nets.items())


def gap(errors: Floats, published: float, runs: float = 1.0, *, margin: float) -> Gap | None:
    """Compare errors (n,) with a published number: |mean - y| <= t s sqrt(1/n + 1/k) is consistent, t at 95 %. None for fewer than two runs.

    `runs`: k, those behind the number (3.5 for a median of five), taken to spread as ours do. Agreement is the interval of the
    difference lying within the margin.
    """
    n = len(errors)
    if n < 2:
        return None
    estimate = paired_estimate(errors)
    half = float(stdtrit(n - 1, 0.975)) * estimate.se * math.sqrt(n) * math.sqrt(1 / n + 1 / runs)
    difference = estimate.mean - published
    consistent, agrees = abs(difference) <= half, abs(difference) + half < margin
    size = f"{difference:+.2f} \u00b1 {half:.2f} percentage points".replace("-", MINUS)
    words = f"{'' if consistent else 'not '}consistent with the published {published:g} % ({size}, n = {n} runs against {runs:g})"
    words += f"; {'agrees' if agrees else 'not shown to agree'} within {margin:g}"
    return Gap(difference, half, consistent, agrees, words)


def band_label(low: float, high: float, band: tuple[float, float]) -> str:
    """Where an interval lies relative to a band: `inside`, `outside`, or `straddles` one of its ends."""
    if low >= band[0] and high <= band[1]:
        return "inside"
    return "outside" if high < band[0] or low > band[1] else "straddles"


def _errors(data: StudyData, cell: str) -> Floats:
    errors: Floats = data.runs.loc[data.runs["cell"].eq(cell), "test_error"].to_numpy(dtype=float)
    return errors[np.isfinite(errors)]


def _compared(cell: str, net: PublishedNet, errors: Floats, row: Any) -> NetComparison:
    n, diverged = len(errors), int(row.diverged)
    mean = float(errors.mean()) if n else None
    sd = float(errors.std(ddof=1)) if n > 1 else None
    expected = band(net.name)
    label = band_label(row.ci_low, row.ci_high, expected) if expected and n >= FEWEST and sd and not diverged else ""
    found = None if net.test_error is None or diverged else gap(errors, net.test_error, net.runs, margin=agreement_margin())
    return NetComparison(cell, net, n, diverged, mean, sd, found, expected, label, _words(net, errors, diverged, found))


def _words(net: PublishedNet, errors: Floats, diverged: int, found: Gap | None) -> str:
    n = len(errors)
    if n + diverged == 0:
        return "no run has ended yet"
    if net.fails:
        failing = int((errors > 20).sum()) + diverged
        return f"fails as published in {failing} of {n + diverged} runs (error above 20 %, or diverged)"
    if found is not None:
        return found.words
    if diverged:
        return f"{diverged} of {n + diverged} runs diverged, so the means cannot be compared fairly"
    if net.test_error is not None:
        return "one run shows no spread: no comparison"
    return "read off a figure, so there is no exact number to compare with" if net.read_off else "the paper gives no number"
