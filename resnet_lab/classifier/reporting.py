"""How an evaluation is written down and shown: the confusion matrix as figures, the numbers on a console."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from resnet_lab.classifier.display import say_repeated
from resnet_lab.classifier.evaluating import Evaluation, mcnemar
from resnet_lab.classifier.training import short_name
from resnet_lab.console import say
from resnet_lab.output import save_figure, write_csv
from resnet_lab.report.one_network import draw_confusion
from resnet_lab.runs.files import StoreError, write_atomically

MOST_CLASSES = 100
"""Rows of the table on a console; classes.csv has them all."""


def write_evaluation(found: Evaluation, reports: Path) -> Path:
    """Write confusion.svg, confusion.png, confusion.csv and classes.csv; returns their folder. Raises StoreError where that cannot be done."""
    folder = reports / "evaluate" / found.run
    figure = draw_confusion(
        found.confusion, found.class_names, f"run {found.run}\n{short_name(found.dataset)}, n = {found.accuracy.images:,}"
    )
    counts = pd.DataFrame(found.confusion, index=[*found.class_names], columns=[*found.class_names])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_figure(figure, folder / "confusion", ("svg", "png"))
        write_atomically(folder / "confusion.csv", counts.to_csv(index_label="is / taken for").encode())
        write_csv(folder / "classes.csv", found.classes())
    except OSError as error:
        raise StoreError(f"{folder.absolute()} cannot be written to ({error.strerror}): choose another folder with --reports") from error
    return folder


def show_side_by_side(found: Sequence[Evaluation], console: Console) -> None:
    """Several networks on the same test images: accuracy with its interval, and each against the first, image by image."""
    first = found[0]
    table = Table(box=None, pad_edge=False)
    for column in ("run", "loss", "accuracy", "95 % interval", "n", "only first right", "only this right", "exact p"):
        table.add_column(column, justify="left" if column == "run" else "right", no_wrap=column in ("run", "accuracy", "95 % interval"))
    for each in found:
        paired = each is not first and each.dataset == first.dataset and len(each.right) == len(first.right)
        lost, won, p = mcnemar(first.right, each.right) if paired else (0, 0, 1.0)
        low, high = each.accuracy.interval
        numbers = (f"{each.loss:.4f}", f"{each.accuracy.percent:.2f} %", f"{low:.2f} to {high:.2f}", f"{each.accuracy.images:,}")
        table.add_row(each.run, *numbers, *((str(lost), str(won), f"{p:.3g}") if paired else ("", "", "")))
    console.print(table)
    say(
        console,
        "p: two-sided, that neither is better on such images (McNemar, exact); one network of each, so another seed may say otherwise",
    )


def show_evaluation(found: Evaluation, folder: Path, console: Console) -> None:
    """Each class, then loss and accuracy with its interval, and where the figures are."""
    table = Table(box=None, pad_edge=False)
    frame = found.classes()
    for column in frame.columns:
        table.add_column(column, justify="left" if column in ("class", "most often taken for") else "right")
    for row in frame.head(MOST_CLASSES).itertuples(index=False):
        table.add_row(str(row[0]), f"{row[1]:,}", *(f"{value:.2f} %" if value == value else "-" for value in row[2:4]), str(row[4]))
    console.print(table)
    say(console, f"run {found.run} on {found.says}")
    for note in found.notes:
        say(console, f"note: {note}")
    say(console, f"loss {found.loss:.4f}")
    say(console, f"accuracy {found.accuracy}")
    if found.repeated >= 0:
        say_repeated(console, found.repeated, found.accuracy.images, found.without_repeated)
    say(console, f"confusion matrix: {folder.absolute() / 'confusion.svg'}")
