"""How a figure gets onto paper: seaborn draws it, in colors with marks that survive gray print. Sizes are in inches and points."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, LogFormatterSciNotation

WIDTH = 7.2
"""Inches: the text width of a page, and of a phone held sideways."""


@dataclass(frozen=True)
class Mark:
    """How one series is told from the others, in color and without."""

    color: str
    marker: str
    dashes: Any


def mark(position: int) -> Mark:
    """The mark of the n-th series; no two of the first 84 are alike, neighbors differ in color, marker and line."""
    return Mark(_COLORS[position % len(_COLORS)], _MARKERS[position % len(_MARKERS)], _DASHES[position % len(_DASHES)])


def scales(looks: dict[str, Mark]) -> dict[str, so.Nominal]:
    """Seaborn's scales of color, marker and line for series by their names."""
    fields = {"color": "color", "marker": "marker", "linestyle": "dashes"}
    return {name: so.Nominal([getattr(look, field) for look in looks.values()], order=[*looks]) for name, field in fields.items()}


def hues(count: int) -> list[str]:
    """Colors for lines that have names and nothing else to be told by: those of `mark` while they suffice, else twenty others."""
    palette = _COLORS if count <= len(_COLORS) else _MORE_COLORS
    return [palette[position % len(palette)] for position in range(count)]


def shades(count: int) -> list[str]:
    """Colors for an ordered quantity (depth), light to dark, so that their order is seen in gray print too."""
    colormap = matplotlib.colormaps["viridis_r"]
    return [to_hex(colormap(0.18 + 0.72 * (position / (count - 1) if count > 1 else 0.7))) for position in range(count)]


def blank(height: float) -> Figure:
    """A figure of our width that pyplot knows nothing of."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def draw(plot: so.Plot, target: Figure | Axes) -> None:
    """Draw a plot of seaborn on a figure or on axes, in the style that is set and not in seaborn's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The copy keyword is deprecated")  # seaborn 0.13 still gives it to pandas, which ignores it
        plot.on(target).theme({name: matplotlib.rcParams[name] for name in so.Plot.config.theme}).plot()
    for axes in target.axes if isinstance(target, Figure) else [target]:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatter):
                axis.set_major_formatter(PlainPowers())
                axis.set_minor_formatter(PlainPowers())


class PlainPowers(LogFormatterSciNotation):
    """Ticks of a logarithmic axis as text, `2×10⁻³`: matplotlib's own are formulas, which no text of ours is."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The words of a tick."""
        words = super().__call__(x, pos).replace(r"$\mathdefault{", "").removesuffix("}$").replace(r"\times", "×")
        return re.sub(r"\^\{([^}]*)\}", lambda power: power[1].translate(_RAISED), words)


def add(plot: so.Plot, mark: Any, rows: pd.DataFrame | None, *moves: Any, **variables: Any) -> so.Plot:
    """The plot with one more layer, where there are rows for it: some of the plot's own, by whose index seaborn joins them."""
    return plot if rows is None or rows.empty else plot.add(mark, *moves, data=rows, legend=False, **variables)


@dataclass
class SideBySide(so.Dodge):  # type: ignore[misc]  # seaborn has no types
    """Sets the colors apart at one place, within `width` units of the axis, whichever of them have a row there."""

    width: float = 0.8
    by: Any = ("color",)

    def __call__(self, data: Any, *context: Any) -> Any:
        """Seaborn's own dodge, but by the axis and not by the rows of one layer: a lone cross stands above its mean."""
        return super().__call__(data.assign(width=self.width), *context)


def handle(look: Mark, dashes: Any = None) -> Line2D:
    """A series' entry in a legend; `dashes="none"` shows the marker alone."""
    return Line2D([], [], color=look.color, marker=look.marker, ls=look.dashes if dashes is None else dashes, ms=5.5, mec="white", mew=0.7)


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], *, title: str | None = None) -> None:
    """One legend for the whole figure, under it, in as many columns as the longest name allows."""
    longest = max((sum(2 if ord(character) > 0x2E7F else 1 for character in label) for label in labels), default=1)
    columns = max(1, min(len(labels), 6, int(figure.get_figwidth() * 11 / (longest + 6))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title, title_fontsize="small")


_COLORS = ("#c2410c", "#0072b2", "#009e73", "#a3448c", "#b58900", "#56b4e9", "#4d4d4d")  # after Okabe and Ito, darkened for white paper
_MORE_COLORS = tuple(map(to_hex, (*matplotlib.color_sequences["tab20"][::2], *matplotlib.color_sequences["tab20"][1::2])))
"""Ten strong ones, then their light shades."""
_RAISED = str.maketrans("0123456789-\u2212", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_DASHES = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
