"""How figures look: fonts that reach every name, colors with marks that survive gray print, one set of sizes.

Sizes are in inches and points. Nothing here touches pyplot; `styled` holds its settings for the length of a `with` block.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from resnet_lab.fonts import font_families

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


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's settings while a figure is drawn or written, put back afterwards."""
    settings: Any = {**_SETTINGS, "font.family": font_families()}
    with matplotlib.rc_context(settings):
        yield


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
_SETTINGS: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "normal",  # fonts for Chinese come in one weight, and matplotlib warns when it looks for another
    "axes.titlelocation": "left",
    "axes.titlepad": 5.0,
    "axes.labelsize": 9.0,
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",  # text as outlines: the same on every machine, whatever fonts it has
    "svg.hashsalt": "resnet_lab",  # the same figure gives the same file
    "pdf.fonttype": 3,  # outlines again: fonts with CFF outlines (Noto) cannot go into a PDF as TrueType
}
