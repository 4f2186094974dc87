"""Where each cell of a study stands in a figure: in which series, and how far along the axis.

The axis is the grid's `layers` where it has several, else its first axis of several numbers, else its first axis of several categories; a
study without any has its arms along the axis. A series is an arm, together with the values of the axes that the axis does not show.
"""

from dataclasses import dataclass

from resnet_lab.runs.plan import Plan, PlannedCell


@dataclass(frozen=True)
class Place:
    """A cell's place: `x` is the axis value itself, or the number of its category; `label` is that value as read."""

    series: str
    x: float
    label: str


@dataclass(frozen=True)
class Layout:
    """The places of all cells, by cell name, and the axis they stand along."""

    axis: str
    """What the axis shows: a grid axis, or "arm"."""
    numeric: bool
    logarithmic: bool
    places: dict[str, Place]

    @property
    def series(self) -> list[str]:
        """Names of the series in the plan's order."""
        return list(dict.fromkeys(place.series for place in self.places.values()))

    @property
    def words(self) -> str:
        """What to write along the axis."""
        return {"layers": "weighted layers", "arm": ""}.get(self.axis, self.axis)

    @property
    def ticks(self) -> dict[float, str]:
        """Axis position -> label, in rising order."""
        return dict(sorted((place.x, place.label) for place in self.places.values()))


def layout_of(plan: Plan) -> Layout:
    """The layout that a plan's grid asks for."""
    axis = _axis(plan)
    if axis is None:
        arms = list(dict.fromkeys(cell.arm for cell in plan.cells))
        return Layout("arm", False, False, {cell.name: Place(cell.arm, float(arms.index(cell.arm)), cell.arm) for cell in plan.cells})
    values = list(dict.fromkeys(cell.axes[axis] for cell in plan.cells))
    numbers = [float(value) for value in values if _is_number(value)]
    numeric = len(numbers) == len(values)
    others = [name for name in plan.axes if name != axis and len({str(cell.axes[name]) for cell in plan.cells}) > 1]
    places = {
        cell.name: Place(
            series=_series(cell, others),
            x=float(cell.axes[axis]) if numeric else float(values.index(cell.axes[axis])),
            label=str(cell.axes[axis]),
        )
        for cell in plan.cells
    }
    return Layout(axis, numeric, numeric and min(numbers) > 0 and max(numbers) / min(numbers) >= 20, places)


def _axis(plan: Plan) -> str | None:
    several = [name for name in plan.axes if len({str(cell.axes[name]) for cell in plan.cells}) > 1]
    numeric = [name for name in several if all(_is_number(cell.axes[name]) for cell in plan.cells)]
    if "layers" in numeric:
        return "layers"
    return next(iter([*numeric, *several]), None)


def _series(cell: PlannedCell, others: list[str]) -> str:
    return " · ".join([cell.arm, *(f"{name} {cell.axes[name]}" for name in others)])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
