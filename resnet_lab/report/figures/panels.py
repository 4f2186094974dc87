"""How small multiples are laid out: a panel a series with a line for each value of the axis, or one panel where there is no such axis."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_lab.report import style
from resnet_lab.report.layout import Layout


@dataclass(frozen=True)
class Panels:
    """The names of the panels that have rows, the colour of each line, and what the lines are called together."""

    names: list[str]
    colors: dict[str, Any]
    title: str | None


def split(frame: pd.DataFrame, layout: Layout) -> tuple[pd.DataFrame, Panels]:
    """The frame with columns `panel` and `line`, and the panels these make. Numbers get shades of one scale, names a colour each."""
    if layout.axis != "arm":
        there = set(frame["series"])
        lines = list(layout.ticks.values())
        colors = style.shades(len(lines)) if layout.numeric else [style.mark(position).color for position in range(len(lines))]
        panels = Panels([name for name in layout.series if name in there], dict(zip(lines, colors, strict=True)), layout.words)
        return frame.assign(panel=frame["series"], line=frame["label"]), panels
    marked = {name: style.mark(position).color for position, name in enumerate(layout.series)}
    return frame.assign(panel="", line=frame["series"]), Panels([""], marked, None)


def legend(figure: Figure, panels: Panels) -> None:
    """The colours' meaning, under the figure; one line needs none."""
    if len(panels.colors) > 1:
        handles = [Line2D([], [], color=color, lw=2.2) for color in panels.colors.values()]
        style.legend_below(figure, handles, list(panels.colors), title=panels.title)
