"""The figure of claims: for each its effect with the interval the verdict used, the region it claimed, and the contrast of every seed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.report import numbers, style
from resnet_lab.report.error_figures import has_ended
from resnet_lab.report.layout import Layout
from resnet_lab.report.style import WIDTH
from resnet_lab.report.tables import unit_of
from resnet_lab.spec.claims import parse_expect

MOST_CLAIMS = 60
"""Rows of the figure of claims."""
VERDICT_COLORS = {"supported": "#1a7f37", "contradicted": "#b42318", "undecided": "#946200", "waiting": "#6b7280"}


def claims_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `claims` draws: an `effect` row a claim (its interval as low, high) and a `seed` row for each paired contrast.

    `region_low`, `region_high`: what the claim expects; `label`: of its axis; `mark`: what must be known beside the verdict.
    """
    rows: list[dict[str, Any]] = []
    for verdict in verdicts[:MOST_CLAIMS]:
        region, metric = parse_expect(verdict.expect), verdict.metric.replace("_", " ")
        marks = {"post hoc": verdict.post_hoc, "error rate not controlled": "error rate not controlled" in verdict.flags}
        shared = {
            "claim": verdict.name,
            "metric": verdict.metric,
            "verdict": verdict.verdict,
            "region_low": region.low,
            "region_high": region.high,
            "label": unit_of(verdict) if verdict.above is None else f"share of seeds with a {metric} above {verdict.above:g} %",
            "mark": ", ".join(mark for mark, there in marks.items() if there),
            "level": verdict.ci_level,
            "n": verdict.n,
        }
        rows.append({**shared, "kind": "effect", "value": verdict.effect, "low": verdict.ci_low, "high": verdict.ci_high})
        seeds = {seed: value for seed, value in verdict.per_seed.items() if value is not None and math.isfinite(value)}
        rows += [{**shared, "kind": "seed", "seed": seed, "value": value} for seed, value in seeds.items()]
    drawn = ["kind", "seed", "value", "low", "high", "region_low", "region_high", "label", "mark", "level", "n"]
    columns = ["claim", "metric", "verdict", *drawn]
    numeric = ["value", "low", "high", "region_low", "region_high", "level"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numeric, float))


@styled()
def draw_claims(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """A forest plot, one panel per unit: one row per claim with its region shaded, single seeds as dots, the effect as a diamond on its interval."""
    counts = frame.groupby("label", sort=False)["claim"].nunique()
    said = frame[frame["kind"] == "effect"]
    texts = [*(_named(name, width) for name in said["claim"]), *(_said(row, 0.28 * width) for row in said.to_dict("records"))]
    figure = style.blank((0.14 * max(text.count("\n") + 1 for text in texts) + 0.08) * counts.sum() + 0.6 * len(counts), width)
    panels = figure.subplots(len(counts), 1, squeeze=False, height_ratios=[*(counts + 0.6)])
    for (axes,), (label, rows) in zip(panels, frame.groupby("label", sort=False), strict=True):
        _draw_forest(axes, rows, width)
        axes.set_xlabel(style.wrapped(str(label), 0.5 * width))
    return figure


def claims_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """How a row is read, at which level and on how many pairs."""
    effects = frame[frame["kind"] == "effect"]
    levels = [f"{100 * level:.4g} %" for level in sorted(effects["level"].dropna().unique())]
    level = f" at the level its verdict used ({' to '.join(dict.fromkeys((levels[0], levels[-1])))})" if levels else ""
    n = f" {numbers.n_of(effects['n'])} seeds." if len(effects) else ""
    diverged = " A diverged run counts as chance." if data.runs["status"].eq("diverged").any() else ""
    there = len(data.plan.claims)
    more = f" The first {MOST_CLAIMS} of {there:,} claims are drawn; verdicts.json has all." if there > MOST_CLAIMS else ""
    return f"Diamond: mean effect with its interval{level}. Dots: single seeds, paired. Shaded: the values the claim expects.{n}{diverged}{more}"


def has_claims(data: StudyData) -> bool:
    """Whether the study has claims and any run has ended."""
    return bool(data.plan.claims) and has_ended(data)


def _draw_forest(axes: Axes, rows: pd.DataFrame, width: float) -> None:
    effects, seeds = rows[rows["kind"] == "effect"], rows[rows["kind"] == "seed"]
    ends = rows[["value", "low", "high", "region_low", "region_high"]].to_numpy()
    ends = ends[np.isfinite(ends)]
    margin = 0.06 * float(np.ptp(ends)) or max(1.0, 0.1 * float(np.abs(ends).max()))
    low, high = ends.min() - margin, ends.max() + margin
    regions = effects.assign(low=effects["region_low"].clip(low), high=effects["region_high"].clip(upper=high))
    plot = so.Plot(rows, y="claim", x="value").scale(
        y=so.Nominal(order=[*effects["claim"]]), color=so.Nominal(VERDICT_COLORS, order=[*VERDICT_COLORS])
    )
    wide = {"orient": "y", "xmin": "low", "xmax": "high"}
    plot = style.add(plot, so.Range(color="#dbe8f5", linewidth=14, artist_kws={"capstyle": "butt", "zorder": 0}), regions, **wide)
    plot = style.add(plot, so.Dots(color="#555555", pointsize=3.2, stroke=0, fillalpha=0.45), seeds, so.Shift(y=0.22))
    plot = style.add(plot, so.Range(linewidth=1.8, artist_kws={"capstyle": "butt"}), effects, so.Shift(y=-0.1), color="verdict", **wide)
    plot = style.add(plot, so.Dot(marker="D", pointsize=5.5, edgecolor="white", edgewidth=0.7), effects, so.Shift(y=-0.1), color="verdict")
    style.draw(plot.label(y="").limit(x=(low, high)), axes)
    axes.set_ylim(len(effects) - 0.4, -0.6)
    axes.set_yticks(range(len(effects)), [_named(name, width) for name in effects["claim"]])
    axes.tick_params(axis="y", length=0)
    told = [f"{row['claim']}: {_said(row)}".replace("\n", ", ") for row in effects.to_dict("records")]
    style.tips(axes, effects["value"], pd.Series(range(len(effects))), told)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(effects)), [_said(row, 0.28 * width) for row in effects.to_dict("records")])
    right.tick_params(length=0)
    for text, verdict in zip(right.get_yticklabels(), effects["verdict"], strict=True):
        text.set_color(VERDICT_COLORS[verdict])
    right.spines["right"].set_visible(False)


def _named(claim: str, width: float) -> str:
    return style.wrapped(claim, 0.3 * width if width > WIDTH / 2 else 0.36 * width)


def _said(effect: dict[Any, Any], width: float = WIDTH) -> str:
    """A verdict with what it may not be quoted without, and under it the numbers."""
    said = style.wrapped(f"{effect['verdict']}, {effect['mark']}" if effect["mark"] else str(effect["verdict"]), width)
    if not numbers.known(effect["value"]):
        return said
    interval = f" {numbers.interval(effect['low'], effect['high'])}" if numbers.known(effect["low"]) else ""
    return f"{said}\n{numbers.number(effect['value'])}{interval}"
