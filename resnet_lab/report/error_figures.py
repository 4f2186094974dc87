"""Figures of final errors and accuracies: every run and cell, against the grid's axis (depth, as a rule) and against multiply-adds.

On an axis of numbers every mark stands where its number is. Errors and accuracies are in percent, multiply-adds are those of one image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from resnet_lab.analysis.tables import StudyData, cell_summary
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.papers.comparison import published_nets
from resnet_lab.papers.deviations import ledger_of
from resnet_lab.papers.facts import PublishedNet
from resnet_lab.report import numbers, style
from resnet_lab.report.layout import MOST_PANELS, Layout, evenly, layout_of, placed
from resnet_lab.report.style import FAINT, INK, MANY_DOTS, MOST_MARKS, WIDTH, Mark
from resnet_lab.text import plural

METRICS = {
    "macs": "Multiply-adds of one image",
    "train_error": "Training error",
    "test_error": "Test error",
    "train_accuracy": "Training accuracy",
    "test_accuracy": "Test accuracy",
}
MOST_ROWS = 24
"""Rows of a dot plot, one a series."""
MOST_LABELS = 40
PUBLISHED = "published"
"""Kind of the rows that are not ours: what the source gives for a cell, at the source's scale only."""
BY_METRIC = {"train": Mark(INK, "^", (0, (4, 2))), "test": Mark(INK, "o", "solid")}
"""How training is told from test where both are in one panel."""


def depth_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `depth_vs_error` draws: `seed` rows (one per finished run), `cell` rows (mean and 95 % t interval), `diverged` rows (how many).

    At the source's scale there are `published` rows too: its test errors, or the range that others read off its figure.

    Columns: metric, cell, series, x, label, kind, seed, value, low, high, n.
    """
    layout = layout_of(data.plan)
    return pd.concat([_metric_rows(data, layout, metric) for metric in ("train_error", "test_error")], ignore_index=True)


def accuracy_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `depth_vs_accuracy` draws: the rows of `depth_frame` as 100 - error."""
    frame = depth_frame(data, verdicts)
    turned = {"value": 100 - frame["value"], "low": 100 - frame["high"], "high": 100 - frame["low"]}
    return frame.assign(metric=frame["metric"].str.replace("error", "accuracy"), **turned)


def macs_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `error_vs_macs` draws: the rows of `depth_frame` that are no single runs, with multiply-adds as `x`."""
    frame = depth_frame(data, verdicts)
    frame["x"] = frame["cell"].map({cell.name: float(cell.macs) for cell in data.plan.cells})
    return frame[frame["kind"] != "seed"].sort_values(["metric", "series", "x"], kind="stable", ignore_index=True)


@styled()
def draw_depth(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """Training and test: one mark per run, each cell's mean with its t interval, one line per series where the axis has numbers.

    Where arms are all there is, they are rows, the best on top.
    """
    if layout.axis == "arm":
        return _draw_rows(frame, layout, width)
    ticks = layout.ticks
    figure = _draw_lines(frame, layout, list(ticks), width, label=layout.title, logarithmic=layout.logarithmic, measured=layout.numeric)
    shown = evenly(list(ticks), 10 if layout.numeric else MOST_LABELS)
    for axes in figure.axes:
        if len(ticks) <= 10 or not layout.numeric:
            labels = [style.wrapped(ticks[x], axes.get_position().width * width / len(shown)) for x in shown]
            axes.set_xticks(shown, labels)
            axes.minorticks_off()
    return figure


@styled()
def draw_macs(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """Training and test error: every cell its mean with a t interval against its multiply-adds, with its axis value; many arms as rows."""
    if layout.axis == "arm" and frame["series"].nunique() > MOST_MARKS:
        costs = frame[frame["metric"].eq("test_error") & frame["kind"].eq("cell")]
        costs = costs.assign(metric="macs", value=costs["x"], low=np.nan, high=np.nan)
        return _draw_rows(pd.concat([costs, frame], ignore_index=True), layout, width)
    places = sorted(set(frame["x"].astype(float)))
    logarithmic = 0 < places[0] < places[-1] / 8
    figure = _draw_lines(frame, layout, places, width, label="multiply-adds of one image", logarithmic=logarithmic, measured=True)
    for axes in figure.axes:
        _count_costs(axes, logarithmic=logarithmic)
        if layout.axis != "arm":
            axes.margins(x=0.14)
            _label_means(axes, frame, layout)
    return figure


def depth_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What `depth_vs_error` and `depth_vs_accuracy` show and on how many runs."""
    layout = layout_of(data.plan)
    joined = " Lines only connect the means." if layout.numeric else ""
    order = " Rows are sorted by the test panel, the best on top." if layout.axis == "arm" else ""
    return f"Strokes are single runs; larger marks are the means of cells{_caption(data, frame, joined + order)}"


def macs_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What `error_vs_macs` shows."""
    axis = layout_of(data.plan).axis
    labels = "" if axis == "arm" else f" (labeled with its {axis})"
    counted = " Multiply-adds count convolutions and linear layers of one image in evaluation mode."
    return f"Marks are the means of cells{labels}{_caption(data, frame, counted)}"


def has_ended(data: StudyData) -> bool:
    """Whether any run has ended."""
    return bool(data.runs["status"].isin(["done", "diverged"]).any())


def has_costs(data: StudyData) -> bool:
    """Whether cells differ in multiply-adds, and any run has ended."""
    return has_ended(data) and len({cell.macs for cell in data.plan.cells}) > 1


def _metric_rows(data: StudyData, layout: Layout, metric: str) -> pd.DataFrame:
    runs = data.runs
    points = runs.loc[runs["status"].eq("done") & runs[metric].notna(), ["cell", "seed", metric]].rename(columns={metric: "value"})
    means = cell_summary(runs, metric).rename(columns={"mean": "value", "ci_low": "low", "ci_high": "high"})
    means = means.loc[means["value"].notna(), ["cell", "value", "low", "high", "n"]]
    diverged = runs.loc[runs["status"].eq("diverged")].groupby("cell", sort=False).size().rename("n").reset_index()
    parts = [points.assign(kind="seed"), means.assign(kind="cell"), diverged.assign(kind="diverged")]
    if metric == "test_error":
        parts.append(pd.DataFrame([each for cell, net in published_nets(data.plan).items() for each in _published(cell, net)]))
    frame = placed(pd.concat(parts, ignore_index=True), layout).assign(metric=metric)
    columns = ["metric", "cell", "series", "x", "label", "kind", "seed", "value", "low", "high", "n"]
    return frame[frame["series"].isin(_drawn(layout))].reindex(columns=columns)


def _published(cell: str, net: PublishedNet) -> list[dict[str, Any]]:
    if net.read_off is not None:
        low, high = net.read_off
        return [{"cell": cell, "kind": PUBLISHED, "value": (low + high) / 2, "low": low, "high": high}]
    return [] if net.test_error is None else [{"cell": cell, "kind": PUBLISHED, "value": net.test_error}]


def _draw_lines(
    frame: pd.DataFrame, layout: Layout, places: Sequence[float], width: float, *, label: str, logarithmic: bool, measured: bool
) -> Figure:
    """One panel per metric with all series in it; of many series a panel each, with both metrics in it.

    `places`: all of the axis; `measured`: they are numbers and not categories, at which alone marks stand beside each other.
    """
    looks = {name: look for name, look in style.marks(layout).items() if name in set(frame["series"])}
    metrics = [metric for metric in METRICS if metric in set(frame["metric"])]
    many = len(looks) > MOST_MARKS
    low, high, edge = _limits(frame, metrics[0])
    frame = frame.assign(split=frame["metric"].str.partition("_")[0], panel=frame["series" if many else "metric"])
    by, names = ("split", BY_METRIC) if many else ("series", looks)
    step = -0.1 * (high - low) * (1 if edge > (low + high) / 2 else -1)
    frame["edge"] = edge + step * frame[by].map({name: position for position, name in enumerate(names)})
    panels = [*looks] if many else metrics
    columns = (4 if width > WIDTH / 2 else 2) if many else 2 if width > WIDTH / 2 else 1
    numeric = measured and layout.axis != "arm"
    plot = so.Plot(frame, x="x", y="value", color="series", marker=by, group=by).facet("panel", order=panels, wrap=columns)
    kinds = dict(iter(frame.assign(count=frame["n"].map("{:.0f}".format)).groupby("kind")))
    means, theirs, diverged = kinds.get("cell"), kinds.get(PUBLISHED), kinds.get("diverged")
    moves = [] if measured else [style.SideBySide(width=0.6)]
    plot = style.intervals(plot, means, [*names], *moves, by=by)
    plot = style.add(plot, so.Dots(marker="_", pointsize=7, stroke=0.8), kinds.get("seed"), *moves, marker=None)
    if numeric:
        plot = style.add(plot, so.Line(linewidth=1.3), means, linestyle=by, marker=None)
    plot = style.add(plot, so.Dot(pointsize=6, edgecolor="white", edgewidth=0.7), means, *moves)
    plot = style.add(plot, so.Range(linewidth=1, linestyle=":"), theirs, *moves, ymin="low", ymax="high")
    plot = style.add(plot, so.Dot(marker="*", pointsize=8, fill=False, stroke=1.1), theirs, *moves, marker=None)
    plot = style.add(plot, so.Dot(marker="x", pointsize=5, stroke=1.4), diverged, *moves, y="edge", marker=None)
    plot = style.add(plot, so.Text(fontsize=7, halign="left", offset=5), diverged, *moves, y="edge", text="count", marker=None)
    shared = style.scales(names) | {"color": style.scales(looks)["color"]}
    plot = plot.scale(x=so.Continuous(trans="log" if logarithmic else None), **shared)
    rows = -(-len(panels) // columns)
    figure = style.blank(rows * (1.35 if many else 2.3 if columns > 1 else 1.75) + 0.4, width)
    titled = METRICS if not many else {name: style.wrapped(name, width / columns - 0.4) for name in panels}
    style.draw(
        plot.label(title=titled.__getitem__, x=style.wrapped(label, width / columns - 0.4), y=f"{metrics[0].partition('_')[2]}, %"), figure
    )
    for axes, panel in zip(figure.axes, panels, strict=True):
        axes.set_ylim(low, high)
        axes.margins(x=0.08)
        if axes.collections:
            axes.collections[0].set_rasterized(int((frame["kind"] == "seed").sum()) > MANY_DOTS)
        if measured and means is not None:
            _tell(axes, means[means["panel"] == panel])
    entries: dict[str, Any] = {}
    if many:
        entries = {
            f"{name.replace('train', 'training')}": style.handle(look, None if numeric else "none") for name, look in BY_METRIC.items()
        }
    elif len(looks) > 1 and not (numeric and means is not None and _name_lines(figure.axes[-1], means, looks, metrics[-1])):
        entries = {name: style.handle(look, None if numeric else "none") for name, look in looks.items()}
    if theirs is not None:
        entries["published"] = Line2D([], [], color=FAINT, marker="*", ms=8, mfc="white", mew=1.1, ls="none")
    if entries:
        style.legend_below(figure, entries)
    return figure


def _draw_rows(frame: pd.DataFrame, layout: Layout, width: float) -> Figure:
    """One row per series, those with the lowest test error on top; one panel per metric, all errors on one scale."""
    looks, metrics = style.marks(layout), [metric for metric in METRICS if metric in set(frame["metric"])]
    means = frame[frame["kind"].eq("cell") & frame["metric"].eq(metrics[-1])].set_index("series")["value"]
    best = means.sort_values(ascending=not metrics[-1].endswith("accuracy"), kind="stable").index
    names = list(dict.fromkeys([*best, *(name for name in looks if name in set(frame["series"]))]))
    words = [style.wrapped(name, 0.24 * width if width > WIDTH / 2 else 0.36 * width) for name in names]
    stacked, lines = width <= WIDTH / 2, sum(1.0 + 0.55 * word.count("\n") for word in words)
    figure = style.blank((0.21 * lines + 0.55) * (len(metrics) if stacked else 1), width)
    panels = figure.subplots(*((len(metrics), 1) if stacked else (1, len(metrics))), squeeze=False, sharey=True).ravel()
    limits = _limits(frame[frame["metric"] != "macs"], metrics[-1])
    for position, (axes, metric) in enumerate(zip(panels, metrics, strict=True)):
        _draw_dots(axes, frame[frame["metric"] == metric].assign(edge=limits[2]), {name: looks[name] for name in names})
        axes.set_title(METRICS[metric])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)), words)
        axes.tick_params(axis="y", length=0, labelleft=stacked or position == 0)
        if metric == "macs":
            axes.margins(x=0.12)
            _count_costs(axes)
        else:
            axes.set_xlim(limits[:2])
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_xlabel(f"{metric.partition('_')[2]}, %" if not stacked or position == len(metrics) - 1 else "")
    return figure


def _draw_dots(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Mark]) -> None:
    kinds = dict(iter(rows.assign(count=rows["n"].map("{:.0f}".format)).groupby("kind")))
    means, theirs, diverged = kinds.get("cell"), kinds.get(PUBLISHED), kinds.get("diverged")
    plot = so.Plot(rows, y="series", x="value", color="series", marker="series")
    plot = plot.scale(y=so.Nominal(order=[*looks]), **{name: scale for name, scale in style.scales(looks).items() if name != "linestyle"})
    ends = {"orient": "y", "xmin": "low", "xmax": "high"}
    plot = style.add(plot, so.Dots(marker="|", pointsize=4, stroke=0.8, alpha=0.6), kinds.get("seed"), so.Shift(y=0.24), marker=None)
    plot = style.add(plot, so.Range(linewidth=1.5), means, **ends)
    plot = style.add(plot, so.Dot(pointsize=5.5, edgecolor="white", edgewidth=0.6), means)
    plot = style.add(plot, so.Range(linewidth=1, linestyle=":"), theirs, so.Shift(y=-0.24), **ends)
    plot = style.add(plot, so.Dot(marker="*", pointsize=7, fill=False, stroke=1.1), theirs, so.Shift(y=-0.24), marker=None)
    plot = style.add(plot, so.Dot(marker="x", pointsize=5, stroke=1.4), diverged, x="edge", marker=None)
    plot = style.add(plot, so.Text(fontsize=7, halign="right", offset=5), diverged, x="edge", text="count", marker=None)
    style.draw(plot.label(x="", y=""), axes)
    if means is not None:
        _tell(
            axes,
            means.assign(
                x=means["value"], value=means["series"].map({name: place for place, name in enumerate(looks)}), told=means["value"]
            ),
        )


def _tell(axes: Axes, means: pd.DataFrame) -> None:
    """What a page shows at a mean: whose it is and its numbers."""
    told = means.assign(told=means["told"] if "told" in means else means["value"])
    texts = [
        f"{row['cell']}, {METRICS[row['metric']].lower()}: "
        + (numbers.short(row["told"]) if row["metric"] == "macs" else f"{numbers.number(row['told'])} %")
        + (f" {numbers.interval(row['low'], row['high'])}" if numbers.known(row["low"]) else "")
        + f", n = {row['n']:.0f}"
        for row in told.to_dict("records")
    ]
    style.tips(axes, told["x"], told["value"], texts)


def _name_lines(axes: Axes, means: pd.DataFrame, looks: Mapping[str, Mark], metric: str) -> bool:
    """Name each series at its last mean, where there is room."""
    last: Any = means[means["metric"] == metric].sort_values("x").groupby("series", sort=False).tail(1).set_index("series")
    ends = {
        name: (float(last.at[name, "x"]), float(last.at[name, "value"]), look.color) for name, look in looks.items() if name in last.index
    }
    return len(ends) == len(looks) and last["x"].nunique() == 1 and style.label_ends(axes, ends)


def _label_means(axes: Axes, frame: pd.DataFrame, layout: Layout) -> None:
    """The axis value of means, once where several have one cost, at the topmost."""
    metric = next((metric for metric, title in METRICS.items() if title == axes.get_title(loc="left")), "")
    means = frame[
        frame["kind"].eq("cell") & frame["metric"].eq(metric) & frame["label"].isin(evenly([*layout.ticks.values()], MOST_LABELS))
    ]
    named = means.sort_values("value", ascending=False).drop_duplicates(["x", "label"])
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "bottom", "fontsize": 7, "color": INK}
    texts = [axes.annotate(row["label"], (row["x"], row["value"]), (-4, 4), **look) for row in named.to_dict("records")]
    style.keep_apart(axes, texts)


def _count_costs(axes: Axes, *, logarithmic: bool = False) -> None:
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if logarithmic else MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: numbers.tick(value))
    axes.minorticks_off()


def _limits(rows: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    """Both ends of the axis that all panels share, and where crosses stand for runs that diverged: at the end where errors are high.

    From no error at all, unless all values lie close together far from it.
    """
    turn = -1 if metric.endswith("accuracy") else 1
    start = 100 if turn < 0 else 0
    errors = start + turn * pd.concat([rows["value"], rows["low"], rows["high"]]).dropna()
    low, high = (errors.min(), errors.max()) if len(errors) else (0.0, 100.0)
    low = 0.0 if low < 0.6 * high else low
    margin = max(0.05 * (high - low), 0.02 * high, 1e-3)
    series = rows.loc[rows["kind"].eq("diverged"), "series"].nunique()
    worst = high + margin + 0.1 * (1 + min(series, MOST_MARKS)) * (high - low) * bool(series)
    ends = sorted(start + turn * end for end in (low - margin * (1 if low else 0.6), worst))
    return ends[0], ends[1], start + turn * (worst - 0.04 * (worst - low))


def _drawn(layout: Layout) -> list[str]:
    """The series that are drawn: all, unless nobody could tell them apart."""
    rows = MOST_ROWS if layout.axis == "arm" else MOST_PANELS
    return evenly(layout.series, rows)


def _caption(data: StudyData, frame: pd.DataFrame, between: str) -> str:
    """What mean and interval are and of how many runs, what diverged, what is published, what is left out."""
    means, layout, paper = frame[frame["kind"] == "cell"], layout_of(data.plan), ledger_of(data.plan).paper
    n = numbers.n_of(means["n"])
    words = f" with their 95 % t intervals{' (none where all runs agree)' if means['low'].isna().any() else ''}; {n} seeds per cell."
    if not (means["n"] > 1).any():
        words = f" ({n} seed per cell, so there is no interval)." if len(means) else "; no run has finished with a finite loss yet."
    count = int(frame.loc[(frame["kind"] == "diverged") & (frame["metric"] == frame["metric"].iloc[0]), "n"].sum())
    if count:
        where = "bottom" if frame["metric"].iloc[0].endswith("accuracy") else "top"
        words += f" Crosses at the {where} count runs that diverged ({plural(count, 'run')}); they are not in the means."
    words += between
    theirs = frame[frame["kind"] == PUBLISHED]
    if paper is not None and len(theirs):
        words += f" Stars are what {paper.short} (arXiv:{paper.arxiv}) published."
        words += " Dotted: a range that others read off the paper's figure." if (theirs["low"] < theirs["high"]).any() else ""
    drawn, there = len(_drawn(layout)), len(layout.series)
    return words + (f" {drawn} of {there:,} series are drawn, evenly spread; runs.csv has all." if drawn < there else "")
