"""Final errors of every run and the mean of every cell: against the grid's axis (depth, as a rule), and against multiply-adds.

Errors are in percent, multiply-adds are those of one image. A series keeps its mark in both figures.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator
from matplotlib.transforms import Transform

from resnet_lab.analysis.tables import StudyData, cell_summary
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.papers.comparison import published_nets
from resnet_lab.papers.deviations import ledger_of
from resnet_lab.papers.facts import PublishedNet
from resnet_lab.report import numbers, style
from resnet_lab.report.figures.panels import evenly
from resnet_lab.report.layout import Layout, layout_of

METRICS = {"train_error": "Training error", "test_error": "Test error"}
WIDE = 18
"""Marks in a panel beyond which it gets the whole width of the figure."""
MANY = 1500
"""Points beyond which a cloud is written into SVG and PDF as pixels rather than as shapes."""
MOST_SERIES = 24
"""Series beyond which nobody tells the marks apart; of more, so many are drawn, evenly spread."""
MOST_LABELS = 40
PUBLISHED = "published"
"""Kind of the rows that are not ours: what the source gives for a cell, at the source's scale only."""
OUTSIDE = 8.0
"""Points by which a published number stands beside ours."""
LEFT = 6.0
"""Points by which single runs stand left of their interval where arms have a place each."""
_PUBLISHED_MARK: dict[str, Any] = {"marker": "*", "ms": 8, "mfc": "white", "mew": 1.1, "ls": "none", "zorder": 6}


def depth_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `depth_vs_error` draws: `seed` rows (one a finished run), `cell` rows (mean and interval), `diverged` rows (how many).

    At the source's scale there are `published` rows too: its test errors, or the range that others read off its figure.

    Columns: metric, series, x, label, kind, seed, value, low, high, n.
    """
    layout = layout_of(data.plan)
    return pd.concat([_metric_rows(data, layout, metric) for metric in METRICS], ignore_index=True)


def macs_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `error_vs_macs` draws: the cell and diverged rows of `depth_frame` with multiply-adds as `x`."""
    frame = depth_frame(data, verdicts)
    frame["x"] = frame["cell"].map({cell.name: float(cell.macs) for cell in data.plan.cells})
    return frame[frame["kind"] != "seed"].sort_values(["metric", "series", "x"], kind="stable", ignore_index=True)


def draw_depth(frame: pd.DataFrame, layout: Layout) -> Figure:
    """Two panels, training and test error: every run a point, every cell its mean with a t interval, a line a series."""
    with styled():
        figure, panels = _panels(layout)
        width = _panel_width(layout)
        room = 0.0 if layout.axis == "arm" else 0.55 * width / len(layout.ticks)
        for axes, metric in panels:
            _draw_panel(axes, frame[frame["metric"] == metric], layout, room=room, seeds=True)
            _scale_x(axes, layout, aside=_used(layout, room) / width)
        _finish(figure, panels, layout, legend=layout.axis != "arm", published=_has_published(frame))
        return figure


def draw_macs(frame: pd.DataFrame, layout: Layout) -> Figure:
    """Two panels, training and test error: every cell its mean with a t interval against its multiply-adds, with its axis value."""
    with styled():
        figure, panels = _panels(layout)
        width = _panel_width(layout)
        room = 0.55 * width / frame["x"].nunique()
        for axes, metric in panels:
            rows = frame[frame["metric"] == metric]
            _draw_panel(axes, rows, layout, room=room, seeds=False)
            low, high = float(frame["x"].min()), float(frame["x"].max())
            logarithmic = 0 < low < high / 8
            axes.set_xscale("log" if logarithmic else "linear")
            _limit_x(axes, low, high, logarithmic=logarithmic, aside=_used(layout, room) / width)
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if logarithmic else MaxNLocator(5))
            axes.xaxis.set_major_formatter(lambda value, _: numbers.tick(value))
            axes.minorticks_off()
            axes.set_xlabel("multiply-adds of one image")
            if layout.axis != "arm":
                _label_points(axes, rows, layout)
        _finish(figure, panels, layout, published=_has_published(frame))
        return figure


def depth_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What `depth_vs_error` shows and on how many runs."""
    layout = layout_of(data.plan)
    dots = "Dots are single runs, larger marks the mean of a cell"
    joined = " The line joins means and says nothing between them." if layout.numeric else ""
    return f"{dots}{_interval_words(frame)}{_diverged_words(frame)}{joined}{_published_words(data, frame)}{_series_words(layout)}"


def macs_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What `error_vs_macs` shows."""
    axis = layout_of(data.plan).axis
    labels = "" if axis == "arm" else f" (labeled with its {axis})"
    return (
        f"Marks are the mean of a cell{labels}{_interval_words(frame)}{_diverged_words(frame)} "
        f"Multiply-adds count convolutions and linear layers of one image in evaluation mode.{_published_words(data, frame)}"
        f"{_series_words(layout_of(data.plan))}"
    )


def has_errors(data: StudyData) -> bool:
    """Whether any run has ended."""
    return bool(data.runs["status"].isin(["done", "diverged"]).any())


def has_costs(data: StudyData) -> bool:
    """Whether cells differ in multiply-adds, and any run has ended."""
    return has_errors(data) and len({cell.macs for cell in data.plan.cells}) > 1


def _metric_rows(data: StudyData, layout: Layout, metric: str) -> pd.DataFrame:
    runs = data.runs
    points = runs.loc[runs["status"].eq("done") & runs[metric].notna(), ["cell", "seed", metric]].rename(columns={metric: "value"})
    means = cell_summary(runs, metric).rename(columns={"mean": "value", "ci_low": "low", "ci_high": "high"})
    means = means.loc[means["value"].notna(), ["cell", "value", "low", "high", "n"]]
    diverged = runs.loc[runs["status"].eq("diverged")].groupby("cell", sort=False).size().rename("n").reset_index()
    parts = [points.assign(kind="seed"), means.assign(kind="cell"), diverged.assign(kind="diverged")]
    if metric == "test_error":
        parts.append(pd.DataFrame([each for cell, net in published_nets(data.plan).items() for each in _published(cell, net)]))
    frame = pd.concat(parts, ignore_index=True)
    shown = set(_series(layout))
    frame = frame[[layout.places[cell].series in shown for cell in frame["cell"]]]
    places = frame["cell"].map(layout.places)
    return frame.assign(
        metric=metric,
        series=[place.series for place in places],
        x=[place.x for place in places],
        label=[place.label for place in places],
    ).reindex(columns=["metric", "cell", "series", "x", "label", "kind", "seed", "value", "low", "high", "n"])


def _published(cell: str, net: PublishedNet) -> list[dict[str, Any]]:
    if net.read_off is not None:
        low, high = net.read_off
        return [{"cell": cell, "kind": PUBLISHED, "value": (low + high) / 2, "low": low, "high": high}]
    return [] if net.test_error is None else [{"cell": cell, "kind": PUBLISHED, "value": net.test_error}]


def _panels(layout: Layout) -> tuple[Figure, list[tuple[Axes, str]]]:
    """The panels side by side, or one above the other where many series need the width."""
    rows, columns = (len(METRICS), 1) if _is_wide(layout) else (1, len(METRICS))
    figure, axes = style.grid(rows, columns, height=3.1)
    return figure, list(zip([one for row in axes for one in row], METRICS, strict=True))


def _draw_panel(axes: Axes, rows: pd.DataFrame, layout: Layout, *, room: float, seeds: bool) -> None:
    order, figure = _series(layout), axes.get_figure()
    assert isinstance(figure, Figure)
    many = int((rows["kind"] == "seed").sum()) > MANY
    for position, name in enumerate(order):
        look, own = style.mark(position), rows[rows["series"] == name]
        aside = style.dodge(position, len(order), room=room)
        place = style.beside(axes.transData, figure, aside)
        if seeds:
            dots = own[own["kind"] == "seed"]
            left = style.beside(axes.transData, figure, aside - (LEFT if layout.axis == "arm" else 0))
            faint: dict[str, Any] = {"alpha": 0.4, "ms": 3.2, "mew": 0, "zorder": 2, "rasterized": many}
            axes.plot(dots["x"], dots["value"], look.marker, transform=left, color=look.color, **faint)
        cells = own[own["kind"] == "cell"].sort_values("x")
        known = cells[cells["low"].notna()]
        axes.vlines(known["x"], known["low"].clip(lower=0), known["high"], transform=place, color=look.color, lw=1.3, zorder=3)
        strong: dict[str, Any] = {"ls": look.dashes if layout.numeric else "none", "ms": 5.5, "mec": "white", "mew": 0.7, "zorder": 4}
        axes.plot(cells["x"], cells["value"], transform=place, color=look.color, marker=look.marker, **strong)
        theirs = own[own["kind"] == PUBLISHED]
        outside = style.beside(axes.transData, figure, aside + (OUTSIDE if aside >= 0 else -OUTSIDE))
        axes.vlines(theirs["x"], theirs["low"], theirs["high"], transform=outside, color=look.color, lw=1.0, ls=":", zorder=5)
        axes.plot(theirs["x"], theirs["value"], transform=outside, color=look.color, mec=look.color, **_PUBLISHED_MARK)
        _draw_diverged(axes, own[own["kind"] == "diverged"], look, style.beside(axes.get_xaxis_transform(), figure, aside))
    _scale_y(axes, rows)


def _draw_diverged(axes: Axes, rows: pd.DataFrame, look: style.Mark, top: Transform) -> None:
    for x, count in zip(rows["x"].astype(float), rows["n"].astype(int), strict=True):
        axes.plot([x], [0.97], "x", transform=top, color=look.color, ms=6, mew=1.6, clip_on=False, zorder=5)
        below: dict[str, Any] = {"xytext": (0, -13), "textcoords": "offset points", "ha": "center", "fontsize": 7.5}
        axes.annotate(f"{count}", (x, 0.97), xycoords=top, color=look.color, **below)


def _scale_y(axes: Axes, rows: pd.DataFrame) -> None:
    """From zero, unless all values lie close together far from it; room for the row of crosses where runs diverged."""
    values = pd.concat([rows["value"], rows["low"], rows["high"]]).dropna()
    if values.empty:
        axes.set_ylim(0, 100)
        return
    low, high = max(0.0, float(values.min())), float(values.max())
    low = 0.0 if low < 0.6 * high else low
    margin = max(0.05 * (high - low), 0.02 * high, 1e-3)
    room = 0.18 * (high - low) if (rows["kind"] == "diverged").any() else 0.0
    axes.set_ylim(max(0.0, low - margin) if low else -margin * 0.6, high + margin + room)


def _scale_x(axes: Axes, layout: Layout, *, aside: float) -> None:
    ticks = layout.ticks
    if layout.logarithmic:
        axes.set_xscale("log")
    if len(ticks) <= 10 or not layout.numeric:
        long = max(len(label) for label in ticks.values()) * len(ticks) > 45
        shown = evenly(list(ticks), MOST_LABELS)
        axes.set_xticks(shown, [ticks[place] for place in shown], rotation=35 if long else 0, ha="right" if long else "center")
        axes.minorticks_off()
    _limit_x(axes, min(ticks), max(ticks), logarithmic=layout.logarithmic, aside=aside)
    axes.set_xlabel(layout.words)


def _limit_x(axes: Axes, low: float, high: float, *, logarithmic: bool, aside: float) -> None:
    """Limits set by hand: autoscaling does not see marks that stand beside their place, by up to `aside` of the panel's width."""
    share = 0.09 + aside / 2
    margin = share / (1 - 2 * share)
    if logarithmic:
        factor = (high / low) ** margin
        axes.set_xlim(low / factor, high * factor)
    else:
        reach = (high - low or 0.2 * abs(low) or 1.0) * margin
        axes.set_xlim(low - reach, high + reach)


def _panel_width(layout: Layout) -> float:
    """Points along the axis of one panel, roughly: the constrained layout settles it later."""
    return 64 * style.WIDTH / (1 if _is_wide(layout) else len(METRICS))


def _is_wide(layout: Layout) -> bool:
    return len(_series(layout)) * len(layout.ticks) > WIDE and layout.axis != "arm"


def _used(layout: Layout, room: float) -> float:
    """Points between the first and the last series at one place."""
    count = len(_series(layout))
    return 2 * style.dodge(count - 1, count, room=room)


def _series(layout: Layout) -> list[str]:
    """Those that are drawn: all, unless nobody could tell them apart."""
    return evenly(layout.series, MOST_SERIES)


def _series_words(layout: Layout) -> str:
    drawn, there = len(_series(layout)), len(layout.series)
    return f" Drawn are {drawn} of {there:,} series, evenly spread; runs.csv has them all." if drawn < there else ""


def _label_points(axes: Axes, rows: pd.DataFrame, layout: Layout) -> None:
    """Axis values beside the marks; where marks of several series coincide in cost, one label serves the topmost."""
    cells = rows[rows["kind"] == "cell"].sort_values("value", ascending=False)
    cells = cells.drop_duplicates(["x", "label"])
    cells = cells[cells["label"].isin(evenly(list(layout.ticks.values()), MOST_LABELS))]
    beside: dict[str, Any] = {"xytext": (-6, 4), "textcoords": "offset points", "ha": "right", "fontsize": 7.5, "color": "#555555"}
    for label, x, value in zip(cells["label"], cells["x"].astype(float), cells["value"].astype(float), strict=True):
        axes.annotate(str(label), (x, value), **beside)


def _finish(figure: Figure, panels: list[tuple[Axes, str]], layout: Layout, *, legend: bool = True, published: bool = False) -> None:
    for axes, metric in panels:
        axes.set_title(METRICS[metric])
        axes.set_ylabel("error, %")
    handles, names = [], []
    if len(series := _series(layout)) > 1 and legend:
        line = "none" if not layout.numeric else None
        handles = [style.handle(style.mark(position), line) for position in range(len(series))]
        names = series
    if published:
        handles.append(Line2D([], [], color="#555555", mec="#555555", **_PUBLISHED_MARK))
        names.append("published")
    if handles:
        style.legend_below(figure, handles, names)


def _has_published(frame: pd.DataFrame) -> bool:
    return bool((frame["kind"] == PUBLISHED).any())


def _published_words(data: StudyData, frame: pd.DataFrame) -> str:
    paper = ledger_of(data.plan).paper
    if paper is None or not _has_published(frame):
        return ""
    ranges = (
        " Dotted: a range that others read off the paper's figure."
        if (frame["low"] < frame["high"])[frame["kind"] == PUBLISHED].any()
        else ""
    )
    return f" Stars are what {paper.short} (arXiv:{paper.arxiv}) published.{ranges}"


def _interval_words(frame: pd.DataFrame) -> str:
    means = frame[frame["kind"] == "cell"]
    if means.empty:
        return "; no run has ended with a finite loss yet."
    low, high = int(means["n"].min()), int(means["n"].max())
    n = f"n = {low}" if low == high else f"n = {low} to {high}"
    if high == 1:
        return f" ({n} seed a cell: no interval can be given)."
    single = " (none where n = 1)" if low == 1 else ""
    return f" with its 95 % t interval{single}; {n} seeds a cell."


def _diverged_words(frame: pd.DataFrame) -> str:
    diverged = frame[(frame["kind"] == "diverged") & (frame["metric"] == frame["metric"].iloc[0])]
    count = int(diverged["n"].sum())
    if not count:
        return ""
    return f" Crosses at the top count runs that diverged ({numbers.plural(count, 'run')}); they are in no mean."
