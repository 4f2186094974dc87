"""How series are told apart in figures: colors with marks that survive gray print, and where a legend stands. Sizes are in inches and points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

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


def hues(count: int) -> list[Any]:
    """Colors for lines that have names and nothing else to be told by: those of `mark` while they suffice, else twenty others."""
    palette = _COLORS if count <= len(_COLORS) else _MORE_COLORS
    return [palette[position % len(palette)] for position in range(count)]


def shades(count: int) -> list[Any]:
    """Colors for an ordered quantity (depth), light to dark, so that their order is seen in gray print too."""
    colormap = matplotlib.colormaps["viridis_r"]
    return [colormap(0.18 + 0.72 * (position / max(1, count - 1) if count > 1 else 0.7)) for position in range(count)]


def grid(rows: int, columns: int, *, height: float, width: float = WIDTH, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows x columns axes; `height` is one row's, in inches."""
    figure = Figure(figsize=(width, rows * height + 0.35), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(row) for row in axes]


def beside(transform: Transform, figure: Figure, points: float) -> Transform:
    """A transform pushed to the right by so many points: sets neighbors apart on any scale while their numbers stay true."""
    return transform + ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)


def dodge(position: int, count: int, *, room: float, step: float = 6.0) -> float:
    """Points by which the n-th of `count` series stands beside its true place, all of them within `room`."""
    return (position - (count - 1) / 2) * min(step, room / max(1, count - 1))


def handle(look: Mark, dashes: Any = None) -> Line2D:
    """A series' entry in a legend; `dashes="none"` shows the marker alone."""
    return Line2D([], [], color=look.color, marker=look.marker, ls=look.dashes if dashes is None else dashes, ms=5.5, mec="white", mew=0.7)


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], *, title: str | None = None) -> None:
    """One legend for the whole figure, under it, in as many columns as the longest name allows."""
    longest = max((_cells(label) for label in labels), default=1)
    columns = max(1, min(len(labels), 6, int(figure.get_figwidth() * 11 / (longest + 6))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title, title_fontsize="small")


def _cells(text: str) -> int:
    return sum(2 if ord(character) > 0x2E7F else 1 for character in text)


_COLORS = ("#c2410c", "#0072b2", "#009e73", "#a3448c", "#b58900", "#56b4e9", "#4d4d4d")  # after Okabe and Ito, darkened for white paper
_MORE_COLORS = (
    *matplotlib.color_sequences["tab20"][::2],
    *matplotlib.color_sequences["tab20"][1::2],
)  # ten strong ones, then their light shades
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_DASHES = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
