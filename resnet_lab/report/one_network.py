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

from resnet_lab.output import save_figure, styled, write_csv
from resnet_lab.report.style import WIDTH, grid, mark
from resnet_lab.runs.files import StoreError
from resnet_lab.runs.record import EpochRecord

COLUMNS = {
    "epoch": "epoch",
    "iteration": "iteration",
    "lr": "lr",
    "loss": "train_loss",
    "validation_loss": "validation_loss",
    "train_error": "train_error",
    "validation_error": "validation_error",
    "test_error": "test_error",
    "seconds": "seconds",
    "images_per_second": "images_per_second",
}
"""EpochRecord's field -> column of history.csv."""
MOST_NUMBERS = 12
"""Classes up to which a confusion matrix shows its counts as numbers too."""
TERMINAL_ROWS = 16


def history(epochs: Sequence[EpochRecord]) -> pd.DataFrame:
    """One row an epoch. Training loss and error are running means over the epoch, augmented; validation is measured at its end."""
    return pd.DataFrame(
        [{column: getattr(epoch, field) for field, column in COLUMNS.items()} for epoch in epochs], columns=[*COLUMNS.values()]
    )


def draw_curves(frame: pd.DataFrame, title: str) -> Figure:
    """Loss and error over the epochs, training and validation, from `history`."""
    with styled():
        figure, axes = grid(1, 2, height=2.9)
        for axis, kind, unit in ((axes[0][0], "loss", "nats"), (axes[0][1], "error", "%")):
            for position, split in enumerate(("train", "validation", "test")):
                values = pd.to_numeric(frame.get(f"{split}_{kind}", pd.Series(dtype=float)), errors="coerce")
                if values.notna().any():
                    look = mark(position)
                    dots = look.marker if len(frame) <= 40 else ""
                    axis.plot(frame["epoch"], values, color=look.color, marker=dots, ms=3.5, ls=look.dashes, label=_names(split))
            axis.set(title=f"{kind} ({unit})", xlabel="epoch", ylim=(0, None))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axes[0][0].get_legend_handles_labels()[1]:
            axes[0][0].legend()
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure


def draw_confusion(counts: NDArray[np.int64], class_names: Sequence[str], title: str) -> Figure:
    """Rows: what the images are; columns: what they were taken for. Shades are shares of a row."""
    classes = len(class_names)
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    side = min(WIDTH, 3.0 + 0.36 * classes)
    with styled():
        figure = Figure(figsize=(side + 0.6, side), layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.grid(visible=False)
        small = classes <= MOST_NUMBERS * 3
        axis.set(title=title, xlabel="taken for", ylabel="is")
        if small:
            axis.set_xticks(range(classes), class_names, rotation=90 if max(map(len, class_names)) > 3 else 0)
            axis.set_yticks(range(classes), class_names)
        if classes <= MOST_NUMBERS:
            for i, j in np.ndindex(classes, classes):
                axis.text(
                    j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=8, color="white" if shares[i, j] > 0.55 else "#222222"
                )
        figure.colorbar(image, ax=axis, label="share of the class", fraction=0.046)
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
    for split, marker in (("train", "braille"), ("validation", "dot")):
        values = pd.to_numeric(frame[f"{split}_loss"], errors="coerce")
        kept = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if np.isfinite(value)]
        if kept:
            plotext.plot(*map(list, zip(*kept, strict=True)), label=f"{_names(split)} loss", marker=marker)
    plotext.xlabel("epoch")
    plotext.xticks(sorted({round(value) for value in np.linspace(epochs[0], epochs[-1], min(len(epochs), 8))}))
    drawn: str = plotext.uncolorize(plotext.build())
    plotext.clear_figure()
    return drawn


def write_history(folder: Path, epochs: Sequence[EpochRecord], title: str) -> None:
    """Write history.csv and curves.svg, each whole or not at all. Raises StoreError where the folder cannot be written to."""
    frame = history(epochs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "history.csv", frame)
        save_figure(draw_curves(frame, title), folder / "curves", ("svg",))
    except OSError as error:
        raise StoreError(f"{folder.absolute()} cannot be written to ({error.strerror}): choose another folder with --reports") from error


def _names(split: str) -> str:
    return "training" if split == "train" else split
