"""A study's cells beside the numbers that their source published: which net of the paper a cell is, and how our runs of it compare.

At the paper's scale only (analysis/deviations.py): at any other, a published number would invite a comparison that means nothing. Errors
are in percent, differences in percentage points. None of this is part of the family of claims.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_lab.analysis.deviations import ledger_of
from resnet_lab.analysis.published import Comparison, Published, against, band_label
from resnet_lab.analysis.statistics import Floats
from resnet_lab.analysis.tables import StudyData, cell_summary
from resnet_lab.papers.nets import nets_like
from resnet_lab.papers.papers import PublishedNet, agreement_margin, band
from resnet_lab.runs.plan import Plan

FEWEST = 3
"""Runs from which on a mean is held against the bands, which are about means of as many or more."""


@dataclass(frozen=True)
class Beside:
    """One cell beside one published net. `comparison` is None where there is no single published number, or fewer than two runs."""

    cell: str
    net: PublishedNet
    n: int
    diverged: int
    mean: float | None
    sd: float | None
    comparison: Comparison | None
    band: tuple[float, float] | None
    """Where independent replications lie."""
    label: str
    """Where our 95 % interval lies relative to that band: inside, outside, straddles; empty for few runs, with diverged ones, and without a band."""
    words: str


def published_nets(plan: Plan) -> dict[str, PublishedNet]:
    """Cell -> the net of its source that it is, of the cells at the source's scale; the first table that names a net counts."""
    ledger = ledger_of(plan)
    if ledger.paper is None:
        return {}
    found = {}
    for cell in plan.cells:
        nets = nets_like(cell.spec["network"], ledger.paper.key) if cell.name in ledger.paper_scale else ()
        if nets:
            found[cell.name] = nets[0]
    return found


def published_text(net: PublishedNet) -> str:
    """What the paper gives for a net: `8.75`, `9 to 9.5` (read off a figure), `fails`; empty where it gives nothing."""
    if net.read_off is not None:
        low, high = net.read_off
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if net.test_error is not None:
        return f"{net.test_error:.2f}"
    return "fails" if net.fails else ""


def compare(data: StudyData) -> tuple[Beside, ...]:
    """Every cell that is a net of the source, at the source's scale, beside what was published about it; in the plan's order."""
    nets = published_nets(data.plan)
    if not nets:
        return ()
    rows = {row.cell: row for row in cell_summary(data.runs, "test_error").itertuples()}
    return tuple(_beside(cell, net, _errors(data, cell), rows[cell]) for cell, net in nets.items())


def _errors(data: StudyData, cell: str) -> Floats:
    errors: Floats = data.runs.loc[data.runs["cell"].eq(cell), "test_error"].to_numpy(dtype=float)
    return errors[np.isfinite(errors)]


def _beside(cell: str, net: PublishedNet, errors: Floats, row: Any) -> Beside:
    n, diverged = len(errors), int(row.diverged)
    mean = float(errors.mean()) if n else None
    sd = float(errors.std(ddof=1)) if n > 1 else None
    expected = band(net.name)
    label = band_label(row.ci_low, row.ci_high, expected) if expected and n >= FEWEST and not diverged else ""
    comparison = None
    if net.test_error is not None and not diverged:
        published = Published(net.test_error, net.runs, net.table)
        comparison = against(errors, published, margin=agreement_margin())
    return Beside(cell, net, n, diverged, mean, sd, comparison, expected, label, _words(net, errors, diverged, comparison))


def _words(net: PublishedNet, errors: Floats, diverged: int, comparison: Comparison | None) -> str:
    n = len(errors)
    if n + diverged == 0:
        return "no run has ended yet"
    if net.fails:
        failing = int((errors > 20).sum()) + diverged
        return f"fails as published in {failing} of {n + diverged} runs (error above 20 %, or diverged)"
    if comparison is not None:
        return comparison.words
    if diverged:
        return f"{diverged} of {n + diverged} runs diverged: no comparison of means, which would be one of chosen runs"
    if net.test_error is not None:
        return "one run shows no spread: no comparison"
    return "read off a figure: no number to compare with" if net.read_off else "the paper gives no number"
