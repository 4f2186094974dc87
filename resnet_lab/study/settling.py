"""Settling what a question leaves to the machine, once for a study: later calls take it from the plan, wherever they run."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from resnet_lab.runs.files import write_atomically, writing
from resnet_lab.runs.plan import Plan, load_plan
from resnet_lab.spec.choosing import Choice, left_open
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.resolve import Cell
from resnet_lab.spec.run import LATER_FIELDS

CHOICES = "choices.json"


def settle(
    cells: Sequence[Cell], *, studies: Path, name: str, varied: str, device: Callable[[], str], shares: bool = False
) -> tuple[Choice, ...]:
    """What the open fields of a study's cells become: as its plan has them, or that of the study it varies, else as measured here.

    `name` and `varied` are studies as under `studies`; `device` is asked only where something is measured. With `shares`, what is measured is
    written down in the study's folder, where shares that begin at the same time find it: they must all do the same runs.
    Raises StoreError where that cannot be written.
    """
    waiting = [cell for cell in cells if left_open(cell.spec)]
    own, base = (load_plan(studies, each) for each in (name, varied))
    known = _first_of_each([*_planned(waiting, own, its_own=True), *_planned(waiting, base, its_own=False)])
    if {field for cell in waiting for field in left_open(cell.spec)} <= {each.field for each in known}:
        return known
    if not shares:
        return _measured(waiting, device(), known)
    with _agreed(studies / name) as file:
        chosen = _measured(waiting, device(), _first_of_each([*known, *_read(file)]))
        write_atomically(file, json.dumps([asdict(each) for each in chosen], indent=1).encode())
        return chosen


def _measured(cells: Sequence[Cell], device: str, known: Sequence[Choice]) -> tuple[Choice, ...]:
    from resnet_lab.training.choosing import Candidate, choose  # imports torch: nobody waits for it where the plan says it all
    from resnet_lab.training.machine import is_here

    if not is_here(device):
        fields = dict.fromkeys(field for cell in cells for field in left_open(cell.spec))
        raise SpecError.of(
            f"this machine has no {device} to measure {', '.join(fields)} on: say what the nodes of the cluster can do, as in --set training.precision=bf16",
            key="--device",
        )
    return choose([Candidate(cell.name, cell.spec) for cell in cells], device, known=known)


def _first_of_each(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """The first choice of each field."""
    return tuple({each.field: each for each in reversed(choices)}.values())


def _planned(cells: Sequence[Cell], plan: Plan | None, *, its_own: bool) -> list[Choice]:
    """What a plan's cells of the same names have, all alike, in the fields that are open now: what was chosen there; of its own plan, any value."""
    if plan is None:
        return []
    specs = {cell.name: cell.spec for cell in plan.cells}
    said = {(choice.field, choice.value): choice for choice in plan.chosen}
    found: list[Choice] = []
    for field in dict.fromkeys(field for cell in cells for field in left_open(cell.spec)):
        section, _, item = field.partition(".")
        recipes = [specs[cell.name][section] for cell in cells if cell.name in specs and field in left_open(cell.spec)]
        values = {recipe.get(item, LATER_FIELDS[section].get(item)) for recipe in recipes}
        if len(values) == 1 and ((field, *values) in said or its_own):
            value = values.pop()
            found.append(said.get((field, value)) or Choice(field, value, f"the earlier runs of {plan.name} have it so"))
    return found


@contextmanager
def _agreed(folder: Path) -> Iterator[Path]:
    """The file of what the shares of a study agreed on, with nobody else at it."""
    with writing(folder), FileLock(folder / ".choices.lock"):
        yield folder / CHOICES


def _read(file: Path) -> list[Choice]:
    try:
        return [Choice(**each) for each in json.loads(file.read_bytes())]
    except FileNotFoundError:
        return []
