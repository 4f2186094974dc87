"""searches.jsonl: what the searches of a study proposed and what came of it, one line per change; the last line of a proposal counts.

It lies beside plan.json. The runs themselves are in the run store like any others; a line says which they are.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AllowInfNan, StringConstraints

from resnet_lab.content import content_of
from resnet_lab.runs.files import LARGEST_JSON, StoreError, fitting, from_plain, inside, read_json, reading, writing
from resnet_lab.runs.plan import Plan, PlannedSearch
from resnet_lab.runs.record import Count, Fingerprint, Percent, Seconds
from resnet_lab.spec.search import SEARCH_SEEDS, Label, field_values, parameters

Finite = Annotated[float, AllowInfNan(False)]
Step = Annotated[str, StringConstraints(pattern="^[0-9]{1,10}$")]
State = Literal["running", "complete", "pruned", "infeasible", "failed"]


@dataclass(frozen=True)
class SearchTrial:
    """One proposal of a search. An infeasible one was not trained and is no part of the budget."""

    search: str
    """The searched cell: `tpe`, or with a grid `plain/20`."""
    identity: str
    """Digest of what was searched: a search that was changed begins anew."""
    number: Count
    """Counted from 0 over all proposals of its search."""
    state: State
    point: dict[str, Label]
    """Parameter -> label (spec/search.py)."""
    proposed_by: Literal["first", "sampler", "random"]
    """`first`: the ablation names it. `random`: the sampler had nothing new to propose."""
    fingerprint: Fingerprint | Literal[""] = ""
    """Of its runs; empty where no network can be built."""
    macs: Count = 0
    params: Count = 0
    layers: Count = 0
    constraints: dict[str, Finite] = field(default_factory=dict)
    """Constraint -> by which share it is broken; zero or below where it is met."""
    scores: dict[Step, Percent] = field(default_factory=dict)
    """Seed -> validation error in percent of its run; 100 for one that diverged."""
    curve: dict[Step, Percent] = field(default_factory=dict)
    """Step -> what a pruner was told: epochs and errors of a run, or seeds and their errors."""
    values: tuple[Finite, ...] = ()
    """Its objectives, in the order of the ablation: mean validation error in percent, then a cost."""
    diverged: Count = 0
    """Runs that diverged."""
    seconds: Seconds = 0.0
    """Training time of its runs."""
    why: str = ""
    """Why it failed, or cannot be built."""


def searches_path(studies: Path, name: str) -> Path:
    """Where the searches of a study are written down."""
    return inside(studies, name) / "searches.jsonl"


def append_trial(studies: Path, name: str, trial: SearchTrial) -> None:
    """Write down how a proposal stands. Raises StoreError where that cannot be done."""
    path = searches_path(studies, name)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if file.tell() and not _ends_whole(path):
                file.write(b"\n")  # a line that was cut short stays alone
            file.write(json.dumps(asdict(trial)).encode() + b"\n")


def load_trials(studies: Path, name: str, identities: Mapping[str, str]) -> dict[str, list[SearchTrial]]:
    """Searched cell -> its proposals by number, of the searches with these identities. A line that was cut short is left out.

    Raises StoreError for a file that cannot be read, or holds anything else.
    """
    found: dict[str, dict[int, SearchTrial]] = {search: {} for search in identities}
    for trial in _trials(searches_path(studies, name)):
        if identities.get(trial.search) == trial.identity:
            found[trial.search][trial.number] = trial
    return {search: [trials[number] for number in sorted(trials)] for search, trials in found.items()}


def trial_runs(studies: Path, plan: Plan) -> Iterator[tuple[PlannedSearch, SearchTrial, int]]:
    """(search, trial, seed) of every run that the searches of a study asked for. Raises StoreError as `load_trials` does."""
    found = load_trials(studies, plan.name, {search.name: search.identity for search in plan.searches}) if plan.searches else {}
    for search in plan.searches:
        for trial in found[search.name]:
            if trial.state != "infeasible":
                for seed in range(SEARCH_SEEDS, SEARCH_SEEDS + search.spec["seeds_per_trial"]):
                    yield search, trial, seed


def earlier_searches(studies: Path, name: str) -> set[tuple[str, str]]:
    """(searched cell, identity) of all searches that were begun here."""
    return {(trial.search, trial.identity) for trial in _trials(searches_path(studies, name))}


def _trials(path: Path) -> Iterator[SearchTrial]:
    try:
        with reading(path):
            content = content_of(path, at_most=LARGEST_JSON)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from parse_trials(content, str(path))


def parse_trials(content: bytes, path: str) -> Iterator[SearchTrial]:
    """What stands in searches.jsonl, line by line, but for lines that were cut short; `path` is named in errors. Raises StoreError for anything else."""
    for number, line in enumerate(content.splitlines(), 1):
        try:
            plain = read_json(line)
        except ValueError:
            continue
        with fitting(f"{path}:{number}", "move the file away, finished runs are kept"):
            trial = from_plain(SearchTrial, plain)
        yield trial


def check_trials(trials: Iterable[SearchTrial], plan: Plan, path: str) -> None:
    """Raise StoreError for proposals that the searches of a plan cannot have made, and where those are missing that became its cells."""
    searches = {(search.name, search.identity): search for search in plan.searches}
    numbers: dict[str, set[int]] = {search.name: set() for search in plan.searches}
    for trial in trials:
        if (search := searches.get((trial.search, trial.identity))) is None:  # of a search that was changed since
            continue
        numbers[search.name].add(trial.number)
        chosen = parameters(search.spec["space"])[0]
        try:
            field_values(chosen, trial.point)
            fits = {each.name for each in chosen if each.is_open(trial.point)} == set(trial.point)
        except ValueError:
            fits = False
        if not fits:
            raise StoreError(f"{path}: trial {trial.number} of {trial.search} is not in the space of its search")
        if trial.state == "complete" and not trial.values:
            raise StoreError(f"{path}: trial {trial.number} of {trial.search} is complete, and has no values")
    for search in plan.searches:
        if missing := set(search.finalists) - numbers[search.name]:
            raise StoreError(f"{path} lacks trial {min(missing)} of {search.name}, which became a cell")


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
