"""The claims: for each its effect with the interval the verdict used, the region it claimed, and the contrast of every seed.

A claim has a scale of its own, in the unit of its metric (percentage points for errors): a small effect can be read beside a large one.
"""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.report import style
from resnet_lab.report.layout import Layout
from resnet_lab.report.tables import unit_of
from resnet_lab.spec.claims import parse_expect

MOST_CLAIMS = 60
"""Strips that a figure is made of at most."""
COLUMNS = ["claim", "metric", "verdict", "kind", "seed", "value", "low", "high", "region_low", "region_high", "label", "mark", "level", "n"]
COLORS = {"supported": "#1a7f37", "contradicted": "#b42318", "undecided": "#946200", "waiting": "#6b7280"}


def frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `claims` draws: an `effect` row a claim (its interval as low, high) and a `seed` row for each paired contrast.

    `region_low`, `region_high`: what the claim expects; `label`: of its axis; `mark`: what must be known beside the verdict.
    """
    rows = []
    for verdict in verdicts[:MOST_CLAIMS]:
        region = parse_expect(verdict.expect)
        shared = {
            "claim": verdict.name,
            "metric": verdict.metric,
            "verdict": verdict.verdict,
            "region_low": region.low,
            "region_high": region.high,
            "label": _label(verdict),
            "mark": _mark(verdict),
            "level": verdict.ci_level,
            "n": verdict.n,
        }
        rows.append({**shared, "kind": "effect", "seed": None, "value": verdict.effect, "low": verdict.ci_low, "high": verdict.ci_high})
        rows += [{**shared, "kind": "seed", "seed": seed, "value": value} for seed, value in _pairs(verdict)]
    whole = pd.DataFrame(rows, columns=COLUMNS)
    numeric = ["value", "low", "high", "region_low", "region_high", "level"]
    return whole.assign(**whole[numeric].astype(float))


def draw(frame: pd.DataFrame, layout: Layout) -> Figure:
    """A strip a claim: its region shaded, single seeds as dots, the effect as a diamond on its interval."""
    names = list(dict.fromkeys(frame["claim"]))
    with styled():
        figure, axes = style.grid(len(names), 1, height=1.02)
        for (one,), name in zip(axes, names, strict=True):
            _draw_strip(one, frame[frame["claim"] == name])
        return figure


def caption(data: StudyData, frame: pd.DataFrame) -> str:
    """How a strip is read, at which level and on how many pairs."""
    known = frame[(frame["kind"] == "effect") & frame["level"].notna()]
    levels = sorted({f"{100 * level:.4g} %" for level in known["level"]})
    level = f" at the level its verdict used ({' to '.join(levels[:1] + levels[-1:]) if len(levels) > 1 else levels[0]})" if levels else ""
    counts = sorted(set(known["n"]))
    n = f" n = {counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} seeds." if counts else ""
    diverged = " A run that diverged counts as chance." if data.runs["status"].eq("diverged").any() else ""
    there = len(data.plan.claims)
    more = f" Drawn are the first {MOST_CLAIMS} of {there:,} claims; verdicts.json has them all." if there > MOST_CLAIMS else ""
    return (
        f"Diamond: mean effect with its interval{level}. Dots: single seeds, paired. Shaded: the values the claim expects. "
        f"Each claim has its own scale.{n}{diverged}{more}"
    )


def applies(data: StudyData) -> bool:
    """Whether the study has claims and any run has ended."""
    return bool(data.plan.claims) and bool(data.runs["status"].isin(["done", "diverged"]).any())


def _label(verdict: Verdict) -> str:
    """What the strip's axis says."""
    metric = verdict.metric.replace("_", " ")
    return f"share of seeds with a {metric} above {verdict.above:g} %" if verdict.above is not None else f"{metric}, {unit_of(verdict)}"


def _mark(verdict: Verdict) -> str:
    """What a verdict may not be quoted without."""
    marks = {"post hoc": verdict.post_hoc, "error rate not controlled": "error rate not controlled" in verdict.flags}
    return ", ".join(mark for mark, there in marks.items() if there)


def _pairs(verdict: Verdict) -> list[tuple[int, float]]:
    return [(seed, value) for seed, value in dict(verdict.per_seed).items() if value is not None and math.isfinite(value)]


def _draw_strip(axes: Axes, rows: pd.DataFrame) -> None:
    effect = rows[rows["kind"] == "effect"].iloc[0]
    seeds = rows.loc[rows["kind"] == "seed", "value"]
    color = COLORS[effect["verdict"]]
    low, high = _limits(rows)
    axes.set_xlim(low, high)
    axes.axvspan(max(low, effect["region_low"]), min(high, effect["region_high"]), color="#dbe8f5", lw=0, zorder=0)
    for edge in (effect["region_low"], effect["region_high"]):
        if math.isfinite(edge):
            axes.axvline(edge, color="#5b7ea3", lw=1, zorder=1)
    axes.plot(seeds, [0.0] * len(seeds), "o", color="#555555", alpha=0.45, ms=4, mew=0, zorder=2, rasterized=len(seeds) > 500)
    if math.isfinite(effect["value"]):
        if math.isfinite(effect["low"]) and math.isfinite(effect["high"]):
            axes.plot([effect["low"], effect["high"]], [0.5, 0.5], color=color, lw=2.2, solid_capstyle="butt", zorder=3)
        axes.plot([effect["value"]], [0.5], "D", color=color, ms=6, mec="white", mew=0.7, zorder=4)
    axes.set_ylim(-0.6, 1.1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(False, axis="y")
    axes.set_title(f"{effect['claim']}", fontsize=9)
    said = f"{effect['verdict']}, {effect['mark']}" if effect["mark"] else effect["verdict"]
    axes.set_title(said, loc="right", color=color, fontsize=9)
    axes.set_xlabel(effect["label"], fontsize=8, labelpad=1)


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """All that is drawn, the edges of the region among it, with a margin."""
    ends = pd.concat([rows[column] for column in ("value", "low", "high", "region_low", "region_high")])
    ends = ends[ends.abs() < math.inf].dropna()
    low, high = float(ends.min()), float(ends.max())
    margin = 0.08 * (high - low) or max(1.0, 0.1 * abs(high))
    return low - margin, high + margin
