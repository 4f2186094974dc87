"""Which of a question's claims are put to the test at a scale: their cells are there, and trends become weights of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from resnet_lab.spec.ablation import Ablation
from resnet_lab.spec.claims import Claim, claim_problems
from resnet_lab.spec.errors import Problem, SpecError, nearest
from resnet_lab.spec.reading import placed

SMALL = 0.1
"""A bound below a tenth of a percentage point is asked about: single runs spread several times as far."""


class Named(Protocol):
    """A cell, resolved or planned: what claims need to know of it."""

    @property
    def name(self) -> str:
        """As claims call it."""

    @property
    def arm(self) -> str:
        """The arm it belongs to."""

    @property
    def axes(self) -> dict[str, Any]:
        """Grid axis (short name) -> value."""


def claims_at(ablation: Ablation, scale: str, cells: Sequence[Named], regridded: bool) -> tuple[tuple[Claim, ...], list[str]]:
    """The claims put to the test at a scale, trends resolved to contrasts, and warnings about those put aside.

    A claim about a cell that the file itself does not make is an error; one whose cells a changed grid (`--set grid...`) left out is put
    aside. Raises SpecError with every problem, placed at the file's lines.
    """
    problems: list[Problem] = []
    claims: list[Claim] = []
    dropped: list[str] = []
    names = dict.fromkeys(cell.name for cell in cells)
    for index, claim in enumerate(ablation.file.claims):
        if claim.scales is not None and scale not in claim.scales:
            continue
        found = list(_cell_problems(claim, names) if claim.trend is None else _trend_problems(claim, cells))
        if not found:
            claims.append(claim if claim.trend is None else replace(claim, contrast=trend_contrast(claim, cells)))
        elif regridded:
            dropped.append(f"claim {claim.name!r} is put aside: the grid as set here has {found[0].message.partition(';')[0]}")
        else:
            problems += [Problem(problem.message, key=f"claims.{index}.{problem.key}") for problem in found]
    for index, claim in enumerate(ablation.file.claims):
        for named in claim.scales or ():
            if named not in ablation.scales:
                problems.append(Problem(f"no scale {named!r}{nearest(named, ablation.scales)}", key=f"claims.{index}.scales"))
    if problems:
        raise SpecError(placed(problems, ablation.text, ablation.path))
    return tuple(claims), dropped


def trend_contrast(claim: Claim, cells: Sequence[Named]) -> dict[str, float]:
    """The least-squares slope as weights of cells: (x - mean) / Sxx, shared among the cells of one axis value; `minus` takes another off."""
    trend = claim.trend
    assert trend is not None
    weights = _slope(trend.axis, [cell for cell in cells if cell.arm == trend.arm])
    if trend.minus is not None:
        weights |= {name: -weight for name, weight in _slope(trend.axis, [cell for cell in cells if cell.arm == trend.minus]).items()}
    return weights


def small_margins(claims: Sequence[Claim], images: Mapping[str, int]) -> Iterator[str]:
    """Warnings about bounds and effects so small that they are most likely shares where percent is meant.

    `images`: how many the smallest set has that `train_error` is measured on, and `test_error`.
    """
    for claim in claims:
        if not claim.metric.endswith("error") or claim.trend is not None or claim.fails is not None:
            continue
        count = images[claim.metric]
        sizes = [(f"expects `{claim.expectation}`", abs(bound), max(SMALL, min(1, 100 / count))) for bound in claim.region.boundaries]
        if claim.effect is not None:  # the mean of several seeds can well be a fraction of an image
            sizes.append((f"wants to see an effect of {claim.effect:g}", abs(claim.effect), SMALL))
        small = next(((what, size) for what, size, least in sizes if 0 < size < least), None)
        if small is not None:
            what, size = small
            why = f"less than one image of {count}" if size < 100 / count else "next to nothing"
            yield (
                f"claim {claim.name!r} {what}, and errors are in percent: {size:g} {claim.unit} is {why}; "
                f"for {100 * size:g} % write {100 * size:g}"
            )


def _slope(axis: str, cells: Sequence[Named]) -> dict[str, float]:
    values = sorted({float(cell.axes[axis]) for cell in cells})
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values)
    at = [float(cell.axes[axis]) for cell in cells]
    return {cell.name: (x - mean) / spread / at.count(x) for cell, x in zip(cells, at, strict=True)}


def _cell_problems(claim: Claim, cells: Collection[str]) -> Iterator[Problem]:
    for cell in claim.cells:
        if cell not in cells:
            yield Problem(f"no cell {cell!r}{nearest(cell, cells)}; cells are {', '.join(cells)}", key="contrast")


def _trend_problems(claim: Claim, cells: Sequence[Named]) -> Iterator[Problem]:
    trend = claim.trend
    assert trend is not None
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    missing = [(key, arm) for key, arm in (("arm", trend.arm), ("minus", trend.minus)) if arm is not None and arm not in arms]
    for key, arm in missing:
        yield Problem(f"no arm {arm!r}{nearest(arm, arms)}; arms are {', '.join(arms)}", key=f"trend.{key}")
    axes = list(cells[0].axes)
    if trend.axis not in axes:
        yield Problem(f"no axis {trend.axis!r}{nearest(trend.axis, axes)}; axes are {', '.join(axes) or 'none'}", key="trend.axis")
        return
    values = list(dict.fromkeys(cell.axes[trend.axis] for cell in cells))
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        yield Problem(f"no numbers on the axis {trend.axis!r} to have a slope over", key="trend.axis")
    elif len(values) < 2:
        yield Problem(f"only one value on the axis {trend.axis!r}: a slope takes two, or more", key="trend.axis")
    elif not missing:
        resolved = replace(claim, contrast=trend_contrast(claim, cells))
        yield from (problem for problem in claim_problems(replace(resolved, trend=None)) if problem.key == "expect")
