"""plan.json: the resolved plan that a study last drove, from which report, status and resume read what belongs to it.

STUDIES/NAME/SCALE/plan.json           the study as shipped
STUDIES/NAME/SCALE@TAG/plan.json       a variant (`--set`, `--tag`): nothing is overwritten
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from resnet_lab.content import content_of
from resnet_lab.runs.files import LARGEST_JSON, StoreError, fitting, from_json, from_plain, inside, reading, write_atomically, writing
from resnet_lab.spec.bounds import MOST_RUNS, MOST_SEEDS, Whole
from resnet_lab.spec.claims import Claim, claim_problems, problems_beside
from resnet_lab.spec.names import is_name, not_a_name
from resnet_lab.spec.run import RunSpec
from resnet_lab.spec.search import SearchSpec
from resnet_lab.text import unprintable

PLAN_FORMAT = 1
REMEDY = "rename it and run the study again, finished runs are kept"
BESIDE_STUDIES = ("runs", "cache")
"""Folders in a studies folder that are no studies: the run store and the decoded images."""


@dataclass(frozen=True)
class PlannedCell:
    """One cell of the study (an arm at a grid point) and what its network costs."""

    name: str
    """As claims call it: `plain/56`."""
    arm: str
    axes: dict[str, int | float | str | bool]
    """Grid axis (short name) -> value, in the order of the grid."""
    fingerprint: str
    spec: dict[str, Any]
    """The resolved RunSpec as plain values."""
    params: int
    macs: int
    """Multiply-adds of one image (convolutions and linear layers)."""
    layers: int
    """Weighted layers."""


@dataclass(frozen=True)
class PlannedSearch:
    """One search of the study: an arm at a grid point that has a space. What it proposed is in searches.jsonl (runs/searches.py)."""

    name: str
    """Of the searched cell, `tpe` or `plain/20`; its finalists are the cells NAME/1, NAME/2, ..."""
    arm: str
    axes: dict[str, int | float | str | bool]
    identity: str
    """Digest of what is searched, without how long and for how many finalists."""
    spec: dict[str, Any]
    """Its SearchSpec as plain values."""
    precision: str
    """What the study's `precision = "auto"` came to."""
    finalists: tuple[int, ...] = ()
    """Numbers of the trials that became cells, in the order of the cells; empty while it goes on."""
    ended: str = ""
    """Why it is over, in words; empty while it goes on."""
    importance: dict[str, float] = field(default_factory=dict)
    """Parameter -> its share of what separates the best tenth of the trials from the rest (PED-ANOVA, Watanabe et al. 2023); adds up to 1."""

    @property
    def finalist_cells(self) -> dict[str, int]:
        """Cell -> number of the trial that became it, the best first; empty while the search goes on."""
        return {f"{self.name}/{place}": number for place, number in enumerate(self.finalists, 1)}


@dataclass(frozen=True)
class Plan:
    """A study's plan. `registered` holds the digests of the claims that stood before the first run; later ones are post hoc."""

    ablation: str
    scale: str
    tag: str
    """Empty for the study as shipped."""
    question: str
    source: str
    scale_description: str
    """What this scale can show, in the ablation's own words."""
    evidence: bool
    """False: the report is stamped "not evidence"."""
    varies: tuple[str, ...]
    axes: tuple[str, ...]
    """Short names of the grid's axes."""
    seeds: tuple[Whole, ...]
    cells: tuple[PlannedCell, ...]
    claims: tuple[Claim, ...]
    """Those that apply at this scale."""
    registered: tuple[str, ...] | None
    """None until the first run has begun."""
    warnings: tuple[str, ...]
    data_description: str
    toml: str
    """The ablation as it was read; from the first run on, as it was registered."""
    file: str
    """Where the ablation was read; its bare name where the study was imported."""
    overrides: tuple[str, ...]
    """`--set` as typed."""
    command: str
    created: str
    """When it was planned; from the first run on, when the plan was made by which its claims were registered."""
    commit: str
    """Of the working tree it was planned from, as `created`; empty where there is none."""
    changes: tuple[str, ...] = ()
    """What was changed in the recipe of its cells after the study first ran, in words; also among the warnings."""
    searches: tuple[PlannedSearch, ...] = ()
    """Those whose finalists are, or will be, among its cells."""
    registered_claims: tuple[Claim, ...] = ()
    """The claims as they stood at the first run: what a claim that was changed since expected then."""
    registered_seeds: int = 0
    """How many seeds were planned at the first run; 0 before it."""
    trial: bool = False
    """A quick try: it registers no claims and judges none."""

    @property
    def name(self) -> str:
        """The folder's path under studies and reports: NAME/SCALE or NAME/SCALE@TAG."""
        return study_name(self.ablation, self.scale, self.tag)

    def save(self, studies: Path) -> Path:
        """Write plan.json; returns its path. Raises StoreError where it cannot be written."""
        path = plan_path(studies, self.name)
        with writing(path.parent):
            write_atomically(path, self.as_text().encode())
        return path

    def as_text(self) -> str:
        """The plan as JSON with one line per cell: thousands of cells are written quickly, and a person can still read and compare them."""
        plain: dict[str, Any] = {"format": PLAN_FORMAT, **vars(self), "cells": []}
        plain |= {name: [asdict(claim) for claim in getattr(self, name)] for name in ("claims", "registered_claims")}
        plain["searches"] = [asdict(search) for search in self.searches]
        cells = ",\n  ".join(json.dumps(vars(cell)) for cell in self.cells)
        return json.dumps(plain, indent=1).replace('"cells": []', f'"cells": [\n  {cells}\n ]', 1)


def as_registered(plan: Plan) -> tuple[Claim, ...]:
    """The registered claims as they stood at the first run; of a plan that does not have them, those of its claims that are unchanged."""
    return plan.registered_claims or tuple(claim for claim in plan.claims if claim.digest in (plan.registered or ()))


def same_study(plan: Plan, other: Plan) -> bool:
    """Whether two plans are of the same runs, claims and words, whenever and by whichever command they were made."""
    return replace(plan, command="", created="", commit="") == replace(other, command="", created="", commit="")


def study_name(ablation: str, scale: str, tag: str) -> str:
    """NAME/SCALE, or NAME/SCALE@TAG for a variant."""
    return f"{ablation}/{scale}@{tag}" if tag else f"{ablation}/{scale}"


def plan_path(studies: Path, name: str) -> Path:
    """Where the plan of a study lies. Raises StoreError for a name that leads out of the studies folder, or to what lies in it beside the studies."""
    if (first := name.partition("/")[0]) in BESIDE_STUDIES:
        raise StoreError(f"a study cannot be called {first!r}: {studies / first} holds something else; choose another name")
    return inside(studies, name) / "plan.json"


def load_plan(studies: Path, name: str) -> Plan | None:
    """The plan last driven, or None where the study never ran. Raises StoreError where the file cannot be used, or is of another study."""
    path = plan_path(studies, name)
    try:
        with reading(path):
            content = content_of(path, at_most=LARGEST_JSON)
    except (FileNotFoundError, NotADirectoryError):
        return None
    plan = parse_plan(content, str(path))
    if plan.name != name:  # its looks and its report would be taken for those of the other
        raise StoreError(f"{path} is the plan of {plan.name}: move its folder back, or remove it")
    return plan


def study_names(studies: Path) -> list[str]:
    """The names of the studies that a folder has a plan of, in order."""
    return sorted(path.parent.relative_to(studies).as_posix() for path in studies.glob("*/*/plan.json"))


def driven_plan(studies: Path, name: str) -> Plan:
    """The plan of a study that was driven a moment ago. Raises StoreError where somebody took it away."""
    plan = load_plan(studies, name)
    if plan is None:
        raise StoreError(f"the plan of {name} is gone from {studies}")
    return plan


def parse_plan(content: bytes, path: str, tag: str = "") -> Plan:
    """The plan in a plan.json's content, under another `tag` where one is given; `path` is named in errors.

    Raises StoreError where it cannot be used, or where its names are none: folders are called by them, and it may come from elsewhere.
    """
    plan = from_json(Plan, content, path, newest=PLAN_FORMAT, remedy=REMEDY)
    plan = replace(plan, tag=tag or plan.tag)
    named = [("an ablation", plan.ablation), ("a scale", plan.scale), *([("a variant", plan.tag)] if plan.tag else [])]
    named += [("an arm", arm) for arm in dict.fromkeys(cell.arm for cell in plan.cells)] + [
        ("a claim", claim.name) for claim in plan.claims
    ]
    for what, name in named:
        if not is_name(name):
            raise StoreError(f"{path}: {not_a_name(name, what)}")
    for cell in plan.cells:
        if not re.fullmatch("[0-9a-f]{64}", cell.fingerprint):  # a run's folder is called by it
            raise StoreError(f"{path}: {cell.fingerprint!r} is no fingerprint")
    with fitting(path, REMEDY):
        from_plain(tuple[RunSpec, ...], [cell.spec for cell in plan.cells])
        from_plain(tuple[SearchSpec, ...], [search.spec for search in plan.searches])
    if wrong := next(_contradictions(plan), None):
        raise StoreError(f"{path} contradicts itself ({wrong}): {REMEDY}")
    return plan


def _contradictions(plan: Plan) -> Iterator[str]:
    """What each field may say, but not all of them together."""
    cells = [cell.name for cell in plan.cells]
    if len(plan.seeds) > MOST_SEEDS or len(cells) * len(plan.seeds) > MOST_RUNS:
        yield f"{len(cells):,} cells with {len(plan.seeds):,} seeds: at most {MOST_SEEDS:,} seeds and {MOST_RUNS:,} runs"
    if not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        yield "no seeds, or one of them twice"
    if not (cells or plan.searches) or len(set(cells)) < len(cells):
        yield "no cells, or two of one name"
    if any(tuple(cell.axes) != plan.axes for cell in plan.cells):
        yield "a cell does not lie on its grid"
    if any(unprintable(text) for cell in plan.cells for text in (cell.name, *cell.axes, *map(str, cell.axes.values()))):
        yield "a cell's name has characters that cannot be shown"
    for claim in plan.claims:
        resolved = replace(claim, trend=None)
        found = [*claim_problems(resolved), *(() if plan.searches else problems_beside(resolved, plan.cells))]
        yield from (f"claim {claim.name!r}: {problem}" for problem in found)
