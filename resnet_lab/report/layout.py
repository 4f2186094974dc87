"""Where each cell of a study stands in a figure: in which series, how far along the axis, and which of many are drawn.

The axis is the grid's `layers` where it has several, else its first axis of several numbers, else its first axis of several categories; a
study without any has its arms along the axis. A series is an arm, together with the values of the axes that the axis does not show; several
finalists of a search are arms of their own, called `ARM/1`, `ARM/2`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from resnet_lab.runs.plan import Plan
from resnet_lab.spec.search import FINALIST

MOST_LINES = 16
"""Lines in a panel beyond which no eye tells them apart; of more, so many are drawn, evenly spread."""
MOST_PANELS = 12
T = TypeVar("T")


@dataclass(frozen=True)
class CellPlace:
    """A cell's place: `x` is the axis value itself, or the number of its category; `label` is that value as read."""

    series: str
    x: float
    label: str
    arm: str


@dataclass(frozen=True)
class Layout:
    """The places of all cells, by cell name, and the axis they stand along."""

    axis: str
    """What the axis shows: a grid axis, or "arm"."""
    numeric: bool
    logarithmic: bool
    places: dict[str, CellPlace]
    arms: tuple[str, ...]
    """Those of searches first, which are there before their cells are: an arm's place, and so its color, stays."""

    @property
    def series(self) -> list[str]:
        """Names of the series in the plan's order."""
        return list(dict.fromkeys(place.series for place in self.places.values()))

    @property
    def title(self) -> str:
        """What to write along the axis."""
        return {"layers": "weighted layers", "arm": ""}.get(self.axis, self.axis)

    @property
    def ticks(self) -> dict[float, str]:
        """Axis position -> label, in rising order."""
        return dict(sorted((place.x, place.label) for place in self.places.values()))


@dataclass(frozen=True)
class Choice:
    """What of a large study is drawn as lines: `cells` are drawn, `words` say what is not, for the caption; empty where all are."""

    cells: frozenset[str]
    words: str


def layout_of(plan: Plan) -> Layout:
    """The layout that a plan's grid asks for."""
    axis, several = _axis(plan), [search for search in plan.searches if len(search.finalists) > 1]
    place_of = {cell: place for search in several for place, cell in enumerate(search.finalist_cells, 1)}
    arm_of = {cell.name: f"{cell.arm}/{place_of[cell.name]}" if cell.name in place_of else cell.arm for cell in plan.cells}
    arms = tuple(dict.fromkeys([*(search.arm for search in plan.searches), *(cell.arm for cell in plan.cells)]))
    if axis is None:
        shown = list(dict.fromkeys(arm_of.values()))
        at = {name: float(position) for position, name in enumerate(shown)}
        places = {cell.name: CellPlace(arm_of[cell.name], at[arm_of[cell.name]], arm_of[cell.name], cell.arm) for cell in plan.cells}
        return Layout("arm", False, False, places, arms)
    values = list(dict.fromkeys(cell.axes[axis] for cell in plan.cells))
    numbers = [float(value) for value in values if _is_number(value)]
    numeric = len(numbers) == len(values)
    others = [name for name in plan.axes if name not in (axis, FINALIST) and len({str(cell.axes[name]) for cell in plan.cells}) > 1]
    places = {}
    for cell in plan.cells:
        value = cell.axes[axis]
        series = " · ".join([arm_of[cell.name], *(f"{name} {cell.axes[name]}" for name in others)])
        places[cell.name] = CellPlace(series, float(value) if numeric else float(values.index(value)), str(value), cell.arm)
    return Layout(axis, numeric, numeric and min(numbers) > 0 and max(numbers) / min(numbers) >= 20, places, arms)


def choose(layout: Layout, where: str) -> Choice:
    """All cells, or those of evenly spread series and axis values where there are too many. `where`: the file that has the others too."""
    by_arm = layout.axis == "arm"
    labels, series = list(layout.ticks.values()), layout.series
    kept, panels = evenly(labels, MOST_LINES), evenly(series, MOST_LINES if by_arm else MOST_PANELS)
    cells = frozenset(name for name, place in layout.places.items() if place.series in set(panels) and (by_arm or place.label in set(kept)))
    said = []
    if len(kept) < len(labels) and not by_arm:
        said.append(f"{len(kept)} of {len(labels):,} values of {layout.title}")
    if len(panels) < len(series):
        said.append(f"{len(panels)} of {len(series):,} series")
    words = f" {' and '.join(said)} are drawn, evenly spread, to keep them apart; {where} has all." if said else ""
    return Choice(cells, words)


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many items, the first and the last among them, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[position] for position in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _axis(plan: Plan) -> str | None:
    several = [name for name in plan.axes if name != FINALIST and len({str(cell.axes[name]) for cell in plan.cells}) > 1]
    numeric = [name for name in several if all(_is_number(cell.axes[name]) for cell in plan.cells)]
    return "layers" if "layers" in numeric else next(iter([*numeric, *several]), None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def placed(rows: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Rows of cells with the columns series, x and label."""
    places = [layout.places[cell] for cell in rows["cell"]]
    return rows.assign(**{name: [getattr(place, name) for place in places] for name in ("series", "x", "label")})
