"""Learning curves: the error of every epoch, a panel a series, colored by depth (or whatever the grid's axis is).

The training error of an epoch is the running mean over that epoch's own batches, augmented and in training mode, in percent; the test error
stands beside it only where the study recorded it after every epoch, as in Fig. 6 of He et al. 2015.
"""

import math
from collections.abc import Collection, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_lab.analysis.tables import StudyData
from resnet_lab.analysis.verdicts import Verdict
from resnet_lab.output import styled
from resnet_lab.report import numbers, style
from resnet_lab.report.figures.panels import choose, legend, split
from resnet_lab.report.layout import Layout, layout_of

QUANTITIES = ("train_error", "test_error")
WHERE = "epochs.csv"
MOST_SEEDS = 200
"""Curves beyond which single runs are no longer drawn: the band from the lowest to the highest takes their place."""


def frame(data: StudyData, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What `learning_curves` draws: means of cells, single runs where they are few, and where a run diverged.

    Kinds of rows: `mean` (with the lowest and highest of a cell at an epoch), `seed`, `diverged` (a run's last epoch). The mean ends where
    the first run of its cell ends: it is never a mean over those that survived. Columns: quantity, cell, series, label, x, kind, seed,
    epoch, value, low, high, n.
    """
    layout = layout_of(data.plan)
    drawn = choose(layout, WHERE).cells
    parts = [part for quantity in QUANTITIES for part in _quantity_rows(data, quantity, drawn)]
    whole = pd.concat(parts, ignore_index=True)
    places = {name: (place.series, place.label, place.x) for name, place in layout.places.items()}
    for position, column in enumerate(("series", "label", "x")):
        whole[column] = whole["cell"].map({name: place[position] for name, place in places.items()})
    return whole.reindex(columns=["quantity", "cell", "series", "label", "x", "kind", "seed", "epoch", "value", "low", "high", "n"])


def draw(frame: pd.DataFrame, layout: Layout) -> Figure:
    """A panel a series, a thick line the mean of a cell, thin lines its runs; training error dashed where the test error is there."""
    frame, panels = split(frame, layout)
    count = len(panels.names)
    columns = min(count, 2 if count <= 4 else 3)
    with styled():
        rows = math.ceil(count / columns)
        figure, axes = style.grid(rows, columns, height=2.9 if columns < 3 else 2.3, sharex=True, sharey=True)
        flat = [one for row in axes for one in row]
        both = frame["quantity"].nunique() > 1
        for one, panel in zip(flat, panels.names, strict=False):
            _draw_panel(one, frame[frame["panel"] == panel], panels.colors, both=both)
            one.set_title(panel)
        for position, one in enumerate(flat):
            one.set_visible(position < count)
            if position % columns == 0:
                one.set_ylabel("error, %")
            if position + columns >= count:
                one.set_xlabel("epoch")
                one.tick_params(labelbottom=True)
        flat[0].set_ylim(bottom=0)
        flat[0].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        legend(figure, panels)
        return figure


def caption(data: StudyData, frame: pd.DataFrame) -> str:
    """What the curves are, and of how many runs."""
    means = frame[frame["kind"] == "mean"]
    runs = means.groupby("cell")["n"].max().astype(int)
    n = f"n = {runs.min()}" if runs.min() == runs.max() else f"n = {runs.min()} to {runs.max()}"
    thin = "thin lines single runs" if (frame["kind"] == "seed").any() else "bands reach from the lowest to the highest run"
    both = frame["quantity"].nunique() > 1
    augmented = any(cell.spec["data"]["pad_crop"] or cell.spec["data"]["flip"] for cell in data.plan.cells)
    training = f"a running mean over the epoch's own batches, {'augmented and ' if augmented else ''}in training mode"
    what = f"Solid: test error after each epoch. Dashed: training error, {training}" if both else f"Training error: {training}"
    choice = choose(layout_of(data.plan), WHERE)
    diverged = int((data.runs["status"].eq("diverged") & data.runs["cell"].isin(choice.cells)).sum())
    ended = f" {numbers.plural(diverged, 'run')} diverged: the curve ends there in a cross, and so does the mean." if diverged else ""
    return f"{what}. Thick lines are means over seeds ({n} a cell), {thin}.{ended}{choice.words}"


def applies(data: StudyData) -> bool:
    """Whether any epoch was recorded."""
    return any(record.epochs for record in data.records.values())


def _quantity_rows(data: StudyData, quantity: str, drawn: Collection[str]) -> list[pd.DataFrame]:
    epochs = data.epochs.loc[data.epochs[quantity].notna() & data.epochs["cell"].isin(drawn), ["cell", "seed", "epoch", quantity]].rename(
        columns={quantity: "value"}
    )
    if epochs.empty:
        return []
    grouped = epochs.groupby(["cell", "epoch"], sort=False)["value"]
    means = grouped.agg(value="mean", low="min", high="max", n="count").reset_index()
    runs = epochs.groupby("cell", sort=False)["seed"].nunique()
    means = means[means["n"] == means["cell"].map(runs)]
    parts = [means.assign(kind="mean")]
    if runs.sum() <= MOST_SEEDS and runs.max() > 1:
        parts.append(epochs.assign(kind="seed"))
    status = data.runs.set_index(["cell", "seed"])["status"]
    last = epochs.groupby(["cell", "seed"], sort=False).tail(1).set_index(["cell", "seed"])
    stopped = last[status.reindex(last.index).eq("diverged").to_numpy()].reset_index()
    parts.append(stopped.assign(kind="diverged"))
    return [part.assign(quantity=quantity) for part in parts]


def _draw_panel(axes: Axes, rows: pd.DataFrame, colors: dict[str, object], *, both: bool) -> None:
    for (quantity, line, kind), own in rows.groupby(["quantity", "line", "kind"], sort=False):
        color = colors[str(line)]
        dashes = (0, (4, 2)) if both and quantity == "train_error" else "solid"
        if kind == "mean":
            if not (rows["kind"] == "seed").any() and own["n"].max() > 1:
                axes.fill_between(own["epoch"], own["low"], own["high"], color=color, alpha=0.15, lw=0)
            axes.plot(own["epoch"], own["value"], color=color, ls=dashes, lw=1.3 if dashes != "solid" else 2.1, zorder=4)
            if len(own) == 1:
                axes.plot(own["epoch"], own["value"], "o", color=color, ms=4, zorder=4)
        elif kind == "diverged":
            axes.plot(own["epoch"], own["value"], "x", color=color, ms=6, mew=1.6, zorder=5)
        elif dashes == "solid":  # where there are two curves a run, thin lines for both would hide the means
            for _, run in own.groupby("seed", sort=False):
                axes.plot(run["epoch"], run["value"], color=color, ls=dashes, lw=0.6, alpha=0.45, zorder=2)
