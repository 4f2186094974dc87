"""Figures of what probes measured: numbers against depth (or whatever the grid's axis is), and the loss around the final weights.

A number of a cell is the mean of its runs with its 95 % t interval, a ratio's the geometric mean, as in the table `measured`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure

from resnet_lab.analysis.measured import measured_frame
from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.report import numbers, style
from resnet_lab.report.layout import Layout, choose, evenly, layout_of, placed
from resnet_lab.report.style import MOST_MARKS, WIDTH
from resnet_lab.report.training_figures import as_they_are, columns_for, geometric_means, name_lines, panels_of
from resnet_lab.spec.probes import metric_facts

TITLES = {
    "gradient_ratio": "Gradient norm, first block / last, at start",
    "gradient_correlation": "Cosine of two images' gradients, at start",
    "lesion_1": "Error added by deleting a block, points",
    "landscape_roughness": "Roughness of the loss (parabola: 0.014)",
    "sharpness": "Largest eigenvalue of the Hessian",
    "path_length": "Mean length of gradient's paths, blocks",
    "response_sd": "Deviation of responses",
    "update_ratio": "Update norm / weight norm",
}
"""The metrics that are drawn, one a probe, and the titles of their panels; the table has all."""


def probes_frame(data: StudyData, verdicts: Sequence[Verdict] = ()) -> pd.DataFrame:
    """What `probes` draws: the rows of the table `measured` for the metrics in TITLES. Columns: metric, cell, series, x, label, mean, ci_low, ci_high, n."""
    frame = measured_frame(data)
    order = {metric: place for place, metric in enumerate(TITLES)}
    frame = placed(frame[frame["metric"].isin(order)], layout_of(data.plan))
    frame = frame.sort_values("metric", key=lambda metric: metric.map(order), kind="stable", ignore_index=True)
    return frame[["metric", "cell", "series", "x", "label", "mean", "ci_low", "ci_high", "n"]]


@styled()
def draw_probes(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """One panel a metric, each with its own scale; a ratio's is logarithmic. One mark and line a series."""
    there, metrics = set(frame["series"]), list(dict.fromkeys(frame["metric"]))
    looks = {name: look for name, look in style.marks(layout).items() if name in there}
    columns = 1 if width <= WIDTH / 2 else 2
    rows = -(-len(metrics) // columns)
    figure = style.blank(1.75 * rows + 0.3, width)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    ticks = layout.ticks
    for axes, metric in zip(panels, metrics, strict=False):
        own, logarithmic = frame[frame["metric"] == metric], metric_facts(metric).log
        means, ends = style.with_ends(own, "mean", "ci_low", "ci_high")
        plot = so.Plot(pd.concat([means, ends]), x="x", y="mean", color="series")
        plot = style.add(plot, so.Band(alpha=0.15), ends.dropna(subset="mean"), group="series")
        if layout.numeric:
            plot = style.add(plot, so.Line(linewidth=1.3), means, linestyle="series")
        plot = style.add(plot, so.Dot(pointsize=6, edgecolor="white", edgewidth=0.7), means, marker="series")
        style.draw(
            plot.scale(y=so.Continuous(trans="log" if logarithmic else None), **style.scales(looks)).label(x=layout.title, y=""), axes
        )
        axes.set_title(style.wrapped(TITLES[metric], width / columns - 0.4))
        shown = evenly(list(ticks), 10)
        axes.set_xticks(shown, [style.wrapped(ticks[x], width / columns / len(shown)) for x in shown])
        axes.minorticks_off()
        if logarithmic:
            style.powers(axes.yaxis, own["mean"].min(), own["mean"].max())
        said = [
            f"{row['cell']}: {numbers.significant(row['mean'], 3)} {numbers.interval(row['ci_low'], row['ci_high'])}, n = {row['n']:.0f}"
            for row in own.to_dict("records")
        ]
        style.tips(axes, own["x"], own["mean"], said)
    for axes in panels[len(metrics) :]:
        axes.remove()
    if len(looks) > 1:
        style.legend_below(figure, {name: style.handle(look, None if layout.numeric else "none") for name, look in looks.items()})
    return figure


def probes_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What the marks are, and of how many runs."""
    return (
        f"Means of cells, shaded their 95 % t intervals ({numbers.n_of(frame['n'])} seeds per cell); ratios are averaged as logarithms. "
        "Panels have scales of their own."
    )


def has_probes(data: StudyData) -> bool:
    """Whether a probe found a number that is drawn: gradient norms alone have figures of their own."""
    return bool(data.probes["metric"].isin(list(TITLES)).any()) and len(layout_of(data.plan).series) <= MOST_MARKS


def landscape_frame(data: StudyData, verdicts: Sequence[Verdict] = ()) -> pd.DataFrame:
    """What `landscape` draws: the geometric mean over runs and directions of a cell's loss, with the lowest and highest, at each distance t.

    Columns: cell, series, label, x, t, value, low, high, n (curves: runs times directions).
    """
    layout = layout_of(data.plan)
    table = data.probe_table("landscape", "final")
    table = table[table["cell"].isin(choose(layout, "a run's arrays").cells) & np.isfinite(table["loss"]) & (table["loss"] > 0)]
    found = geometric_means(table, ["cell", "t"], "loss")
    return placed(found, layout)[["cell", "series", "label", "x", "t", "value", "low", "high", "n"]]


@styled()
def draw_landscape(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """One panel per series, one line per cell, the deeper the darker; one logarithmic scale for all."""
    frame, panels, colors = panels_of(frame, layout)
    columns = columns_for(len(panels), width)
    means, ends = style.with_ends(frame, "value", "low", "high")
    plot = so.Plot(pd.concat([means, ends]), x="t", y="value", color="color").facet("panel", order=panels, wrap=columns)
    plot = style.add(plot, so.Band(alpha=0.12), ends, group="panel")
    plot = style.add(plot, so.Line(linewidth=1.4), means, group="panel")
    plot = plot.scale(y="log", color=as_they_are(colors))
    figure = style.blank(-(-len(panels) // columns) * 1.9 + 0.4, width)
    style.draw(
        plot.label(x="distance t along a direction", y="loss", title=lambda name: style.wrapped(name, width / columns - 0.4)), figure
    )
    style.powers(figure.axes[0].yaxis, frame["low"].min(), frame["high"].max())
    figure.axes[0].minorticks_off()
    name_lines(figure, panels, colors, layout, {})
    return figure


def landscape_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What the lines are and of how many curves."""
    return (
        "Loss on 512 training images at the final weights plus t times a random direction, each filter of it as long as that of the weights (Li et al. 2018): "
        f"geometric mean over seeds and directions ({numbers.n_of(frame.groupby('cell')['n'].max())} curves per cell), shaded from the lowest to the "
        f"highest. Arms with the same parameters share their directions.{choose(layout_of(data.plan), 'a run').words}"
    )


def has_landscape(data: StudyData) -> bool:
    """Whether a landscape was measured."""
    return not data.probe_table("landscape", "final").empty
