"""A study's searches at work: the runs that the driver gets from them, and what their results say to each.

`resnet_lab.search` proposes and remembers; here a proposal becomes runs of the study like any others, and their results its score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from resnet_lab.runs.files import StoreError
from resnet_lab.runs.plan import PlannedSearch
from resnet_lab.runs.record import RunRecord
from resnet_lab.runs.searches import SearchTrial, append_trial
from resnet_lab.runs.store import Failure
from resnet_lab.search.finalists import finalists
from resnet_lab.search.importance import importance
from resnet_lab.search.loop import Checked, Search
from resnet_lab.spec.data import image_counts
from resnet_lab.spec.resolve import Facts
from resnet_lab.spec.search import Point
from resnet_lab.spec.training import total_epochs
from resnet_lab.study.searches import SearchStanding, Trialed, checker, planned_search, task_of
from resnet_lab.study.tasks import Interrupted, Task

DIVERGED = 100.0
"""The error, in percent, that a diverged run counts as."""


@dataclass
class _Open:
    """A trial in flight: which of its runs are still to come, and what the others brought."""

    number: int
    waiting: list[Task]
    scores: dict[int, float] = field(default_factory=dict)
    told: int = 0
    seconds: float = 0.0
    diverged: int = 0


class Searching:
    """The searches of a study at work: gives the driver the next run, and takes what came of it. They take turns, the one that has spent least first.

    `changed` is called with every trial that was written down. Raises StoreError where one cannot be.
    """

    def __init__(
        self, found: Sequence[SearchStanding], facts: Facts, studies: Path, name: str, changed: Callable[[SearchTrial], None] | None = None
    ) -> None:
        self._facts = facts
        self._open: dict[str, dict[int, _Open]] = {each.searched.name: {} for each in found}
        self._cells = {each.searched.name: each.searched for each in found}
        self._checks = {each.searched.name: checker(each.searched, facts) for each in found}

        self.insist: Callable[[Callable[[], None]], None] = lambda write: write()
        """How a line is written: a driver tries again for a while."""

        def write(trial: SearchTrial) -> None:
            self.insist(lambda: append_trial(studies, name, trial))
            if changed is not None:
                changed(trial)

        def loop(each: SearchStanding) -> Search:
            cell = each.searched
            check = self._checks[cell.name]

            def checked(point: Point) -> Checked:
                trialed = check(point)
                return Checked("", {}, trialed) if isinstance(trialed, str) else Checked(trialed.fingerprint, trialed.costs)

            return Search(
                cell.spec, cell.chosen, checked, name=cell.name, identity=each.identity, trials=each.trials, first=cell.first, write=write
            )

        self.searches = {each.searched.name: loop(each) for each in found}

    @property
    def over(self) -> bool:
        """Whether every search has ended."""
        return not any(self._open.values()) and all(search.over for search in self.searches.values())

    def next(self) -> Task | None:
        """The next run to be trained; None where all that is left waits for runs in flight."""
        for name in sorted(self.searches, key=lambda name: self._spent(name)):
            for trial in self._open[name].values():
                if trial.waiting and self._may_go(name, trial):
                    return trial.waiting.pop(0)
            if (trial_asked := self.searches[name].ask()) is not None:
                self._begin(name, trial_asked)
                return self._open[name][trial_asked.number].waiting.pop(0)
        return None

    def ended(self, task: Task, record: RunRecord) -> None:
        """A run of a trial is in the store."""
        trial = self._open[task.search].get(_number(task))
        if trial is None:  # another of its runs has failed
            return
        trial.scores[task.seed] = DIVERGED if record.status == "diverged" else record.validation_error or 0.0
        trial.diverged += record.status == "diverged"
        trial.seconds += record.seconds
        pruned = False
        if self._cells[task.search].spec.pruner == "wilcoxon":
            pruned = self.searches[task.search].report(
                trial.number, task.seed - self._cells[task.search].spec.seeds[0], trial.scores[task.seed]
            )
        if pruned or len(trial.scores) == self._cells[task.search].spec.seeds_per_trial:
            self._tell(task.search, trial, pruned=pruned and bool(trial.waiting))

    def paused(self, task: Task, where: Interrupted) -> Task | None:
        """A run of a trial stopped to be looked at: the task that goes on with it, or None where it was pruned."""
        trial, search = self._open[task.search][_number(task)], self.searches[task.search]
        prune = False
        for epoch, error in enumerate(where.errors[trial.told :], trial.told + 1):
            prune = search.report(trial.number, epoch, DIVERGED if error is None else error)
        trial.told = len(where.errors)
        if not prune:
            return replace(task, pause=_next_pause(self._cells[task.search].spec.pruner, trial.told, _epochs(task)))
        trial.seconds += where.seconds
        self._tell(task.search, trial, pruned=True)
        return None

    def failed(self, task: Task, failure: Failure) -> None:
        """A run of a trial has failed for good, and its trial with it."""
        trial = self._open[task.search].get(_number(task))
        if trial is not None:
            self._tell(task.search, trial, why=failure.error[:1000])

    def planned(self, each: SearchStanding) -> PlannedSearch:
        """What a search ended with. Raises StoreError where it found nothing that could become a cell."""
        search, cell = self.searches[each.searched.name], each.searched
        best = finalists(cell.spec, search.trials)
        if not best:
            raise StoreError(f"the search {cell.name} found no network: {search.ended}; `resnet-lab status` shows why its runs failed")
        counted = importance(cell.spec, cell.chosen, search.trials)
        numbers = tuple(trial.number for trial in best)
        return replace(planned_search(each), finalists=numbers, ended=search.ended, importance=counted)

    def _begin(self, name: str, trial: SearchTrial) -> None:
        trialed, cell = self._checks[name](trial.point), self._cells[name]
        assert isinstance(trialed, Trialed)  # it was checked when it was proposed
        tasks = [task_of(cell, trialed, self._facts, trial.number, seed) for seed in cell.spec.seeds]
        if cell.spec.pruner in ("median", "hyperband"):
            tasks = [replace(task, pause=_next_pause(cell.spec.pruner, 0, _epochs(task))) for task in tasks]
        self._open[name][trial.number] = _Open(trial.number, tasks)

    def _may_go(self, name: str, trial: _Open) -> bool:
        """Wilcoxon looks at a trial seed by seed: the next one waits for the one before."""
        spec = self._cells[name].spec
        return spec.pruner != "wilcoxon" or spec.seeds_per_trial - len(trial.waiting) == len(trial.scores)

    def _tell(self, name: str, trial: _Open, *, pruned: bool = False, why: str = "") -> None:
        self.searches[name].tell(trial.number, trial.scores, seconds=trial.seconds, diverged=trial.diverged, pruned=pruned, why=why)
        del self._open[name][trial.number]

    def _spent(self, name: str) -> float:
        """Share of its budget that a search has proposed."""
        search = self.searches[name]
        return sum(trial.state != "infeasible" for trial in search.trials) / self._cells[name].spec.trials


def _number(task: Task) -> int:
    return int(task.cell.rpartition(" ")[2])


def _epochs(task: Task) -> int:
    return total_epochs(image_counts(task.run.data, task.facts)[0], task.run.training)


def _next_pause(pruner: str, done: int, epochs: int) -> int | None:
    """Epochs after which a pruner looks next: doubled each time, for Hyperband tripled (its reduction factor). None: the run goes on to its end."""
    at = 1
    while at <= done:
        at *= 3 if pruner == "hyperband" else 2
    return at if at < epochs else None
