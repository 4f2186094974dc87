"""The figures of a report: which there are, and how each is made in two steps, tables -> the frame that is drawn -> Figure.

A frame holds every number that is drawn; it is tested by value and written as CSV beside its figure. Seaborn draws its rows and computes
nothing. A new figure is those two functions, a caption, and one line in FIGURES at the foot.

Errors and accuracies are in percent, multiply-adds are those of one image. The training error of an epoch is the running mean over that
epoch's own batches, augmented and in training mode; the test error stands beside it only where the study recorded it after every epoch, as
in Fig. 6 of He et al. 2015. A gradient norm is the Euclidean norm of the loss gradient with respect to the parameters of one block, on one
training batch.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
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
from resnet_lab.report import numbers, search_figures, style
from resnet_lab.report.layout import MOST_LINES, Layout, choose, evenly, layout_of
from resnet_lab.report.tables import has_gradients, provenance, unit_of
from resnet_lab.spec.claims import parse_expect
from resnet_lab.text import plural

METRICS = {
    "train_error": "Training error",
    "test_error": "Test error",
    "train_accuracy": "Training accuracy",
    "test_accuracy": "Test accuracy",
}
WIDE = 18
"""Marks in a panel beyond which it gets the whole width of the figure."""
MANY = 1500
"""Points beyond which a cloud is written into SVG and PDF as pixels rather than as shapes."""
MOST_SERIES = 24
"""Series beyond which nobody tells the marks apart; of more, so many are drawn, evenly spread."""
MOST_LABELS = 40
MOST_SEEDS = 200
"""Curves beyond which single runs are no longer drawn: the band from the lowest to the highest takes their place."""
MOST_CLAIMS = 60
"""Rows of the figure of claims."""
PUBLISHED = "published"
"""Kind of the rows that are not ours: what the source gives for a cell, at the source's scale only."""
QUANTITIES = ("train_error", "test_error")
WHEN = {"start": "at initialization", "end": "after the last epoch"}
VERDICT_COLORS = {"supported": "#1a7f37", "contradicted": "#b42318", "undecided": "#946200", "waiting": "#6b7280"}


@dataclass(frozen=True)
class Drawing:
    """How one figure is made. `frame` is everything that is drawn, as numbers; `draw` adds nothing to it."""

    title: str
    applies: Callable[[StudyData], bool]
    frame: Callable[[StudyData, Sequence[Verdict]], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Layout], Figure]
    caption: Callable[[StudyData, pd.DataFrame], str]


@dataclass(frozen=True)
class ReportFigure:
    """A figure that was made: `caption` says on what, down to dataset and commit."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    figure: Figure


def draw_figures(data: StudyData, verdicts: Sequence[Verdict]) -> list[ReportFigure]:
    """Every figure of the table that the study has the numbers for, in the table's order."""
    layout = layout_of(data.plan)
    drawn = []
    for name, drawing in FIGURES.items():
        if drawing.applies(data):
            frame = drawing.frame(data, verdicts)
            caption = f"{drawing.caption(data, frame)} {provenance(data)}"
            drawn.append(ReportFigure(name, drawing.title, caption, frame, drawing.draw(frame, layout)))
    return drawn


# Final errors and accuracies: of every run and cell, against the grid's axis (depth, as a rule) and against multiply-adds.


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
def draw_depth(frame: pd.DataFrame, layout: Layout) -> Figure:
    """Two panels, training and test: one point per run, each cell's mean with its t interval, one line per series where the axis has numbers."""
    ticks = layout.ticks
    figure = _draw_errors(frame, layout, list(ticks), logarithmic=layout.logarithmic, measured=layout.numeric, apart=layout.axis != "arm")
    shown = evenly(list(ticks), MOST_LABELS)
    long = max(map(len, ticks.values())) * len(ticks) > 36
    for axes in figure.axes:
        axes.set_xlabel(layout.title)
        if len(ticks) <= 10 or not layout.numeric:
            axes.set_xticks(shown, [ticks[x] for x in shown], rotation=35 if long else 0, ha="right" if long else "center")
            axes.minorticks_off()
    return figure


@styled()
def draw_macs(frame: pd.DataFrame, layout: Layout) -> Figure:
    """Two panels, training and test error: every cell its mean with a t interval against its multiply-adds, with its axis value."""
    places = sorted(set(frame["x"].astype(float)))
    logarithmic = 0 < places[0] < places[-1] / 8
    figure = _draw_errors(frame, layout, places, logarithmic=logarithmic, measured=True, apart=True, labeled=layout.axis != "arm")
    for axes in figure.axes:
        axes.set_xlabel("multiply-adds of one image")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if logarithmic else MaxNLocator(5))
        axes.xaxis.set_major_formatter(lambda value, _: numbers.tick(value))
        axes.minorticks_off()
    return figure


def depth_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What `depth_vs_error` and `depth_vs_accuracy` show and on how many runs."""
    joined = " Lines only connect the means." if layout_of(data.plan).numeric else ""
    return f"Dots are single runs; larger marks are the means of cells{_caption(data, frame, joined)}"


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
    frame = _placed(pd.concat(parts, ignore_index=True), layout).assign(metric=metric)
    columns = ["metric", "cell", "series", "x", "label", "kind", "seed", "value", "low", "high", "n"]
    return frame[frame["series"].isin(_series(layout))].reindex(columns=columns)


def _published(cell: str, net: PublishedNet) -> list[dict[str, Any]]:
    if net.read_off is not None:
        low, high = net.read_off
        return [{"cell": cell, "kind": PUBLISHED, "value": (low + high) / 2, "low": low, "high": high}]
    return [] if net.test_error is None else [{"cell": cell, "kind": PUBLISHED, "value": net.test_error}]


def _draw_errors(
    frame: pd.DataFrame, layout: Layout, places: Sequence[float], *, logarithmic: bool, measured: bool, apart: bool, labeled: bool = False
) -> Figure:
    """A panel a metric. Series stand `apart` at one of the axis's `places`, or have a place each.

    `measured`: the places are numbers, not categories; `labeled`: means are labeled with the value of the grid's axis.
    """
    metrics, series = [metric for metric in METRICS if metric in set(frame["metric"])], _series(layout)
    limits = {metric: _limits(rows, str(metric)) for metric, rows in frame.groupby("metric")}
    shown = frame.assign(edge=frame["metric"].map(limits).str[2])
    at = np.log10(places) if logarithmic else np.asarray(places)
    room = 0.5 * float(np.diff(at).min()) if len(at) > 1 else 0.5
    if measured and len(at) > 1:  # a place is a number: series must not seem to differ in it
        room = min(room, min(0.05 * len(series), 0.15) * float(np.ptp(at)))
    wide = apart and len(series) * len(layout.ticks) > WIDE
    plot = so.Plot(shown, x="x", y="value", color="series").facet(**{"row" if wide else "col": "metric"}, order=metrics).share(y=False)
    plot = _error_layers(
        plot, shown, layout, room if apart else 0.0, labels=evenly([*layout.ticks.values()], MOST_LABELS) if labeled else ()
    )
    looks = {name: style.mark(position) for position, name in enumerate(series)}
    plot = plot.scale(x=so.Continuous(trans="log" if logarithmic else None), **style.scales(looks))
    figure = style.blank(6.55 if wide else 3.45)
    style.draw(plot.label(title=METRICS.__getitem__, y=f"{metrics[0].partition('_')[2]}, %"), figure)
    for axes, metric in zip(figure.axes, metrics, strict=True):
        axes.set_ylim(limits[metric][:2])
        axes.margins(x=0.08)
        axes.collections[0].set_rasterized(int((frame["kind"] == "seed").sum()) > MANY)
    entries = {}
    if apart and len(series) > 1:
        entries = {name: style.handle(look, None if layout.numeric else "none") for name, look in looks.items()}
    if (frame["kind"] == PUBLISHED).any():
        entries["published"] = Line2D([], [], color="#555555", marker="*", ms=8, mfc="white", mew=1.1, ls="none")
    if entries:
        style.legend_below(figure, [*entries.values()], [*entries])
    return figure


def _error_layers(plot: so.Plot, frame: pd.DataFrame, layout: Layout, room: float, labels: Collection[str]) -> so.Plot:
    """Single runs left of their cell's mean and interval, published numbers right of it, crosses and counts at the edge for what diverged."""
    rows = dict(iter(frame.assign(count=frame["n"].map("{:.0f}".format)).groupby("kind")))
    means, theirs, diverged = rows.get("cell"), rows.get(PUBLISHED), rows.get("diverged")
    move = [style.SideBySide(width=room)] if room else []
    slot = room / len(_series(layout)) or 0.5
    sized = {"pointsize": 6.5, "edgecolor": "white", "edgewidth": 0.7}
    plot = style.add(plot, so.Dots(pointsize=3.2, stroke=0, fillalpha=0.4), rows.get("seed"), *move, so.Shift(x=-slot / 3))
    plot = style.add(plot, so.Range(linewidth=1.3), means, *move, ymin="low", ymax="high")
    if layout.numeric:
        plot = style.add(plot, so.Line(**sized), means, *move, marker="series", linestyle="series")
    else:
        plot = style.add(plot, so.Dot(**sized), means, *move, marker="series")
    plot = style.add(plot, so.Range(linewidth=1, linestyle=":"), theirs, *move, so.Shift(x=slot / 3), ymin="low", ymax="high")
    plot = style.add(plot, so.Dot(marker="*", pointsize=8, fill=False, stroke=1.1), theirs, *move, so.Shift(x=slot / 3))
    plot = style.add(plot, so.Dot(marker="x", pointsize=6, stroke=1.6), diverged, *move, y="edge")
    inward = "bottom" if frame["metric"].iloc[0].endswith("accuracy") else "top"
    plot = style.add(plot, so.Text(fontsize=7.5, valign=inward, offset=6), diverged, *move, y="edge", text="count")
    if labels and means is not None:  # one label where several means have the same cost, at the topmost
        named = means[means["label"].isin(labels)].sort_values("value", ascending=False).drop_duplicates(["metric", "x", "label"])
        plot = style.add(
            plot, so.Text(color="#555555", fontsize=7.5, halign="right", valign="bottom", offset=6), named, *move, text="label", color=None
        )
    return plot


def _limits(rows: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    """Both ends of an axis, and where crosses stand for runs that diverged: at the end where errors are high.

    From no error at all, unless all values lie close together far from it.
    """
    turn = -1 if metric.endswith("accuracy") else 1
    start = 100 if turn < 0 else 0
    errors = start + turn * pd.concat([rows["value"], rows["low"], rows["high"]]).dropna()
    low, high = (errors.min(), errors.max()) if len(errors) else (0.0, 100.0)
    low = 0.0 if low < 0.6 * high else low
    margin = max(0.05 * (high - low), 0.02 * high, 1e-3)
    worst = high + margin + (0.18 * (high - low) if (rows["kind"] == "diverged").any() else 0.0)
    ends = sorted(start + turn * end for end in (low - margin * (1 if low else 0.6), worst))
    return ends[0], ends[1], start + turn * (worst - 0.03 * (worst - low))


def _series(layout: Layout) -> list[str]:
    """Those that are drawn: all, unless nobody could tell them apart."""
    return evenly(layout.series, MOST_SERIES)


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
    drawn, there = len(_series(layout)), len(layout.series)
    return words + (f" {drawn} of {there:,} series are drawn, evenly spread; runs.csv has all." if drawn < there else "")


# Learning curves: a panel a series, colored by depth (or whatever the grid's axis is).


def curves_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `learning_curves` draws: means of cells, single runs where they are few, and where a run diverged.

    Kinds of rows: `mean` (with the lowest and highest of a cell at an epoch), `seed`, `diverged` (a run's last epoch). The mean ends where
    the first run of its cell ends: it is never a mean over those that survived. Columns: quantity, cell, series, label, x, kind, seed,
    epoch, value, low, high, n.
    """
    layout = layout_of(data.plan)
    drawn = choose(layout, "epochs.csv").cells
    rows = _placed(pd.concat([part for quantity in QUANTITIES for part in _curves(data, quantity, drawn)], ignore_index=True), layout)
    return rows.reindex(columns=["quantity", "cell", "series", "label", "x", "kind", "seed", "epoch", "value", "low", "high", "n"])


@styled()
def draw_curves(frame: pd.DataFrame, layout: Layout) -> Figure:
    """A panel a series, a thick line the mean of a cell, thin lines its runs; training error dashed where the test error is there."""
    frame, panels, colors = _panels(frame, layout)
    both = frame["quantity"].nunique() > 1
    rows = dict(iter(frame.assign(run=frame["cell"] + frame["seed"].astype(str)).groupby("kind")))
    means, seeds = rows["mean"], rows.get("seed")
    marker = {"marker": "o", "pointsize": 4} if means["epoch"].nunique() == 1 else {}
    columns = min(len(panels), 2 if len(panels) <= 4 else 3)
    plot = so.Plot(frame, x="epoch", y="value", color="line").facet("panel", order=panels, wrap=columns)
    if seeds is None:
        plot = style.add(plot, so.Band(alpha=0.15), means[means["n"] > 1], ymin="low", ymax="high", group="quantity")
    else:  # where there are two curves a run, thin lines for both would hide the means
        thin = seeds[seeds["quantity"] == "test_error"] if both else seeds
        plot = style.add(plot, so.Lines(linewidth=0.6, alpha=0.45), thin, group="run")
    plot = style.add(plot, so.Line(linewidth=1.5 if both else 2, **marker), means, linestyle="quantity")
    plot = style.add(plot, so.Dot(marker="x", pointsize=6, stroke=1.6), rows.get("diverged"))
    dashes = {"train_error": (0, (4, 2)) if both else "solid", "test_error": "solid"}
    plot = plot.scale(color=so.Nominal(colors, order=list(colors)), linestyle=so.Nominal(dashes, order=list(dashes)))
    figure = style.blank(math.ceil(len(panels) / columns) * (2.9 if columns < 3 else 2.3) + 0.35)
    style.draw(plot.label(x="epoch", y="error, %", title="{}".format), figure)
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[0].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(figure, colors, layout)
    return figure


def curves_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What the curves are, and of how many runs."""
    means = frame[frame["kind"] == "mean"]
    n = numbers.n_of(means.groupby("cell")["n"].max())
    thin = "thin lines single runs" if (frame["kind"] == "seed").any() else "bands reach from the lowest to the highest run"
    augmented = any(cell.spec["data"]["pad_crop"] or cell.spec["data"]["flip"] for cell in data.plan.cells)
    training = f"a running mean over the epoch's own batches, {'augmented and ' if augmented else ''}in training mode"
    both = frame["quantity"].nunique() > 1
    what = f"Solid: test error after each epoch. Dashed: training error, {training}" if both else f"Training error: {training}"
    choice = choose(layout_of(data.plan), "epochs.csv")
    diverged = int((data.runs["status"].eq("diverged") & data.runs["cell"].isin(choice.cells)).sum())
    ended = f" {plural(diverged, 'run')} diverged: the curve ends there in a cross, and so does the mean." if diverged else ""
    return f"{what}. Thick lines are means over seeds ({n} per cell), {thin}.{ended}{choice.words}"


def has_epochs(data: StudyData) -> bool:
    """Whether any epoch was recorded."""
    return any(record.epochs for record in data.records.values())


def _curves(data: StudyData, quantity: str, drawn: Collection[str]) -> list[pd.DataFrame]:
    known = data.epochs[quantity].notna() & data.epochs["cell"].isin(drawn)
    epochs = data.epochs.loc[known, ["cell", "seed", "epoch", quantity]].rename(columns={quantity: "value"})
    if epochs.empty:
        return []
    means = epochs.groupby(["cell", "epoch"], sort=False)["value"].agg(value="mean", low="min", high="max", n="count").reset_index()
    runs = epochs.groupby("cell", sort=False)["seed"].nunique()
    parts = [means[means["n"] == means["cell"].map(runs)].assign(kind="mean")]
    if runs.sum() <= MOST_SEEDS and runs.max() > 1:
        parts.append(epochs.assign(kind="seed"))
    diverged = data.runs.loc[data.runs["status"].eq("diverged"), ["cell", "seed"]]
    parts.append(epochs.groupby(["cell", "seed"], sort=False).tail(1).merge(diverged, on=["cell", "seed"]).assign(kind="diverged"))
    return [part.assign(quantity=quantity) for part in parts]


# Gradient norms by block, at the start and at the end of training: where in the net the loss still has a say.


def gradients_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `gradient_norms` draws: the geometric mean over seeds of a cell's block, with the lowest and highest.

    Norms that are zero or no number have no place on a logarithmic axis and are left out, as are diverged runs at the end of training.
    Columns: when, series, label, x, block, position, value, low, high, n.
    """
    layout = layout_of(data.plan)
    table = data.gradient_ends
    table = table[table["cell"].isin(choose(layout, "gradients.csv").cells) & np.isfinite(table["norm"]) & (table["norm"] > 0)]
    diverged = data.runs.loc[data.runs["status"].eq("diverged"), ["cell", "seed"]].assign(diverged=True)
    table = table.assign(when=np.where(table["epoch"] == 0, "start", "end"), log=np.log(table["norm"].astype(float)))
    table = table.merge(diverged, on=["cell", "seed"], how="left")
    table = table[~(table["diverged"].eq(True) & table["when"].eq("end"))]
    grouped = table.groupby(["when", "cell", "block", "position"], sort=False)["log"]
    means = grouped.agg(value="mean", low="min", high="max", n="count").reset_index()
    means[["value", "low", "high"]] = np.exp(means[["value", "low", "high"]])
    columns = ["when", "cell", "series", "label", "x", "block", "position", "value", "low", "high", "n"]
    return _placed(means, layout).reindex(columns=columns)


@styled()
def draw_gradients(frame: pd.DataFrame, layout: Layout) -> Figure:
    """A row of panels a series, the start on the left and the end on the right; one logarithmic scale for all."""
    frame, panels, colors = _panels(frame, layout)
    titles = {(panel, when): f"{panel}, {words}" if panel else words.capitalize() for panel in panels for when, words in WHEN.items()}
    frame = frame.assign(title=[titles[key] for key in zip(frame["panel"], frame["when"], strict=True)])
    few = frame["position"].nunique() < 3
    ends = [frame.assign(value=frame[end], kind="end") for end in ("low", "high")]  # seaborn puts y on a log scale, and not ymin and ymax
    rows = pd.concat([frame.assign(kind="mean"), *ends], ignore_index=True)
    plot = so.Plot(rows, x="position", y="value", color="line").facet("title", order=list(titles.values()), wrap=len(WHEN))
    plot = style.add(plot, so.Band(alpha=0.18), rows[rows["kind"] == "end"])
    plot = style.add(plot, so.Line(linewidth=1.5, marker="o" if few else "", pointsize=3), rows[rows["kind"] == "mean"])
    plot = plot.scale(y="log", color=so.Nominal(colors, order=list(colors)))
    figure = style.blank(len(panels) * (2.5 if len(panels) < 4 else 1.9) + 0.35)
    style.draw(plot.label(x="block, counted from the input", y="gradient norm", title="{}".format), figure)
    axes = figure.axes[0]
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    narrow = len(frame) > 0 and frame["high"].max() / frame["low"].min() < 300  # then the steps between powers of ten too
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    _legend(figure, colors, layout)
    return figure


def gradients_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What is measured, on how many runs, and what the figure cannot show."""
    norms = data.gradient_ends["norm"]
    left_out = int((~(np.isfinite(norms) & (norms > 0))).sum())
    zeros = f" Not drawn, because zero or not finite: {plural(left_out, 'norm')}." if left_out else ""
    diverged = " Diverged runs are not in the right panels." if data.runs["status"].eq("diverged").any() else ""
    return (
        "Euclidean norm of the gradient of the loss with respect to all parameters of one block, on one training batch: geometric mean "
        f"over seeds ({numbers.n_of(frame['n'])}), shaded from the lowest to the highest seed. Norms depend on a block's number of parameters."
        f"{zeros}{diverged}{choose(layout_of(data.plan), 'gradients.csv').words}"
    )


def _panels(frame: pd.DataFrame, layout: Layout) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    """The frame with columns `panel` and `line`, the panels that have rows, and each line's color: shades of one scale for numbers."""
    if layout.axis == "arm":
        lines = evenly(layout.series, MOST_LINES)
        return frame.assign(panel="", line=frame["series"]), [""], dict(zip(lines, style.hues(len(lines)), strict=True))
    lines = evenly(list(layout.ticks.values()), MOST_LINES)
    colors = style.shades(len(lines)) if layout.numeric else style.hues(len(lines))
    panels = [name for name in layout.series if name in set(frame["series"])]
    return frame.assign(panel=frame["series"], line=frame["label"]), panels, dict(zip(lines, colors, strict=True))


def _legend(figure: Figure, colors: dict[str, str], layout: Layout) -> None:
    """What the colors of lines mean, under the figure; one line needs none."""
    if len(colors) > 1:
        handles = [Line2D([], [], color=color, lw=2.2) for color in colors.values()]
        style.legend_below(figure, handles, list(colors), title=layout.title or None)


# Claims: for each its effect with the interval the verdict used, the region it claimed, and the contrast of every seed.


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
    columns = [
        "claim",
        "metric",
        "verdict",
        "kind",
        "seed",
        "value",
        "low",
        "high",
        "region_low",
        "region_high",
        "label",
        "mark",
        "level",
        "n",
    ]
    numeric = ["value", "low", "high", "region_low", "region_high", "level"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numeric, float))


@styled()
def draw_claims(frame: pd.DataFrame, layout: Layout) -> Figure:
    """A forest plot, one panel per unit: one row per claim with its region shaded, single seeds as dots, the effect as a diamond on its interval."""
    counts = frame.groupby("label", sort=False)["claim"].nunique()
    figure = style.blank(0.42 * counts.sum() + 0.75 * len(counts))
    panels = figure.subplots(len(counts), 1, squeeze=False, height_ratios=[*(counts + 0.6)])
    for (axes,), (label, rows) in zip(panels, frame.groupby("label", sort=False), strict=True):
        _draw_forest(axes, rows)
        axes.set_xlabel(str(label))
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


def _draw_forest(axes: Axes, rows: pd.DataFrame) -> None:
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
    plot = style.add(plot, so.Range(color="#dbe8f5", linewidth=18, artist_kws={"capstyle": "butt", "zorder": 0}), regions, **wide)
    plot = style.add(plot, so.Dots(color="#555555", pointsize=4, stroke=0, fillalpha=0.45), seeds, so.Shift(y=0.2))
    plot = style.add(plot, so.Range(linewidth=2.2, artist_kws={"capstyle": "butt"}), effects, so.Shift(y=-0.1), color="verdict", **wide)
    plot = style.add(plot, so.Dot(marker="D", pointsize=6, edgecolor="white", edgewidth=0.7), effects, so.Shift(y=-0.1), color="verdict")
    style.draw(plot.label(y="").limit(x=(low, high)), axes)
    axes.set_ylim(len(effects) - 0.4, -0.6)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(effects)), [_said(row) for row in effects.to_dict("records")])
    right.tick_params(length=0)
    for text, verdict in zip(right.get_yticklabels(), effects["verdict"], strict=True):
        text.set_color(VERDICT_COLORS[verdict])
    right.spines["right"].set_visible(False)


def _said(effect: dict[Any, Any]) -> str:
    """A verdict with what it may not be quoted without, and under it the numbers."""
    said = f"{effect['verdict']}, {effect['mark']}" if effect["mark"] else str(effect["verdict"])
    if not numbers.known(effect["value"]):
        return said
    interval = f" {numbers.interval(effect['low'], effect['high'])}" if numbers.known(effect["low"]) else ""
    return f"{said}\n{numbers.number(effect['value'])}{interval}"


def _placed(rows: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Rows of cells with the columns series, x and label."""
    places = [layout.places[cell] for cell in rows["cell"]]
    return rows.assign(**{name: [getattr(place, name) for place in places] for name in ("series", "x", "label")})


FIGURES: dict[str, Drawing] = {
    "depth_vs_error": Drawing("Final error of every run", has_ended, depth_frame, draw_depth, depth_caption),
    "depth_vs_accuracy": Drawing("Final accuracy of every run", has_ended, accuracy_frame, draw_depth, depth_caption),
    "claims": Drawing("Claims", has_claims, claims_frame, draw_claims, claims_caption),
    "learning_curves": Drawing("Learning curves", has_epochs, curves_frame, draw_curves, curves_caption),
    "gradient_norms": Drawing("Gradient norms by block", has_gradients, gradients_frame, draw_gradients, gradients_caption),
    "error_vs_macs": Drawing("Error against cost", has_costs, macs_frame, draw_macs, macs_caption),
    "search_history": Drawing(
        "Every trial of the searches",
        search_figures.has_trials,
        search_figures.history_frame,
        search_figures.draw_history,
        search_figures.history_caption,
    ),
    "search_front": Drawing(
        "Error against cost, in the search and in fresh runs",
        search_figures.has_front,
        search_figures.front_frame,
        search_figures.draw_front,
        search_figures.front_caption,
    ),
    "search_importance": Drawing(
        "Which choices mattered",
        search_figures.has_importance,
        search_figures.importance_frame,
        search_figures.draw_importance,
        search_figures.importance_caption,
    ),
    "search_budget": Drawing(
        "What fewer trials would have found",
        search_figures.has_trials,
        search_figures.budget_frame,
        search_figures.draw_budget,
        search_figures.budget_caption,
    ),
}
