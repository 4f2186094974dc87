"""How small multiples are laid out: a panel a series with a line for each value of the axis, or one panel where there is no such axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_lab.report import style
from resnet_lab.report.layout import Layout

MOST_LINES = 16
"""Lines in a panel beyond which no eye tells them apart; of more, so many are drawn, evenly spread."""
MOST_PANELS = 12
T = TypeVar("T")


@dataclass(frozen=True)
class Panels:
    """The names of the panels that have rows, the color of each line, and what the lines are called together."""

    names: list[str]
    colors: dict[str, Any]
    title: str | None


@dataclass(frozen=True)
class Choice:
    """What of a large study is drawn: `cells` are drawn, `words` say what is not, for the caption; empty where all are."""

    cells: frozenset[str]
    labels: tuple[str, ...]
    """Axis values that are drawn, in rising order."""
    words: str


def choose(layout: Layout, where: str) -> Choice:
    """All cells, or those of evenly spread series and axis values where there are too many. `where`: the file that has the others too."""
    by_arm = layout.axis == "arm"
    labels, series = list(layout.ticks.values()), layout.series
    kept, panels = evenly(labels, MOST_LINES), evenly(series, MOST_LINES if by_arm else MOST_PANELS)
    cells = frozenset(name for name, place in layout.places.items() if place.series in set(panels) and (by_arm or place.label in set(kept)))
    said = []
    if len(kept) < len(labels) and not by_arm:
        said.append(f"{len(kept)} of {len(labels):,} values of {layout.words}")
    if len(panels) < len(series):
        said.append(f"{len(panels)} of {len(series):,} series")
    words = f" Drawn are {' and '.join(said)}, evenly spread: more could not be told apart; {where} has them all." if said else ""
    return Choice(cells, tuple(kept), words)


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many items, the first and the last among them, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[position] for position in np.linspace(0, len(items) - 1, most).round().astype(int)]


def split(frame: pd.DataFrame, layout: Layout) -> tuple[pd.DataFrame, Panels]:
    """The frame with columns `panel` and `line`, and the panels these make. Numbers get shades of one scale, names a color each."""
    if layout.axis != "arm":
        there = set(frame["series"])
        lines = evenly(list(layout.ticks.values()), MOST_LINES)
        colors = style.shades(len(lines)) if layout.numeric else style.hues(len(lines))
        panels = Panels([name for name in layout.series if name in there], dict(zip(lines, colors, strict=True)), layout.words)
        return frame.assign(panel=frame["series"], line=frame["label"]), panels
    lines = evenly(layout.series, MOST_LINES)
    return frame.assign(panel="", line=frame["series"]), Panels([""], dict(zip(lines, style.hues(len(lines)), strict=True)), None)


def legend(figure: Figure, panels: Panels) -> None:
    """The colors' meaning, under the figure; one line needs none."""
    if len(panels.colors) > 1:
        handles = [Line2D([], [], color=color, lw=2.2) for color in panels.colors.values()]
        style.legend_below(figure, handles, list(panels.colors), title=panels.title)
