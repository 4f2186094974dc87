"""A search as data: which fields it may choose, by what it judges a choice, and how many it may try (`[search]` in an ablation).

A *parameter* is one thing that is chosen: a field's value, or the entry of one stage in a list. A *point* gives each parameter that is open
there a *label*: the number itself of a range, the name or number of a choice. Constraints are met at zero and below.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt

from resnet_lab.spec.errors import Problem, nearest
from resnet_lab.spec.training import TrainingSpec
from resnet_lab.spec.trust import Allow

Label = str | int | float | bool
Point = Mapping[str, Label]
"""Parameter -> label, for the parameters that are open there."""
Objective = Literal["validation_error", "macs", "params"]
COSTS = ("macs", "params", "layers")
"""What a constraint may bound; the first two may be a second objective."""
FINALIST = "finalist"
"""The axis of an ablation whose searches have several: the place of a cell among them, from 1. A baseline is the first of its own."""
SEARCH_SEEDS = 1_000_000
"""The seeds of trials count from here, so that a finalist is judged by seeds that did not choose it."""
MOST_IN_A_ROW = 1000
"""Proposals in a row that count for nothing (already tried, or break a constraint), after which a search ends."""
_CONSTRAINT = re.compile(r"\s*(?P<cost>\w+)\s*(?P<sign><=|>=)\s*(?P<bound>[0-9_]+(\.[0-9]*)?([eE][-+]?[0-9]+)?)\s*")
_RANGE = ("low", "high", "log", "step", "when")
_CHOICES = ("choices", "when")


@dataclass(frozen=True)
class SearchSpec:
    """A search over networks and recipes, judged on validation images alone. Its finalists become cells: `arm/1`, `arm/2`, ..."""

    space: dict[str, Any] = field(default_factory=dict)
    """Field path -> a list of choices, or a range `{ low, high, log, step }`, or a list of ranges, one per stage. A choice may be named,
    `{ name = "wide", value = [...] }`; `{ choices = [...], when = "network.block=bottleneck" }` applies only if another field has that value."""
    objective: Objective | tuple[Objective, ...] = "validation_error"
    """`validation_error`, or a list of it and `macs` or `params`. With a list, the finalists are spread along the front."""
    constraints: tuple[str, ...] = ()
    """As in `macs <= 20e6`, `params <= 0.3e6` or `layers >= 14`. A network that breaks one is not trained."""
    trials: Annotated[int, Ge(1), Le(100_000)] = 50
    """How many different points are trained; the same in all arms that search."""
    seeds_per_trial: Annotated[int, Ge(1), Le(100)] = 1
    """Runs of each trial; their mean is its score."""
    sampler: Literal["tpe", "nsgaii", "gp", "random"] = "tpe"
    """What proposes points: `tpe` (Bergstra et al. 2011), `nsgaii` (Deb et al. 2002), `gp` (a Gaussian process), or `random`, the control."""
    pruner: Literal["none", "median", "hyperband", "wilcoxon"] = "none"
    """What ends a trial early: `median` and `hyperband` after some of its epochs, `wilcoxon` after some of its seeds."""
    finalists: Annotated[int, Ge(1), Le(100)] = 1
    """How many of the best become cells, which are trained with the full recipe and new seeds."""
    training: TrainingSpec = field(default_factory=TrainingSpec)
    """Fields of a shorter recipe for the search."""
    validation: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Share of the training images on which trials are scored; the same images for all trials. Finalists are trained on them too. If the
    dataset has a `val/`, that is used instead."""
    first: tuple[str | dict[str, Any], ...] = ()
    """Tried first: networks of the catalogue (only their fields in the space are used), or points, as in
    `{ network.depths = [3, 3, 3] }`."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the sampler. With one worker, the same seed proposes the same points."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """One or two of them, the error first."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its trials' runs."""
        return tuple(range(SEARCH_SEEDS, SEARCH_SEEDS + self.seeds_per_trial))


@dataclass(frozen=True)
class Parameter:
    """One thing that a search chooses. `labels` and `values` of choices; else a range from `low` to `high`, both included."""

    name: str
    """The field's path, and for one stage of a list its place from 0: `training.lr`, `network.depths.2`."""
    path: str
    index: int | None = None
    when: tuple[str, Label] | None = None
    """(another parameter, its label) where this one is open; always where it is None."""
    labels: tuple[Label, ...] = ()
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    integer: bool = False

    def is_open(self, point: Point) -> bool:
        """Whether it is chosen at all, by what was chosen before it."""
        return self.when is None or point.get(self.when[0]) == self.when[1]

    def value(self, label: Label) -> Any:
        """What the field gets for a label. Raises ValueError for one that is none of its labels, or outside its range."""
        if self.labels:
            return self.values[self.labels.index(label)]
        if isinstance(label, bool) or not isinstance(label, int | float) or not self.low <= label <= self.high:
            raise ValueError(f"{label!r} is not within {self.low:g} to {self.high:g}")
        return int(label) if self.integer else label

    def label(self, value: Any) -> Label:
        """The label whose value this is. Raises ValueError where there is none."""
        if self.labels:
            return self.labels[self.values.index(value)]
        self.value(value)
        return value  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Constraint:
    """A bound on what a network costs."""

    text: str
    cost: str
    sign: str
    bound: float

    def violation(self, value: float) -> float:
        """By which share of the bound a value breaks it; zero or below where it is met."""
        over = value / self.bound - 1
        return over if self.sign == "<=" else -over


def parameters(space: Mapping[str, Any], place: str = "search.space") -> tuple[tuple[Parameter, ...], list[Problem]]:
    """The parameters of a space, in the order written, and what is wrong with it, but for values that their fields do not take."""
    found: list[Parameter] = []
    problems: list[Problem] = []
    for path, written in flatten_space(space).items():
        key = f"{place}.{path}"
        if path.count(".") not in (1, 2) or path.partition(".")[0] not in ("network", "data", "training"):
            problems.append(
                Problem("a search chooses fields of network, data or training, as in network.depths or network.join.bias", key=key)
            )
        elif path in ("data.name", "data.validation", "data.split_seed", "training.precision", "training.init_weights"):
            problems.append(Problem("must be the same for all trials of a search, or they cannot be compared", key=key))
        elif isinstance(written, list) and written and all(isinstance(item, dict) and "low" in item for item in written):
            for index, item in enumerate(written):
                _add(f"{path}.{index}", path, index, item, key, found, problems)
        else:
            _add(path, path, None, written, key, found, problems)
    if not found and not problems:
        problems.append(Problem("an empty space: name at least one field with its choices or its range", key=place))
    return tuple(found), problems


def flatten_space(space: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables -> {"network.depths": ...}, in the order written; a table of a range or of choices is a value."""
    flat: dict[str, Any] = {}
    for key, value in space.items():
        path = f"{prefix}{key}"
        is_value = not isinstance(value, dict) or bool({*_RANGE, *_CHOICES} & set(value))
        flat |= {path: value} if is_value else flatten_space(value, f"{path}.")
    return flat


def _add(name: str, path: str, index: int | None, written: Any, key: str, found: list[Parameter], problems: list[Problem]) -> None:
    """Read one parameter; adds it, or what is wrong with it."""
    if isinstance(written, list):
        written = {"choices": written}
    if not isinstance(written, dict):
        problems.append(Problem("takes a list of choices, or a range as { low = 1, high = 5 }", key=key))
        return
    known = _CHOICES if "choices" in written else _RANGE
    if unknown := [each for each in written if each not in known]:
        problems.append(Problem(f"unknown key {unknown[0]!r}{nearest(unknown[0], known)}; known here are {', '.join(known)}", key=key))
        return
    try:
        when = _when(written["when"], found) if "when" in written else None
        given = _choices(written["choices"]) if "choices" in written else _range(written)
    except ValueError as error:
        problems.append(Problem(str(error), key=key))
        return
    found.append(Parameter(name, path, index, when, **given))


def _when(text: Any, before: Sequence[Parameter]) -> tuple[str, Label]:
    """Raises ValueError for a condition on nothing that was chosen before."""
    name, _, wanted = (part.strip() for part in str(text).partition("="))
    parent = next((each for each in before if each.name == name), None)
    if parent is None:
        raise ValueError(f"when = {text!r}: no parameter {name!r} stands before it{nearest(name, [each.name for each in before])}")
    label = next((label for label in parent.labels if _said(label) == wanted), None)
    if label is None:
        listed = ", ".join(map(_said, parent.labels)) or "none: it is a range"
        raise ValueError(f"when = {text!r}: {name} has no choice {wanted!r}; its choices are {listed}")
    return name, label


def _choices(written: Any) -> dict[str, Any]:
    """Raises ValueError for choices that cannot be told apart by their labels."""
    if not isinstance(written, list) or not written:
        raise ValueError("an empty list: name at least one choice")
    labels: list[Label] = []
    values: list[Any] = []
    for each in written:
        named = isinstance(each, dict) and set(each) == {"name", "value"}
        value = each["value"] if named else each
        label = each["name"] if named else "-".join(map(_said, each)) if isinstance(each, list) else each
        if isinstance(label, dict):
            raise ValueError('a table among choices needs a name: { name = "half", value = { ... } }')
        labels.append(label)
        values.append(value)
    if len(set(map(_said, labels))) < len(labels):
        raise ValueError("a choice is there twice")
    return {"labels": tuple(labels), "values": tuple(values)}


def _range(written: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ValueError for a range that holds nothing, or not what it says."""
    for name in ("low", "high"):
        if name not in written:
            raise ValueError(f"a range without `{name}`: write {{ low = 1, high = 5 }}")
    low, high, step, log = written["low"], written["high"], written.get("step"), written.get("log", False)
    numbers = [number for number in (low, high, step) if number is not None]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers) or not isinstance(log, bool):
        raise ValueError("low, high and step are numbers, log is true or false")
    if low > high:
        raise ValueError(f"low = {low} is above high = {high}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic range begins above zero, not at {low}")
    if log and step is not None:
        raise ValueError("a logarithmic range has no step: leave out one of the two")
    if step is not None and step <= 0:
        raise ValueError(f"step = {step}: must be above zero")
    return {"low": low, "high": high, "step": step, "log": log, "integer": all(isinstance(number, int) for number in numbers)}


def constraints(texts: Sequence[str]) -> tuple[tuple[Constraint, ...], list[Problem]]:
    """The constraints, and what is wrong with them."""
    found: list[Constraint] = []
    problems: list[Problem] = []
    for index, text in enumerate(texts):
        match = _CONSTRAINT.fullmatch(text)
        if match is None or match["cost"] not in COSTS or not float(match["bound"]):
            about = nearest(match["cost"], COSTS) if match else ""
            problems.append(
                Problem(f"write it as `macs <= 20e6`, a bound on {', '.join(COSTS)}, not {text!r}{about}", key=f"constraints.{index}")
            )
        else:
            found.append(Constraint(text.strip(), match["cost"], match["sign"], float(match["bound"])))
    return tuple(found), problems


def search_problems(spec: SearchSpec) -> list[Problem]:
    """What is wrong with a search beyond its types, keys as in `objective`."""
    problems = constraints(spec.constraints)[1]
    objectives = spec.objectives
    if objectives[:1] != ("validation_error",) or len(objectives) > 2 or len(set(objectives)) < len(objectives):
        wanted = 'write "validation_error", or a list of it and "macs" or "params"'
        problems.append(Problem(f"{wanted}, not {', '.join(objectives) or 'an empty list'}", key="objective"))
    if len(objectives) > 1 and spec.pruner != "none":
        problems.append(Problem("a pruner compares one objective: leave it out, or search for the validation error alone", key="pruner"))
    if spec.pruner in ("median", "hyperband") and spec.seeds_per_trial > 1:
        problems.append(Problem(f'{spec.pruner} compares single runs: seeds_per_trial = 1, or pruner = "wilcoxon"', key="pruner"))
    if spec.pruner == "wilcoxon" and spec.seeds_per_trial < 4:
        problems.append(Problem("wilcoxon compares trials seed by seed: seeds_per_trial of at least 4", key="pruner"))
    if spec.finalists > spec.trials:
        problems.append(Problem(f"{spec.finalists} finalists of {spec.trials} trials: at most as many as trials", key="finalists"))
    return problems


def random_point(chosen: Sequence[Parameter], random: Random) -> dict[str, Label]:
    """A point drawn evenly: each choice as likely as the others, a logarithmic range by its logarithm."""
    point: dict[str, Label] = {}
    for each in chosen:
        if not each.is_open(point):
            continue
        if each.labels:
            point[each.name] = random.choice(each.labels)
        elif each.log:
            drawn = math.exp(random.uniform(math.log(each.low), math.log(each.high)))
            point[each.name] = round(drawn) if each.integer else min(max(drawn, each.low), each.high)
        elif each.integer or each.step is not None:
            step = each.step or 1
            drawn = each.low + step * random.randrange(int((each.high - each.low) / step + 1e-9) + 1)
            point[each.name] = int(drawn) if each.integer else drawn
        else:
            point[each.name] = random.uniform(each.low, each.high)
    return point


def field_values(chosen: Sequence[Parameter], point: Point) -> dict[str, Any]:
    """Field path -> the value that a point gives it; a list is put together of its stages."""
    values: dict[str, Any] = {}
    for each in chosen:
        if each.name in point:
            value = each.value(point[each.name])
            values[each.path] = value if each.index is None else [*values.get(each.path, []), value]
    return values


def point_of(chosen: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, Label]:
    """The point, or the part of one, that gives these fields their values. Raises ValueError for a value that is not in the space."""
    point: dict[str, Label] = {}
    for each in chosen:
        if each.path in values and each.is_open(point):
            value = values[each.path]
            try:
                point[each.name] = each.label(value if each.index is None else value[each.index])
            except (ValueError, IndexError, TypeError) as error:
                raise ValueError(f"{each.path} = {value!r} is not in the space") from error
    return point


@dataclass(frozen=True)
class SearchedCell:
    """An arm at a grid point that searches: what all its trials share, and what they choose. Its finalists are cells NAME/1, NAME/2, ..."""

    name: str
    arm: str
    axes: dict[str, Any]
    spec: SearchSpec
    chosen: tuple[Parameter, ...]
    values: dict[str, Any]
    """Sections as merged, `[search.training]` not among them; a point is set over them."""
    training: dict[str, Any]
    """The fields of `[search.training]`."""
    allow: Allow
    """Is asked before a part from outside is imported."""
    first: tuple[Point, ...] = ()
    """Proposed before anything else; a point may be left open in part."""
    precision: str = "auto"
    """What `precision = "auto"` comes to."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that it chooses."""
        return tuple(dict.fromkeys(each.path for each in self.chosen))


@dataclass(frozen=True)
class Finalist:
    """The name of a cell that a search is going to find."""

    name: str
    arm: str
    axes: dict[str, Any]


def finalists_of(name: str, arm: str, axes: Mapping[str, Any], count: int) -> list[Finalist]:
    """The cells that a searched cell is going to find, `NAME/1` the best."""
    ranked = FINALIST in axes
    return [Finalist(f"{name}/{place}", arm, {**axes, FINALIST: place} if ranked else dict(axes)) for place in range(1, count + 1)]


def budget_problems(searches: Sequence[SearchedCell]) -> list[Problem]:
    """Searches of one ablation that may not try equally much: what they find could not be compared. Keys are paths within an arm."""
    problems = []
    for each in searches[1:]:
        for name in ("trials", "seeds_per_trial"):
            mine, theirs = getattr(each.spec, name), getattr(searches[0].spec, name)
            if mine != theirs:
                problems.append(
                    Problem(f"{mine}, but {searches[0].name} has {theirs}: searches are compared at equal budgets", key=f"search.{name}")
                )
    return problems


def _said(label: Any) -> str:
    return str(label).lower() if isinstance(label, bool) else f"{label:g}" if isinstance(label, float) else str(label)
