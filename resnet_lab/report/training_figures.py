"""Figures of training: learning curves, and gradient norms by block at its start and its end.

The training error of an epoch is the running mean over that epoch's own batches, augmented and in training mode; the test error stands beside
it only where the study recorded it after every epoch, as in Fig. 6 of He et al. 2015. A gradient norm is the Euclidean norm of the loss gradient
with respect to the parameters of one block, on one training batch. A line has its series' color; where depths (or whatever the grid's axis is) are
lines of one series, they are its shades, the deeper the darker.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.report import numbers, style
from resnet_lab.report.layout import MOST_LINES, Layout, choose, evenly, layout_of, placed
from resnet_lab.report.style import FAINT, MOST_MARKS, WIDTH
from resnet_lab.text import plural

MOST_SEEDS = 200
"""Curves beyond which single runs are no longer drawn: the band from the lowest to the highest takes their place."""
AUGMENTATIONS = ("pad_crop", "flip", "random_resized_crop", "cutout")
QUANTITIES = ("train_error", "test_error")
DASHED, SOLID = (0, (4, 2)), "solid"
WHEN = {"start": "at initialization", "end": "after the last epoch"}


def curves_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `learning_curves` draws: means of cells, single runs where they are few, and where a run diverged.

    Kinds of rows: `mean` (with the lowest and highest of a cell at an epoch), `seed`, `diverged` (a run's last epoch), `milestone` (the iteration
    of a drop of the learning rate). The mean ends where the first run of its cell ends: it is never a mean over those that survived. Columns:
    quantity, cell, series, label, x, kind, seed, epoch, iteration, value, low, high, n.
    """
    layout = layout_of(data.plan)
    drawn = choose(layout, "epochs.csv").cells
    parts = [part for quantity in QUANTITIES for part in _curves(data, quantity, drawn)]
    milestones = [(cell.name, step) for cell in data.plan.cells if cell.name in drawn for step in cell.spec["training"]["milestones"]]
    parts.append(pd.DataFrame(milestones, columns=["cell", "iteration"]).astype({"iteration": float}).assign(kind="milestone"))
    columns = ["quantity", "cell", "series", "label", "x", "kind", "seed", "epoch", "iteration", "value", "low", "high", "n"]
    return placed(pd.concat(parts, ignore_index=True), layout).reindex(columns=columns)


@styled()
def draw_curves(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """By iteration: a thick line the mean of a cell, thin lines its runs; where the test error is there it is solid, and the training error dashed.

    One panel per series. Where arms are all there is, a few share one panel; many have one each, with the means of the others faintly behind.
    """
    frame, panels, colors = panels_of(frame, layout)
    both = frame["quantity"].nunique() > 1
    rows = dict(iter(frame.assign(run=frame["cell"] + frame["seed"].astype(str)).groupby("kind")))
    means, seeds = rows["mean"], rows.get("seed")
    marker = {"marker": "o", "pointsize": 4} if means["epoch"].nunique() == 1 else {}
    columns = columns_for(len(panels), width)
    plot = so.Plot(frame, x="iteration", y="value", color="color").facet("panel", order=panels, wrap=columns)
    if seeds is None:
        plot = style.add(plot, so.Band(alpha=0.15), means[means["n"] > 1], ymin="low", ymax="high", group="quantity")
    else:  # where there are two curves a run, thin lines for both would hide the means
        thin = seeds[seeds["quantity"] == "test_error"] if both else seeds
        plot = style.add(plot, so.Lines(linewidth=0.5, alpha=0.45), thin, group="run")
    plot = style.add(plot, so.Line(linewidth=1.3 if both else 1.7, **marker), means, linestyle="quantity")
    plot = style.add(plot, so.Dot(marker="x", pointsize=5, stroke=1.4), rows.get("diverged"))
    dashes = {"train_error": DASHED if both else SOLID, "test_error": SOLID}
    plot = plot.scale(color=as_they_are(colors), linestyle=so.Nominal(dashes, order=list(dashes)))
    figure = style.blank(-(-len(panels) // columns) * (1.3 if columns > 2 or len(panels) > 4 else 2.1) + 0.4, width)
    style.draw(plot.label(x="iteration", y="error, %", title=lambda name: style.wrapped(name, width / columns - 0.4)), figure)
    for axes, panel in zip(figure.axes, panels, strict=True):
        for step in rows["milestone"]["iteration"].unique() if "milestone" in rows else ():
            axes.axvline(step, color=FAINT, lw=0.8, ls=":")
        if len(panels) > MOST_MARKS and layout.axis == "arm":
            _behind(axes, means[means["panel"] != panel], "iteration", "cell", "quantity")
        _tell_curves(axes, means[means["panel"] == panel])
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = {"training": Line2D([], [], color=FAINT, ls=DASHED), "test": Line2D([], [], color=FAINT)} if both else {}
    name_lines(figure, panels, colors, layout, handles, means if columns < 3 else means.head(0))
    return figure


def curves_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What the curves are, and of how many runs."""
    means = frame[frame["kind"] == "mean"]
    n = numbers.n_of(means.groupby("cell")["n"].max())
    thin = "thin lines single runs" if (frame["kind"] == "seed").any() else "bands reach from the lowest to the highest run"
    mixed = any(cell.spec["training"].get("mixup") for cell in data.plan.cells)
    augmented = mixed or any(cell.spec["data"].get(how) for cell in data.plan.cells for how in AUGMENTATIONS)
    training = f"a running mean over the epoch's own batches, {'augmented and ' if augmented else ''}in training mode"
    training += ", with mixup against the label of larger weight" if mixed else ""
    both = frame["quantity"].nunique() > 1
    what = f"Solid: test error after each epoch. Dashed: training error, {training}" if both else f"Training error: {training}"
    choice = choose(layout_of(data.plan), "epochs.csv")
    diverged = int((data.runs["status"].eq("diverged") & data.runs["cell"].isin(choice.cells)).sum())
    ended = f" {plural(diverged, 'run')} diverged: the curve ends there in a cross, and so does the mean." if diverged else ""
    stops = any(cell.spec["training"].get("patience") for cell in data.plan.cells)
    early = " Runs stop early by their validation error: a mean ends with the first run of its cell." if stops else ""
    return f"{what}. Thick lines are means over seeds ({n} per cell), {thin}.{ended}{early}{choice.words}"


def has_epochs(data: StudyData) -> bool:
    """Whether any epoch was recorded."""
    return any(record.epochs for record in data.records.values())


def _curves(data: StudyData, quantity: str, drawn: Collection[str]) -> list[pd.DataFrame]:
    known = data.epochs[quantity].notna() & data.epochs["cell"].isin(drawn)
    epochs = data.epochs.loc[known, ["cell", "seed", "epoch", "iteration", quantity]].rename(columns={quantity: "value"})
    if epochs.empty:
        return []
    means = (
        epochs.groupby(["cell", "epoch", "iteration"], sort=False)["value"]
        .agg(value="mean", low="min", high="max", n="count")
        .reset_index()
    )
    runs = epochs.groupby("cell", sort=False)["seed"].nunique()
    parts = [means[means["n"] == means["cell"].map(runs)].assign(kind="mean")]
    if runs.sum() <= MOST_SEEDS and runs.max() > 1:
        parts.append(epochs.assign(kind="seed"))
    diverged = data.runs.loc[data.runs["status"].eq("diverged"), ["cell", "seed"]]
    parts.append(epochs.groupby(["cell", "seed"], sort=False).tail(1).merge(diverged, on=["cell", "seed"]).assign(kind="diverged"))
    return [part.assign(quantity=quantity) for part in parts]


def gradients_frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `gradient_norms` draws: the geometric mean over seeds of a cell's block, with the lowest and highest.

    Norms that are zero or no number have no place on a logarithmic axis and are left out, as are diverged runs at the end of training.
    Columns: when, series, label, x, block, position, value, low, high, n.
    """
    layout = layout_of(data.plan)
    table = data.gradient_ends
    table = table[table["cell"].isin(choose(layout, "gradients.csv").cells) & np.isfinite(table["norm"]) & (table["norm"] > 0)]
    diverged = data.runs.loc[data.runs["status"].eq("diverged"), ["cell", "seed"]].assign(diverged=True)
    table = table.assign(when=np.where(table["epoch"] == 0, "start", "end"))
    table = table.merge(diverged, on=["cell", "seed"], how="left")
    table = table[~(table["diverged"].eq(True) & table["when"].eq("end"))]
    means = geometric_means(table, ["when", "cell", "block", "position"], "norm")
    columns = ["when", "cell", "series", "label", "x", "block", "position", "value", "low", "high", "n"]
    return placed(means, layout).reindex(columns=columns)


@styled()
def draw_gradients(frame: pd.DataFrame, layout: Layout, width: float = WIDTH) -> Figure:
    """The start on the left and the end on the right, one row of panels per series; many arms have a panel each. One logarithmic scale for all."""
    frame, panels, colors = panels_of(frame, layout)
    facets = layout.axis == "arm" and len(panels) > 1
    columns = columns_for(len(panels), width) if facets else 2
    if facets:
        titles = {(panel, when): panel for panel in panels for when in WHEN}
    else:
        titles = {(panel, when): f"{panel}, {words}" if panel else words.capitalize() for panel in panels for when, words in WHEN.items()}
    frame = frame.assign(title=[titles[key] for key in zip(frame["panel"], frame["when"], strict=True)])
    means, ends = style.with_ends(frame, "value", "low", "high")
    shown = list(dict.fromkeys(titles.values()))
    plot = so.Plot(pd.concat([means, ends]), x="position", y="value", color="color").facet("title", order=shown, wrap=columns)
    plot = style.add(plot, so.Band(alpha=0.18), ends, group="when")
    plot = style.add(plot, so.Line(linewidth=1.3), means, linestyle="when")
    plot = style.add(plot, so.Dot(marker="s", pointsize=4, edgecolor="white", edgewidth=0.5), means[means["block"] == "head"], group="when")
    dashes = {"start": DASHED if facets else SOLID, "end": SOLID}
    plot = plot.scale(y="log", color=as_they_are(colors), linestyle=so.Nominal(dashes, order=list(dashes)))
    figure = style.blank(-(-len(shown) // columns) * (1.3 if facets else 1.95 if len(panels) < 4 else 1.5) + 0.4, width)
    style.draw(plot.label(x="block", y="gradient norm", title=lambda name: style.wrapped(name, width / columns - 0.4)), figure)
    axes = figure.axes[0]
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(lambda place, _: f"{place:.0f}" if place else "stem")
    style.powers(axes.yaxis, frame["low"].min(), frame["high"].max(), between=len(frame) > 0)
    axes.minorticks_off()
    for axes, title in zip(figure.axes, shown, strict=True):
        own = frame[frame["title"] == title]
        said = [f"{row['cell']}, {row['block']}, {WHEN[row['when']]}: {row['value']:.3g}" for row in own.to_dict("records")]
        style.tips(axes, own["position"], own["value"], said)
    handles = {"head": Line2D([], [], color=FAINT, marker="s", ms=4, ls="none")}
    if facets:
        handles |= {WHEN["start"]: Line2D([], [], color=FAINT, ls=DASHED), WHEN["end"]: Line2D([], [], color=FAINT)}
    name_lines(figure, panels, colors, layout, handles)
    return figure


def gradients_caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What is measured, on how many runs, and what the figure cannot show."""
    norms = data.gradient_ends["norm"]
    left_out = int((~(np.isfinite(norms) & (norms > 0))).sum())
    zeros = f" Not drawn, because zero or not finite: {plural(left_out, 'norm')}." if left_out else ""
    diverged = " Diverged runs are not in the right panels." if data.runs["status"].eq("diverged").any() else ""
    return (
        "Euclidean norm of the gradient of the loss with respect to all parameters of one block, on one training batch, from the stem to the head "
        "(squares): geometric mean "
        f"over seeds ({numbers.n_of(frame['n'])}), shaded from the lowest to the highest seed. Norms depend on a block's number of parameters."
        f"{zeros}{diverged}{choose(layout_of(data.plan), 'gradients.csv').words}"
    )


def geometric_means(rows: pd.DataFrame, by: list[str], quantity: str) -> pd.DataFrame:
    """One row a group: value (the geometric mean of a positive quantity), low and high (its least and largest), n."""
    logs = rows.assign(log=np.log(rows[quantity].astype(float))).groupby(by, sort=False)["log"]
    means: pd.DataFrame = logs.agg(value="mean", low="min", high="max", n="count").reset_index()
    means[["value", "low", "high"]] = np.exp(means[["value", "low", "high"]])
    return means


def panels_of(frame: pd.DataFrame, layout: Layout) -> tuple[pd.DataFrame, list[str], dict[str, dict[str, str]]]:
    """The frame with columns `panel`, `line` and `color`, the panels that have rows, and the color of each line of each panel."""
    looks, there = style.marks(layout), set(frame["series"])
    series = [name for name in looks if name in there]
    if layout.axis == "arm":
        many = len(series) > MOST_MARKS
        colors = {name: {name: looks[name].color} for name in series} if many else {"": {name: looks[name].color for name in series}}
        frame = frame.assign(panel=frame["series"] if many else "", line=frame["series"])
    else:
        lines = evenly(list(layout.ticks.values()), MOST_LINES)
        colors = {name: dict(zip(lines, style.shades(looks[name].color, len(lines)), strict=True)) for name in series}
        frame = frame.assign(panel=frame["series"], line=frame["label"])
    return frame.assign(color=[colors[panel][line] for panel, line in zip(frame["panel"], frame["line"], strict=True)]), [*colors], colors


def as_they_are(colors: Mapping[str, Mapping[str, str]]) -> so.Nominal:
    """Seaborn's scale for a column that holds the colors themselves."""
    used = list(dict.fromkeys(color for shades in colors.values() for color in shades.values()))
    return so.Nominal(used, order=used)


def columns_for(panels: int, width: float) -> int:
    """How many panels stand side by side."""
    if width <= WIDTH / 2:
        return 1 if panels <= 4 else 2
    return min(panels, 2 if panels <= 4 else 3 if panels <= 9 else 4)


def name_lines(
    figure: Figure, panels: Sequence[str], colors: Mapping[str, Mapping[str, str]], layout: Layout, handles: dict[str, Any],
    means: pd.DataFrame | None = None,
) -> None:  # fmt: skip
    """Say what lines are: at their ends where all panels have room for that, else in a legend, where a line has the colors of all panels."""
    lines = list(next(iter(colors.values())))
    by_panel = layout.axis == "arm" and len(panels) > 1
    named = means is not None and all(_at_ends(*each, means, layout) for each in zip(figure.axes, colors.items(), strict=True))
    if not by_panel and len(lines) > 1 and not named:
        for line in lines:
            handles[line] = tuple(Line2D([], [], color=shades[line], lw=1.8) for shades in [*colors.values()][:3])
    if handles:
        titled = layout.title and any(line in handles for line in lines) and len(handles) == len(lines)
        style.legend_below(figure, handles, title=layout.title if titled else None)


def _at_ends(axes: Axes, panel: tuple[str, Mapping[str, str]], means: pd.DataFrame, layout: Layout) -> bool:
    name, shades = panel
    own = means[(means["panel"] == name) & (means["quantity"] == means["quantity"].iloc[-1])] if len(means) else means
    last: Any = own.sort_values("iteration").groupby("line", sort=False).tail(1).set_index("line")
    if len(last) < 2 or last["iteration"].nunique() > 1:
        return False
    words = {
        line: line if layout.axis == "arm" else f"{line} layers" if layout.axis == "layers" else f"{layout.axis} {line}" for line in shades
    }
    ends = {
        words[line]: (last.at[line, "iteration"], last.at[line, "value"], color) for line, color in shades.items() if line in last.index
    }
    return style.label_ends(axes, ends)


def _behind(axes: Axes, rows: pd.DataFrame, x: str, *groups: str) -> None:
    """The lines of other panels, faintly, for comparison."""
    for _, line in rows.groupby([*groups], sort=False):
        axes.plot(line[x], line["value"], color="#d4d4d4", lw=0.6, zorder=0.5)


def _tell_curves(axes: Axes, means: pd.DataFrame) -> None:
    kept = means[means["epoch"].isin(evenly(sorted(means["epoch"].unique()), 20))]
    said = [
        f"{row['cell']}, epoch {row['epoch']:.0f}, {row['quantity'].replace('_', ' ').replace('train ', 'training ')}: {numbers.number(row['value'])} %"
        for row in kept.to_dict("records")
    ]
    style.tips(axes, kept["iteration"], kept["value"], said)
