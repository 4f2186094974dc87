"""Gradient norms by block, at the start and at the end of training: where in the net the loss still has a say.

A norm is the Euclidean norm of the loss gradient with respect to the parameters of one block, on one training batch.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.report import numbers, style
from resnet_lab.report.figures.panels import choose, legend, split
from resnet_lab.report.layout import Layout, layout_of

WHERE = "gradients.csv"
WHEN = {"start": "at initialization", "end": "after the last epoch"}


def frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `gradient_norms` draws: the geometric mean over seeds of a cell's block, with the lowest and highest.

    Norms that are zero or no number have no place on a logarithmic axis and are left out, as are diverged runs at the end of training.
    Columns: when, series, label, x, block, position, value, low, high, n.
    """
    layout = layout_of(data.plan)
    table = data.gradient_ends
    table = table[table["cell"].isin(choose(layout, WHERE).cells)]
    table = table.assign(when=np.where(table["epoch"] == 0, "start", "end"))
    diverged = data.runs.loc[data.runs["status"].eq("diverged"), ["cell", "seed"]].assign(diverged=True)
    table = table.merge(diverged, on=["cell", "seed"], how="left")
    keep = np.isfinite(table["norm"]) & (table["norm"] > 0) & ~(table["diverged"].eq(True) & table["when"].eq("end"))
    table = table[keep].assign(log=lambda kept: np.log(kept["norm"].astype(float)))
    grouped = table.groupby(["when", "cell", "block", "position"], sort=False)["log"]
    means = grouped.agg(value="mean", low="min", high="max", n="count").reset_index()
    means[["value", "low", "high"]] = np.exp(means[["value", "low", "high"]])
    for column in ("series", "label", "x"):
        means[column] = means["cell"].map({name: getattr(place, column) for name, place in layout.places.items()})
    columns = ["when", "cell", "series", "label", "x", "block", "position", "value", "low", "high", "n"]
    return pd.DataFrame(means, columns=columns)


def draw(frame: pd.DataFrame, layout: Layout) -> Figure:
    """A row of panels a series, the start on the left and the end on the right; one logarithmic scale for all."""
    frame, panels = split(frame, layout)
    with styled():
        figure, grid = style.grid(len(panels.names), len(WHEN), height=2.5 if len(panels.names) < 4 else 1.9, sharex=True, sharey=True)
        for name, row in zip(panels.names, grid, strict=True):
            for axes, when in zip(row, WHEN, strict=True):
                _draw_panel(axes, frame[(frame["panel"] == name) & (frame["when"] == when)], panels.colors)
                axes.set_title(f"{name}, {WHEN[when]}" if name else WHEN[when].capitalize())
            row[0].set_ylabel("gradient norm")
        for axes in grid[-1]:
            axes.set_xlabel("block, counted from the input")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _scale_y(grid[0][0], frame)
        legend(figure, panels)
        return figure


def caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What is measured, on how many runs, and what the figure cannot show."""
    low, high = (int(frame["n"].min()), int(frame["n"].max())) if len(frame) else (0, 0)
    n = f"n = {low}" if low == high else f"n = {low} to {high}"
    table = data.gradient_ends
    left_out = int((~(np.isfinite(table["norm"]) & (table["norm"] > 0))).sum())
    zeros = f" Not drawn, since zero or not finite: {numbers.plural(left_out, 'norm')}." if left_out else ""
    diverged = " Runs that diverged are not in the right panels." if data.runs["status"].eq("diverged").any() else ""
    return (
        "Euclidean norm of the gradient of the loss with respect to all parameters of one block, on one training batch: geometric mean "
        f"over seeds ({n}), shaded from the lowest to the highest seed. Norms depend on a block's number of parameters."
        f"{zeros}{diverged}{choose(layout_of(data.plan), WHERE).words}"
    )


def applies(data: StudyData) -> bool:
    """Whether gradient norms were kept."""
    return any(record.arrays.get("gradient_norms", np.zeros(0)).size for record in data.records.values())


def _scale_y(axes: Axes, frame: pd.DataFrame) -> None:
    """Logarithmic, in plain numbers; a narrow range gets the steps between the powers of ten too."""
    axes.set_yscale("log")
    narrow = len(frame) > 0 and frame["high"].max() / frame["low"].min() < 300
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_panel(axes: Axes, rows: pd.DataFrame, colors: dict[str, object]) -> None:
    for line, own in rows.groupby("line", sort=False):
        own, color = own.sort_values("position"), colors[str(line)]
        axes.fill_between(own["position"], own["low"], own["high"], color=color, alpha=0.18, lw=0, zorder=2)
        axes.plot(own["position"], own["value"], color=color, lw=1.5, marker="o" if len(own) < 3 else None, ms=3, zorder=3)
