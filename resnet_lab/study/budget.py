"""As much of a study as fits a budget of time: how many of its seeds, and how much of its training.

Seeds come first, as many as can decide the claims at all: a claim that cannot be decided is not worth its time. Then the training grows to the
length that the scale asks for, since a shorter one is another question. What is left of the budget goes into more of the scale's seeds. Nothing
grows beyond the scale.

A proposal that is accepted is written down, and later calls with the same budget run it whatever a new measurement would say:

    STUDIES/NAME/SCALE/budgets.json    tag -> seeds, what is set over the scale, words
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.runs.store import write_atomically, writing
from resnet_lab.runs.units import duration
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.shortening import Length, as_overrides
from resnet_lab.study.planning import Task

if TYPE_CHECKING:
    from resnet_lab.study.predicting import Prediction


@dataclass(frozen=True)
class Proposal:
    """A scale that fits a budget."""

    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    """What is set over the scale, as `--set` takes it; empty where the whole training fits."""
    says: str
    """What was cut, and what that means for the claims."""
    whole: bool
    """Nothing was cut: the scale as it is fits."""
    seconds: float
    """Predicted wall time."""


@dataclass(frozen=True)
class Sizes:
    """What can be chosen, and what it costs."""

    tasks: Sequence[Task]
    """All runs of the study, seeds outermost."""
    missing: Sequence[Task]
    length: Length | None
    """None: some cells have a length of their own, and only seeds can be left out."""
    prediction: "Prediction"
    workers: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """All of them, in order."""
        return tuple(dict.fromkeys(task.seed for task in self.tasks))

    @property
    def full(self) -> int:
        """The whole length."""
        return self.length.full if self.length else 1

    def seconds(self, seeds: int, length: int) -> float:
        """Wall time of the first so many seeds at a length; what is done already costs nothing where nothing is cut short."""
        chosen = set(self.seeds[:seeds])
        if length == self.full:
            runs = [task for task in self.missing if task.seed in chosen]
        else:
            runs = [_shorter(task, length / self.full) for task in self.tasks if task.seed in chosen]
        return self.prediction.wall(runs, self.workers)


def propose(sizes: Sizes, budget: float, *, deciding: int, name: str) -> Proposal:
    """The largest seeds x length that fit a budget in seconds. `deciding`: the fewest seeds that can decide the claims; `name`: of the scale.

    Raises SpecError where not even one seed of the shortest training fits.
    """
    whole, most = sizes.seconds(len(sizes.seeds), sizes.full), len(sizes.seeds)
    if whole <= budget:
        return Proposal(sizes.seeds, (), "", True, whole)
    least = sizes.length.least if sizes.length else 1
    count = next((n for n in range(min(deciding, most), 0, -1) if sizes.seconds(n, least) <= budget), 0)
    if not count:
        smallest = f"one seed{f' with {sizes.length.words(least)}' if sizes.length else ''}"
        needed = duration(sizes.seconds(1, least), rough=True)
        raise SpecError.of(f"nothing fits into {duration(budget, rough=True)}: {smallest} takes about {needed}", key="--budget")
    length = _largest(count, least, sizes, budget)
    while length == sizes.full and count < most and sizes.seconds(count + 1, length) <= budget:
        count += 1
    cut = as_overrides(sizes.length.at(length)) if sizes.length and length < sizes.full else ()
    says = _says(sizes, count, length, deciding, f"{name} in a budget of {duration(budget, rough=True)}")
    return Proposal(sizes.seeds[:count], cut, says, False, sizes.seconds(count, length))


def accepted(folder: Path, tag: str) -> Proposal | None:
    """What was accepted under a tag, by the folder of the study that it is a part of."""
    found = _all_accepted(folder).get(tag)
    return found and replace(found, seeds=tuple(found.seeds), overrides=tuple(found.overrides))


def accept(folder: Path, tag: str, proposal: Proposal) -> None:
    """Write a proposal down as accepted. Raises StoreError where it cannot be written."""
    every = {name: asdict(one) for name, one in {**_all_accepted(folder), tag: proposal}.items()}
    with writing(folder):
        write_atomically(folder / "budgets.json", json.dumps(every, indent=1).encode())


def _all_accepted(folder: Path) -> Mapping[str, Proposal]:
    try:
        return {tag: Proposal(**plain) for tag, plain in json.loads((folder / "budgets.json").read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _largest(count: int, least: int, sizes: Sizes, budget: float) -> int:
    """The longest training of so many seeds that fits; `least` does."""
    low, high = least, sizes.full + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sizes.seconds(count, middle) <= budget else (low, middle)
    return sizes.length.rounded(low) if sizes.length else low


def _shorter(task: Task, share: float) -> Task:
    iterations = max(1, round((task.run.training.iterations or 0) * share))
    return replace(task, run=replace(task.run, training=replace(task.run.training, iterations=iterations)))


def _says(sizes: Sizes, count: int, length: int, deciding: int, what: str) -> str:
    said = [f"{what}: {count} of {len(sizes.seeds)} seeds" + (f", {sizes.length.words(length)}." if sizes.length else ".")]
    if length < sizes.full:
        said.append("A shorter training may show other effects than the whole one.")
    if count < deciding:
        said.append(f"{count} seed{'s' if count > 1 else ''} cannot decide the claims: it takes at least {deciding}.")
    return " ".join(said)
