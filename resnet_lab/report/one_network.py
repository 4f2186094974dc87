"""What is shown of one network: the curves of its training, as a figure, as CSV and in the terminal, and its confusion matrix.

Losses in nats, errors in percent. Each figure is a frame and a function that draws it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from resnet_lab.logs import COLUMNS, history
from resnet_lab.output import save_figure, styled, write_csv
from resnet_lab.runs.files import writing
from resnet_lab.runs.record import EpochRecord

MOST_NUMBERS, MOST_NAMES = 12, 36
"""Classes up to which a confusion matrix shows its counts as numbers too, and names its classes."""
TEST = "test (selects nothing)"
"""What a curve of the test images is called: a network, an epoch or a rate is chosen by validation images."""
WORDS = {"train": "training", "test": TEST, "loss": "loss (nats)", "error": "error (%)"}
TERMINAL_ROWS = 16


@styled()
def draw_curves(frame: pd.DataFrame, title: str) -> Figure:
    """Loss and error over the epochs, training, validation and test where they were measured, from `history`."""
    import seaborn.objects as so  # a second that only figures need

    from resnet_lab.report.style import blank, draw, handle, legend_below, mark, scales

    rows = frame.melt("epoch", [column for column in COLUMNS.values() if column.endswith(("_loss", "_error"))])
    rows["split"] = rows["variable"].str.replace("_.*", "", regex=True).replace(WORDS)
    rows["kind"] = rows["variable"].str.replace(".*_", "", regex=True).replace(WORDS)
    rows["value"] = pd.to_numeric(rows["value"], errors="coerce")
    rows = rows.dropna(subset="value")
    looks = {name: mark(position) for position, name in enumerate(("training", "validation", TEST)) if name in set(rows["split"])}
    plot = so.Plot(rows, x="epoch", y="value", color="split", linestyle="split", marker="split")
    plot = plot.facet("kind", order=["loss (nats)", "error (%)"]).share(y=False).scale(**scales(looks))
    plot = plot.add(so.Line(pointsize=3.5 if len(frame) <= 40 else 0, edgewidth=0), legend=False) if looks else plot
    figure = blank(3.25)
    draw(plot.label(y="", title="{}".format), figure)
    for axes in figure.axes:
        axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(frame) == 1:  # a point has no width to put whole epochs in
            axes.set_xlim(0.5, 1.5)
    if looks:
        legend_below(figure, {name: handle(look) for name, look in looks.items()})
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure


@styled()
def draw_confusion(counts: NDArray[np.int64], class_names: Sequence[str], title: str) -> Figure:
    """Rows: what the images are; columns: what they were taken for. Shades are shares of a row."""
    import seaborn

    from resnet_lab.report.style import WIDTH

    classes = len(class_names)
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    side = min(WIDTH, 3.0 + 0.36 * classes)
    names = class_names if classes <= MOST_NAMES else False
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.subplots()
    seaborn.heatmap(
        shares, vmin=0, vmax=1, cmap="Blues", square=True, ax=axes, xticklabels=names, yticklabels=names,
        annot=counts if classes <= MOST_NUMBERS else None, fmt="d", annot_kws={"fontsize": 8},
        cbar_kws={"label": "share of the class", "fraction": 0.046},
    )  # fmt: skip
    axes.set(title=title, xlabel="taken for", ylabel="is")
    axes.tick_params(axis="x", rotation=90 if max(map(len, class_names)) > 3 else 0)
    axes.tick_params(axis="y", rotation=0)
    return figure


def terminal_curves(frame: pd.DataFrame, width: int = 78) -> str:
    """The losses over the epochs as text, `width` characters wide; empty before there is an epoch."""
    import plotext

    if frame.empty:
        return ""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, TERMINAL_ROWS)
    epochs = frame["epoch"].tolist()
    lines = (
        ("training loss", "train_loss", "braille"),
        ("validation loss", "validation_loss", "dot"),
        ("test loss (selects nothing)", "test_loss", "x"),
    )
    for label, column, marker in lines:
        values = pd.to_numeric(frame[column], errors="coerce")
        kept = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if np.isfinite(value)]
        if kept:
            plotext.plot(*map(list, zip(*kept, strict=True)), label=label, marker=marker)
    plotext.xlabel("epoch")
    plotext.xticks(sorted({round(value) for value in np.linspace(epochs[0], epochs[-1], min(len(epochs), 8))}))
    drawn: str = plotext.uncolorize(plotext.build())
    plotext.clear_figure()
    return drawn


def write_history(folder: Path, epochs: Sequence[EpochRecord], title: str) -> None:
    """Write history.csv and curves.svg, each whole or not at all. Raises StoreError where the folder cannot be written to."""
    frame = history(epochs)
    with writing(folder, "choose another folder with --reports"):
        write_csv(folder / "history.csv", frame)
        save_figure(draw_curves(frame, title), folder / "curves", ("svg",))
