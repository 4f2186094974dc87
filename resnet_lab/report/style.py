"""How a figure gets onto paper: its width, one color, marker and line per series, texts that neither meet nor are cut. Inches and points."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
import seaborn
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, LogFormatterSciNotation, LogLocator
from rich.cells import cell_len, chop_cells

from resnet_lab.report.inline import TIP
from resnet_lab.report.layout import Layout

WIDTHS = {"single": 3.3, "double": 6.9}
"""A column of a paper with two, and its whole text width."""
WIDTH = WIDTHS["double"]
MOST_MARKS = 6
"""Series that are told apart in one panel, in gray and without green or red too; more of them get a panel or a row each."""
MOST_TIPS = 2000
MANY_DOTS = 1500
"""Dots beyond which a cloud is written into SVG and PDF as pixels rather than as shapes."""
INK, FAINT = "#333333", "#8a8a8a"


@dataclass(frozen=True)
class Mark:
    """How one series is told from the others, in color and without."""

    color: str
    marker: str
    dashes: Any


def mark(position: int, hue: int | None = None) -> Mark:
    """The mark of the n-th series; `hue`: of the how manieth color, where not the n-th."""
    color = _COLORS[(position if hue is None else hue) % len(_COLORS)]
    return Mark(color, _MARKERS[position % len(_MARKERS)], _DASHES[position % len(_DASHES)])


def marks(layout: Layout) -> dict[str, Mark]:
    """The mark of each series, the same in all figures of a study: color by arm, marker and line by series."""
    arms = {place.series: place.arm for place in layout.places.values()}
    return {series: mark(position, layout.arms.index(arms[series])) for position, series in enumerate(layout.series)}


def arm_colors(layout: Layout) -> dict[str, str]:
    """The color of each arm, those of searches that have no finalist yet among them."""
    return {arm: mark(position).color for position, arm in enumerate(layout.arms)}


def scales(looks: Mapping[str, Mark]) -> dict[str, so.Nominal]:
    """Seaborn's scales of color, marker and line for series by their names."""
    fields = {"color": "color", "marker": "marker", "linestyle": "dashes"}
    return {name: so.Nominal([getattr(look, field) for look in looks.values()], order=[*looks]) for name, field in fields.items()}


def shades(color: str, count: int) -> list[str]:
    """Shades of a color for an ordered quantity (depth), light to dark, so that their order is seen in gray print too."""
    light, dark = (seaborn.blend_palette([end, color], 10)[place] for end, place in (("white", 4), ("black", 3)))
    return [to_hex(shade) for shade in seaborn.blend_palette([light, color, dark], count)] if count > 1 else [color]


def blank(height: float, width: float = WIDTH) -> Figure:
    """A figure that pyplot knows nothing of."""
    return Figure(figsize=(width, height), layout="constrained")


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


def powers(axis: Axis, low: float, high: float, *, between: bool = True) -> None:
    """Ticks of a logarithmic axis at powers of ten, as plain numbers; where it spans little, `between` them too."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if between and high / low < 300 else (1.0,)))
    axis.set_major_formatter("{x:g}")


def add(plot: so.Plot, mark: Any, rows: pd.DataFrame | None, *moves: Any, **variables: Any) -> so.Plot:
    """The plot with one more layer, where there are rows for it: some of the plot's own, by whose index seaborn joins them."""
    return plot if rows is None or rows.empty else plot.add(mark, *moves, data=rows, legend=False, **variables)


def intervals(plot: so.Plot, rows: pd.DataFrame | None, names: Sequence[str], *moves: Any, by: str = "series", **ends: Any) -> so.Plot:
    """The plot with the intervals of cells, those of later series thinner: where several stand at one place, all are seen."""
    for position, name in enumerate(names):
        own = None if rows is None else rows[rows[by] == name]
        plot = add(
            plot,
            so.Range(linewidth=max(1.2, 4.2 - 0.6 * position), alpha=0.5, artist_kws={"capstyle": "butt"}),
            own,
            *moves,
            **(ends or {"ymin": "low", "ymax": "high"}),
        )
    return plot


def with_ends(frame: pd.DataFrame, value: str, low: str, high: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(means, ends of bands) as rows of their own: seaborn puts y on a logarithmic scale, and not ymin and ymax."""
    rows = pd.concat([frame, *(frame.assign(**{value: frame[end]}) for end in (low, high))], ignore_index=True)
    return rows.iloc[: len(frame)], rows.iloc[len(frame) :]


@dataclass
class SideBySide(so.Dodge):  # type: ignore[misc]  # seaborn has no types
    """Sets groups apart at one category, within `width` of it, whichever of them have a row there."""

    width: float = 0.8
    by: Any = ("group",)

    def __call__(self, data: Any, *context: Any) -> Any:
        """Seaborn's own dodge, but by the axis and not by the rows of one layer: a lone cross stands above its mean."""
        return super().__call__(data.assign(width=self.width), *context)


def tips(axes: Axes, x: "pd.Series[Any]", y: "pd.Series[Any]", texts: Sequence[str]) -> None:
    """What a page shows where a pointer stands at (x, y); it is drawn nowhere else."""
    if 0 < len(texts) <= MOST_TIPS:
        axes.scatter(x, y, s=70, color=INK, alpha=0, visible=False).set_urls([TIP + text for text in texts])


def wrapped(name: str, inches: float) -> str:
    """A name on as many lines as that width asks for, broken after its marks and spaces, and anywhere where it has none."""
    most, lines = max(6, int(inches * 72 / 4.7)), [""]
    for part in re.findall(r".+?(?:[_\s/·.,-]+|$)", name):
        for piece in [part] if cell_len(part) <= most else chop_cells(part, most):
            if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > most:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float, str]]) -> bool:
    """Name the lines of a panel at their right ends, `name -> (x, y, color)`, apart from each other; says whether there was room for it."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes of a figure"
    figure.draw_without_rendering()
    box, point = axes.get_window_extent(), figure.dpi / 72
    step = 1.45 * matplotlib.rcParams["legend.fontsize"] * point
    if not ends or len(ends) * step > box.height or max(map(cell_len, ends)) * 4.6 * point > 0.35 * box.width:
        return False
    at = {name: min(max(axes.transData.transform((x, y))[1], box.y0), box.y1) for name, (x, y, _) in ends.items()}
    order = sorted(at, key=lambda name: at[name])
    places: list[float] = []
    for name in order:
        places.append(max(at[name], places[-1] + step if places else box.y0))
    for position in range(len(places) - 1, -1, -1):  # those that were pushed over the top come down again
        places[position] = min(places[position], box.y1 - (len(places) - 1 - position) * step)
    for name, place in zip(order, places, strict=True):
        x, y, color = ends[name]
        line = {"arrowstyle": "-", "color": color, "lw": 1.2, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)}
        words = {"va": "center", "annotation_clip": False, "fontsize": matplotlib.rcParams["legend.fontsize"], "arrowprops": line}
        axes.annotate(name, (x, y), (14, (place - at[name]) / point), textcoords="offset points", **words)
    return True


def keep_apart(axes: Axes, texts: Sequence[Text]) -> None:
    """Of texts that meet, the first stays."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes of a figure"
    figure.draw_without_rendering()
    kept: list[Any] = []
    for text in texts:
        box = text.get_window_extent()
        if any(box.overlaps(other) for other in kept):
            text.remove()
        else:
            kept.append(box)


def handle(look: Mark, dashes: Any = None) -> Line2D:
    """A series' entry in a legend; `dashes="none"` shows the marker alone."""
    return Line2D([], [], color=look.color, marker=look.marker, ls=look.dashes if dashes is None else dashes, ms=5, mec="white", mew=0.6)


def legend_below(figure: Figure, entries: Mapping[str, Any], *, title: str | None = None) -> None:
    """One legend for the whole figure, below what is drawn, in as many columns as the longest name allows; several handles of an entry stand side by side."""
    room = figure.get_figwidth() - 0.3
    names = [wrapped(name, room - 0.5) for name in entries]
    longest = max(
        (sum(2 if ord(character) > 0x2E7F else 1 for character in line) for name in names for line in name.split("\n")), default=1
    )
    columns = max(1, min(len(names), 6, int(room * 72 / (4.7 * longest + 36))))
    handles, small = [*entries.values()], matplotlib.rcParams["legend.fontsize"]
    lines = -(-len(names) // columns) * max(name.count("\n") + 1 for name in names)
    figure.set_figheight(figure.get_figheight() + 0.17 * (lines + bool(title)) + 0.12)
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, title=title, title_fontsize=small, handlelength=2.6,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.2)},
    )  # fmt: skip


_COLORS = ("#c44512", "#14508f", "#169a72", "#3b1152", "#d19a12", "#7cc0f3")
"""Six that differ in lightness as well: a test measures them in gray and as they are seen without green."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
_DASHES = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_RAISED = str.maketrans("0123456789-\u2212", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
