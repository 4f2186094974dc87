"""A study's searches as they are planned: how far each has come, and which run a point stands for.

Neither torch nor Optuna is imported where every search is over.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from resnet_lab.networks.counted import Cost
from resnet_lab.runs.plan import PlannedSearch
from resnet_lab.runs.searches import SearchTrial, earlier_searches, load_trials
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.network import resolve_network, weighted_layers
from resnet_lab.spec.resolve import Facts, identity, run_at
from resnet_lab.spec.run import RunSpec, fingerprint
from resnet_lab.spec.search import MOST_IN_A_ROW, Point, SearchedCell, constraints, random_point
from resnet_lab.study.tasks import Task
from resnet_lab.text import plural

SAMPLES = 5
"""Points drawn at random that say at planning what a trial costs."""


@dataclass(frozen=True)
class SearchStanding:
    """A search as it stands when a study is planned."""

    searched: SearchedCell
    identity: str
    trials: tuple[SearchTrial, ...]
    """What it has proposed so far."""
    samples: tuple[Task, ...] = ()
    """Runs of trials as it may propose them; none of one that is over."""
    finalist: Task | None = None
    """A run of a finalist as it may find it."""
    planned: PlannedSearch | None = None
    """As it was written down when it ended; None while it goes on."""

    @property
    def runs_left(self) -> int:
        """Runs that its budget still holds."""
        spec, spent = self.searched.spec, sum(trial.state in ("complete", "pruned", "failed") for trial in self.trials)
        return 0 if self.planned else (spec.trials - spent) * spec.seeds_per_trial

    @property
    def points(self) -> tuple[Point, ...]:
        """Its finalists, in the order of their cells."""
        by_number = {trial.number: trial.point for trial in self.trials}
        return tuple(by_number[number] for number in (self.planned.finalists if self.planned else ()))


@dataclass(frozen=True)
class Trialed:
    """The run of a search's point, and what its network costs: `macs`, `params`, `layers`."""

    run: RunSpec
    fingerprint: str
    costs: dict[str, float]


def checker(searched: SearchedCell, facts: Facts) -> Callable[[Point], Trialed | str]:
    """Resolves and counts the network at a point: milliseconds. For a point that cannot be built it says why."""
    from resnet_lab.networks.cost import cost  # imports torch: nobody waits for it where every search is over

    network_of = cache(resolve_network)

    def check(point: Point) -> Trialed | str:
        try:
            run = run_at(searched, point, facts, network_of, trial=True)
            counted = cost(run.network, run.data.image_size)
        except SpecError as error:
            return str(error.problems[0])
        return Trialed(run, fingerprint(run), {"macs": counted.macs, "params": counted.params, "layers": weighted_layers(run.network)})

    return check


def progress_of(searched: SearchedCell, facts: Facts, studies: Path, name: str, planned: Iterable[PlannedSearch]) -> SearchStanding:
    """How far a search has come. `name`: of its study; `planned`: the searches of the study's stored plan, if there is one.

    Raises SpecError where a search that has not begun could never propose anything, StoreError where its file cannot be read.
    """
    mine = identity(searched, facts)
    trials = tuple(load_trials(studies, name, {searched.name: mine})[searched.name])
    ended = next((each for each in planned if (each.name, each.identity) == (searched.name, mine) and each.ended), None)
    if ended and not set(ended.finalists) <= {trial.number for trial in trials}:
        ended = None  # what it proposed was lost: it is gone through again, and its runs are in the store
    spec = searched.spec
    spent = sum(trial.state in ("complete", "pruned", "failed") for trial in trials)
    if (
        ended
        and ended.spec["finalists"] == spec.finalists
        and (ended.spec["trials"] == spec.trials or spent < ended.spec["trials"] <= spec.trials)
    ):
        return SearchStanding(searched, mine, trials, planned=replace(ended, spec=_plain(searched)))
    samples, point = samples_of(searched, facts)
    run = run_at(searched, point, facts)
    return SearchStanding(searched, mine, trials, samples, replace(samples[0], run=run, fingerprint=fingerprint(run), seed=0))


def begun_otherwise(found: SearchStanding, studies: Path, name: str) -> str:
    """A sentence where a search of this name was begun with another space or recipe; its runs are found again where they are the same."""
    others = {one for search, one in earlier_searches(studies, name) if search == found.searched.name} - {found.identity}
    if not others or found.trials:
        return ""
    return f"the search {found.searched.name} was changed after it began: it starts again and reuses the runs that are the same"


def samples_of(searched: SearchedCell, facts: Facts) -> tuple[tuple[Task, ...], Point]:
    """Runs of trials at a few feasible points, and the first of these.

    Raises SpecError where none of MOST_IN_A_ROW points drawn at random meets the constraints: it names the nearest.
    """
    check, random, bounds = checker(searched, facts), Random(searched.spec.seed), constraints(searched.spec.constraints)[0]
    found: list[Task] = []
    points: list[Point] = []
    nearest: tuple[float, Trialed, Point] | None = None
    why = ""
    for _ in range(MOST_IN_A_ROW):
        point = random_point(searched.chosen, random)
        trialed = check(point)
        if isinstance(trialed, str):
            why = trialed
            continue
        worst = max((bound.violation(trialed.costs[bound.cost]) for bound in bounds), default=0.0)
        if worst <= 0:
            found.append(task_of(searched, trialed, facts, 0, searched.spec.seeds[0]))
            points.append(point)
            if len(found) == SAMPLES:
                break
        elif nearest is None or worst < nearest[0]:
            nearest = (worst, trialed, point)
    if found:
        return tuple(found), points[0]
    if nearest is None:
        raise SpecError.of(f"none of {MOST_IN_A_ROW:,} points drawn at random can be built; the last: {why}", key="search.space")
    costs = ", ".join(f"{nearest[1].costs[bound.cost]:,} {bound.cost}" for bound in bounds)
    at = ", ".join(f"{name} = {label:.3g}" if isinstance(label, float) else f"{name} = {label}" for name, label in nearest[2].items())
    raise SpecError.of(
        f"none of {MOST_IN_A_ROW:,} networks drawn at random meets {' and '.join(bound.text for bound in bounds)}; the nearest has {costs} ({at})",
        key="search.constraints",
    )


def search_line(each: SearchStanding) -> str:
    """What a search is going to do, in one line."""
    spec, left = each.searched.spec, each.runs_left
    budget = f"{plural(spec.trials, 'trial')}" + (f" of {plural(spec.seeds_per_trial, 'run')}" if spec.seeds_per_trial > 1 else "")
    done = "" if left == spec.trials * spec.seeds_per_trial else f", {left} of {spec.trials * spec.seeds_per_trial} runs to do"
    fields = ", ".join(path.partition(".")[2] for path in each.searched.paths)
    first = f"{len(each.searched.first)} given first, " if each.searched.first else ""
    return f"search {each.searched.name}: {first}{spec.sampler} over {fields}; {budget}{done}; then {plural(spec.finalists, 'finalist')}"


def planned_search(each: SearchStanding) -> PlannedSearch:
    """A search that goes on, as a plan has it."""
    searched = each.searched
    return PlannedSearch(searched.name, searched.arm, searched.axes, each.identity, _plain(searched), searched.precision)


def _plain(searched: SearchedCell) -> dict[str, Any]:
    """The search's fields as plain JSON values, of its shorter recipe those alone that were given."""
    plain: dict[str, Any] = json.loads(json.dumps({**vars(searched.spec), "training": searched.training}))
    return plain


def task_of(searched: SearchedCell, trialed: Trialed, facts: Facts, number: int, seed: int) -> Task:
    """One run of a trial."""
    costs = trialed.costs
    return Task(
        cell=f"{searched.name} trial {number}",
        run=trialed.run,
        fingerprint=trialed.fingerprint,
        seed=seed,
        cost=Cost(int(costs["params"]), int(costs["macs"])),
        facts=facts(trialed.run.data),
        search=searched.name,
    )
