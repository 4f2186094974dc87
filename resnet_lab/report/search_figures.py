"""The figures of a study's searches, each a frame and its drawing as in figures.py: history, front, what mattered, tuning-budget curves.

Errors are in percent. What a search measured itself, validation errors of its trials, is drawn in dots and thin lines; fresh test errors of cells
are filled marks with intervals.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from resnet_lab.analysis import searches
from resnet_lab.analysis.tables import StudyData, cell_summary
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.report import numbers, style
from resnet_lab.report.layout import MOST_LINES, MOST_PANELS, Layout, evenly
from resnet_lab.report.style import FAINT, INK, WIDTH, Mark
from resnet_lab.runs.plan import PlannedCell, PlannedSearch
from resnet_lab.spec.search import FINALIST, constraints
from resnet_lab.text import plural

SEARCH, CONTROL = "the search", "its random control"
SHOWN = 0.75
"""Share of a panel's trials that its axis has room for: one bad learning rate must not press all others together."""
OWN = "its trials' own errors"
COSTS = {"macs": "multiply-adds of one image", "params": "parameters"}


# History: every trial in its order, and the best so far.


def history_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `search_history` draws: a panel a search, its random control beside it.

    Kinds of rows: `trial` (its validation error), `best` (the lowest so far), `lost` (a trial that was pruned or failed). Columns: panel, role,
    search, trial, number, kind, value.
    """
    trials, control = data.trials[data.trials["trial"].notna()], searches.controls(data.plan)
    names = [search.name for search in data.plan.searches if search.name not in control.values()]
    parts = []
    for panel in evenly(names, MOST_PANELS):
        for role, search in ((SEARCH, panel), (CONTROL, control.get(panel))):
            own = trials[trials["search"] == search].assign(panel=panel, role=role)
            done = own[own["validation_error"].notna()]
            parts += [done.assign(kind="trial", value=done["validation_error"]), own.assign(kind="best", value=own["best"])]
            parts += [own[own["state"].isin(["pruned", "failed"])].assign(kind="lost", value=np.nan)]
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[frame["value"].notna() | frame["kind"].eq("lost")]
    columns = ["panel", "role", "search", "trial", "number", "kind", "value"]
    return frame.astype({"trial": int, "value": float})[columns].reset_index(drop=True)


@styled()
def draw_history(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """Dots are trials, steps the best so far; what lies above a panel's axis stands as a triangle at its upper edge, what was pruned as a cross."""
    panels, arms = list(dict.fromkeys(frame["panel"])), style.arm_colors(layout)
    later = frame[frame["kind"].eq("best") & frame["trial"].gt(1)]  # the first trial says nothing of what a search can do
    low, high = _room(frame.loc[frame["kind"] == "trial", "value"], later["value"])
    rows = frame.assign(edge=high - 0.015 * (high - low), over=frame["value"] > high, arm=frame["search"].map(_arm))
    trials, lost, best = rows[rows["kind"] == "trial"], rows[rows["kind"] == "lost"], rows[rows["kind"] == "best"]
    columns = _columns(panels, width)
    dashes = {SEARCH: "solid", CONTROL: (0, (4, 1.5))}
    plot = so.Plot(rows, x="trial", y="value", color="arm").facet("panel", order=panels, wrap=columns)
    plot = style.add(plot, so.Dots(pointsize=3, stroke=0, fillalpha=0.5), trials[~trials["over"]])
    plot = style.add(plot, so.Dot(marker="^", pointsize=4, edgewidth=0, alpha=0.6), trials[trials["over"]], y="edge")
    plot = style.add(plot, so.Dot(marker="x", pointsize=4.5, stroke=1), lost, y="edge")
    plot = style.add(plot, so.Line(linewidth=1.6, artist_kws={"drawstyle": "steps-post"}), best, linestyle="role")
    plot = plot.scale(color=so.Nominal(arms, order=list(arms)), linestyle=so.Nominal(dashes, order=list(dashes)))
    figure = style.blank(-(-len(panels) // columns) * (2.4 if len(panels) == 1 else 1.9) + 0.4, width)
    style.draw(plot.label(x="trial", y="validation error, %", title=_titled(width, columns)), figure)
    for axes, panel in zip(figure.axes, panels, strict=True):
        axes.set_ylim(low, high)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        own = trials[(trials["panel"] == panel) & ~trials["over"]]
        said = [f"{row['search']}, trial {row['trial']}: {numbers.number(row['value'])} %" for row in own.to_dict("records")]
        style.tips(axes, own["trial"], own["value"], said)
    there = frame.drop_duplicates("search")
    if len(there) > len(panels):
        entries = {
            row["search"]: Line2D([], [], color=arms[_arm(row["search"])], lw=1.6, ls=dashes[row["role"]], marker="o", ms=3.5, mec="none")
            for row in there.to_dict("records")
        }
        style.legend_below(figure, entries)
    return figure


def history_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What dots and steps are, what is not within the axes, which searches are not drawn."""
    lost = int((frame["kind"] == "lost").sum())
    crosses = f" Crosses at the top: {plural(lost, 'trial')} that {'were' if lost > 1 else 'was'} pruned or failed." if lost else ""
    control = " Dashed: the same number of random points from the same space." if (frame["role"] == CONTROL).any() else ""
    panels, there = frame["panel"].nunique(), len(data.plan.searches) - len(set(searches.controls(data.plan).values()))
    left_out = f" {panels} of {there} searches are drawn, evenly spread; trials.csv has all." if panels < there else ""
    return (
        "Every dot is a trial with its validation error, the search's own score; the steps are the lowest so far. Triangles at the top: trials with "
        f"higher errors than the axis shows.{crosses} Infeasible proposals are not trials.{control}{left_out}"
    )


def has_trials(data: StudyData) -> bool:
    """Whether any trial of a search was judged."""
    return any(trial.state == "complete" for trials in data.proposals.values() for trial in trials)


def _room(trials: "pd.Series[float]", others: Iterable[float]) -> tuple[float, float]:
    """Both ends of an axis with room for most trials and for all others; from zero on where they come near it."""
    ends = [*trials[trials <= trials.quantile(SHOWN)], *(min(max(other, 0.0), 100.0) for other in others if numbers.known(other))]
    low, high = min(ends, default=0.0), max(ends, default=100.0)
    margin = max(0.06 * (high - low), 0.02 * high, 0.01)
    return (0.0 if low < 0.6 * high else low - margin), high + margin


# Front: error against cost, the search's own and fresh.


def front_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `search_front` draws, a panel a grid point.

    Kinds of rows: `trial` and `front` (validation errors: of all trials, of those that no other beats in both), `finalist` and `baseline` (mean fresh
    test error with its 95 % t interval), `bound` (what a constraint allows). Columns: panel, kind, arm, name, cost, x, value, low, high, n.
    """
    cost = _cost(data.plan.searches)
    panel = {search.name: _panel(search) for search in data.plan.searches}
    trials = data.trials[data.trials["validation_error"].notna()]
    parts = []
    for search, own in trials.groupby("search", sort=False):
        own = own.assign(panel=panel[str(search)], name=own["number"].astype(str), x=own[cost], value=own["validation_error"])
        beaten = searches.is_dominated(own["value"].to_numpy(), own["x"].to_numpy(dtype=float))
        parts += [own.assign(kind="trial"), own[~beaten].sort_values("x").assign(kind="front")]
    finalists = {cell for search in data.plan.searches for cell in search.finalist_cells}
    means = cell_summary(data.runs, "test_error").rename(columns={"cell": "name", "mean": "value", "ci_low": "low", "ci_high": "high"})
    means = means[means["value"].notna()].assign(x=lambda rows: rows[cost])
    cells = {cell.name: cell for cell in data.plan.cells}
    means = means.assign(panel=[_panel(cells[name]) for name in means["name"]])
    parts.append(means.assign(kind=np.where(means["name"].isin(finalists), "finalist", "baseline")))
    bounds = [
        {"panel": panel[search.name], "kind": "bound", "arm": search.arm, "name": found.text, "x": found.bound}
        for search in data.plan.searches
        for found in constraints(search.spec["constraints"])[0]
        if found.cost == cost
    ]
    parts.append(pd.DataFrame(bounds).drop_duplicates(["panel", "x"]) if bounds else pd.DataFrame())
    frame: pd.DataFrame = pd.concat(parts, ignore_index=True).assign(cost=cost)
    return frame.reindex(columns=["panel", "kind", "arm", "name", "cost", "x", "value", "low", "high", "n"])


@styled()
def draw_front(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """Faint dots and thin steps are the searches' own validation errors; marks with intervals are fresh test errors of finalists and baselines."""
    panels = evenly(list(dict.fromkeys(frame["panel"])), MOST_PANELS)
    frame = frame[frame["panel"].isin(panels)]
    colors, looks = style.arm_colors(layout), style.marks(layout)
    cells = frame[frame["kind"].isin(["finalist", "baseline"])]
    low, high = _room(frame.loc[frame["kind"] == "trial", "value"], cells[["value", "low", "high"]].to_numpy().ravel())
    rows = frame[~frame["kind"].isin(["trial", "front"]) | (frame["value"] <= high)]
    rows = rows.assign(series=[layout.places[name].series if name in layout.places else "" for name in rows["name"]])
    kinds = dict(iter(rows.groupby("kind")))
    trials, cells = kinds.get("trial"), rows[rows["kind"].isin(["finalist", "baseline"])]
    used = [name for name in looks if name in set(cells["series"])]
    columns = _columns(panels, width)
    plot = so.Plot(rows, x="x", y="value", color="arm").facet("panel", order=panels, wrap=columns)
    plot = style.add(plot, so.Dots(pointsize=3, stroke=0.6, fill=False, alpha=0.55), trials)
    plot = style.add(plot, so.Line(linewidth=0.9, linestyle=":", artist_kws={"drawstyle": "steps-post"}), kinds.get("front"))
    plot = style.intervals(plot, cells, used)
    plot = style.add(plot, so.Dot(pointsize=6, edgecolor="white", edgewidth=0.7), cells, marker="series")
    places = rows["x"].astype(float)
    logarithmic = 0 < places.min() < places.max() / 8
    plot = plot.scale(x="log" if logarithmic else so.Continuous(), color=so.Nominal(colors, order=list(colors)))
    plot = plot.scale(marker=style.scales({name: looks[name] for name in used})["marker"]) if used else plot
    figure = style.blank(-(-len(panels) // columns) * (2.7 if len(panels) == 1 else 2.1) + 0.4, width)
    style.draw(plot.label(x=COSTS[frame["cost"].iloc[0]], y="error, %", title=_titled(width, columns)), figure)
    for axes, panel in zip(figure.axes, panels, strict=True):
        axes.set_ylim(low, high)
        for bound in frame.loc[frame["kind"].eq("bound") & frame["panel"].eq(panel), "x"]:
            axes.axvline(bound, color=FAINT, lw=1, ls=(0, (4, 2)))
        start, end = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if logarithmic and end > 4 * start else MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda value, _: numbers.tick(value))
        axes.minorticks_off()
        own = rows[rows["panel"].eq(panel) & rows["kind"].isin(["trial", "finalist", "baseline"])]
        names = own["name"].mask(own["kind"] == "trial", own["arm"] + ", trial " + own["name"])
        said = [
            f"{name}: {numbers.number(error)} %, {numbers.short(cost)}"
            for name, error, cost in zip(names, own["value"], own["x"], strict=True)
        ]
        style.tips(axes, own["x"], own["value"], said)
    entries: dict[str, Any] = {name: style.handle(looks[name], "none") for name in used}
    for arm in [] if trials is None else dict.fromkeys(trials["arm"]):
        entries[f"{arm}: {OWN}"] = Line2D([], [], color=colors[arm], marker="o", ms=3.5, mfc="none", ls=":", lw=0.9)
    style.legend_below(figure, entries)
    return figure


def front_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """Whose errors are whose, how many seeds, what the dashed line is."""
    cells, bounds = frame[frame["kind"].isin(["finalist", "baseline"])], frame.loc[frame["kind"] == "bound", "name"]
    fresh = (
        f"Marks are mean test errors of finalists and baselines on fresh seeds, with 95 % t intervals ({numbers.n_of(cells['n'])})"
        if len(cells)
        else "No cell has a fresh test error yet"
    )
    allowed = f" Dashed: {', '.join(dict.fromkeys(bounds))}." if len(bounds) else ""
    panels = frame["panel"].nunique()
    left_out = f" {MOST_PANELS} of {panels} grid points are drawn." if panels > MOST_PANELS else ""
    return (
        f"{fresh}. Faint dots are trials with the validation error that the search itself went by, dotted steps those that no other trial beats in both "
        f"error and cost. They are not to be compared with fresh errors: of other images, often of a shorter recipe, and the best were chosen by them. The "
        f"worst trials are above the axis.{allowed}{left_out}"
    )


def has_front(data: StudyData) -> bool:
    """Whether trials that were judged differ in cost."""
    done = [trial for trials in data.proposals.values() for trial in trials if trial.state == "complete"]
    return bool(done) and len({getattr(trial, _cost(data.plan.searches)) for trial in done}) > 1


def _cost(planned: Iterable[PlannedSearch]) -> str:
    """What is drawn against the error: the second objective, else what a constraint bounds, else multiply-adds."""
    second = [name for search in planned for name in np.atleast_1d(search.spec["objective"])]
    bounded = [found.cost for search in planned for found in constraints(search.spec["constraints"])[0]]
    return next((name for name in (*second, *bounded) if name in COSTS), "macs")


def _panel(of: PlannedSearch | PlannedCell) -> str:
    """The grid point, in words; empty where there is no grid."""
    return ", ".join(f"{name} {value}" for name, value in of.axes.items() if name != FINALIST)


# Importance: which choices separate the best trials from the rest.


def importance_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `search_importance` draws: search, parameter, label (as read), share, n (trials it was worked out from), the largest share first."""
    n = searches.counts(data).set_index("search")["complete"]
    rows = [
        {"search": search.name, "parameter": name, "label": searches.parameter_text(name), "share": share, "n": int(n[search.name])}
        for search in data.plan.searches
        for name, share in search.importance.items()
    ]
    frame = pd.DataFrame(rows, columns=["search", "parameter", "label", "share", "n"])
    mean = frame.groupby("parameter")["share"].transform("mean")
    return frame.assign(mean=mean).sort_values("mean", ascending=False, kind="stable", ignore_index=True).drop(columns="mean")


@styled()
def draw_importance(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """One panel per search, one bar per parameter."""
    panels = evenly(list(dict.fromkeys(frame["search"])), MOST_PANELS)
    frame = frame[frame["search"].isin(panels)]
    titles = {name: f"{name}, n = {rows['n'].iloc[0]} trials" for name, rows in frame.groupby("search")}
    arms = style.arm_colors(layout)
    frame = frame.assign(
        arm=frame["search"].map(_arm),
        title=frame["search"].map(titles),
        percent=100 * frame["share"],
        said=[f"{100 * x:.0f} %" for x in frame["share"]],
    )
    labels, columns = list(dict.fromkeys(frame["label"])), _columns(panels, width)
    plot = so.Plot(frame, x="percent", y="label").facet("title", order=[titles[name] for name in panels], wrap=columns)
    plot = plot.add(so.Bar(edgewidth=0, alpha=0.85, width=0.62), orient="y", color="arm", legend=False)
    plot = plot.add(so.Text(color=INK, fontsize=7, halign="left", offset=4), text="said")
    plot = plot.scale(y=so.Nominal(order=labels), color=so.Nominal(arms, order=list(arms)))
    figure = style.blank(-(-len(panels) // columns) * (0.2 * len(labels) + 0.5) + 0.3, width)
    style.draw(plot.label(x="share, %", y="", title=_titled(width, columns)), figure)
    for axes in figure.axes:
        axes.set_xlim(0, 130)
        axes.set_xticks(range(0, 101, 25))
        axes.set_yticks(range(len(labels)), [style.wrapped(label, 0.25 * width if width > WIDTH / 2 else 0.4 * width) for label in labels])
        axes.grid(visible=False, axis="y")
    return figure


def importance_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What the shares are and are not."""
    return (
        "PED-ANOVA (Watanabe et al. 2023): by which parameters the best tenth of a search's trials differ from all of its trials; shares add up to 100 %. "
        "They are about this space and these trials: a parameter whose good and bad values were not both tried has none, and parameters that matter only "
        "together share less."
    )


def has_importance(data: StudyData) -> bool:
    """Whether it was worked out for any search."""
    return any(search.importance for search in data.plan.searches)


# Tuning-budget curves: what fewer trials would have been expected to find.


def budget_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `search_budget` draws: the expected best validation error against number of trials, a curve a search (`searches.budget_curves`)."""
    frame = searches.budget_curves(data)
    return frame[frame["search"].isin(evenly(list(dict.fromkeys(frame["search"])), MOST_LINES))].reset_index(drop=True)


@styled()
def draw_budget(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """One line per search against a logarithmic axis of trials."""
    names = list(dict.fromkeys(frame["search"]))
    colors = style.arm_colors(layout)
    looks = {name: Mark(colors[_arm(name)], "", style.mark(position).dashes) for position, name in enumerate(names)}
    plot = so.Plot(frame, x="trials", y="value", color="search", linestyle="search").add(so.Line(linewidth=1.5), legend=False)
    scales = {name: scale for name, scale in style.scales(looks).items() if name != "marker"}
    figure = style.blank(2.3, width)
    style.draw(plot.scale(x="log", **scales).label(x="number of trials", y="expected best\nvalidation error, %"), figure)
    axes = figure.axes[0]
    axes.set_ylim(0, 1.05 * float(frame.loc[frame["trials"] > 1, "value"].max() if (frame["trials"] > 1).any() else frame["value"].max()))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    last: Any = frame.sort_values("trials").groupby("search").tail(1).set_index("search")
    ends = {name: (float(last.at[name, "trials"]), float(last.at[name, "value"]), look.color) for name, look in looks.items()}
    if last["trials"].nunique() > 1 or not style.label_ends(axes, ends):
        style.legend_below(figure, {name: Line2D([], [], color=look.color, ls=look.dashes, lw=1.5) for name, look in looks.items()})
    return figure


def budget_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """The formula, and for which searches it foretells anything."""
    control = [search.name for search in data.plan.searches if search.spec["sampler"] == "random"]
    independent = f"that of {', '.join(control)}" if control else "none of these"
    lost = data.trials["state"].isin(["pruned", "failed"]).any()
    worst = " Trials that were pruned or failed count as their search's worst." if lost else ""
    return (
        "Lowest validation error to expect of so many trials (Dodge et al. 2019): the exact mean over all subsets of a search's trials, drawn without "
        f"replacement ({numbers.n_of(frame.groupby('search')['n'].max())} trials). It foretells a search of that length where trials do not depend on "
        f"each other, in random search: {independent}. A sampler that learns tries better points later, so for the others it says how hard good points "
        f"were to come by among those that were tried, and not what so many of its trials find.{worst}"
    )


def _arm(search: str) -> str:
    """The arm that a search is of: searches at the points of a grid are called ARM/POINT."""
    return search.partition("/")[0]


def _columns(panels: Sequence[str], width: float) -> int:
    return min(len(panels), 2 if width > WIDTH / 2 else 1)


def _titled(width: float, columns: int) -> Callable[[str], str]:
    """Titles of panels as wide as those are."""
    return lambda name: style.wrapped(name, width / columns - 0.5)
