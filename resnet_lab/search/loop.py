"""A search as a conversation: ask for the next trial, train it, tell how it ended.

The list of trials is the truth (runs/searches.py), Optuna's study in memory is made of it. Every proposal has a number, and a sampler of its own,
seeded by (seed, search, number): with one worker a proposal follows from the trials before it, so that a search repeats exactly, and one that
was killed continues as if it had not been. A number that is missing in the list was a duplicate, which nobody needs to remember.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import optuna
from optuna.samplers import NSGAIISampler, RandomSampler
from optuna.trial import Trial, TrialState

from resnet_lab.runs.searches import SearchTrial, State
from resnet_lab.search.record import STATES, quiet, suggest
from resnet_lab.search.samplers import is_stuck, pruner, sampler
from resnet_lab.spec.search import MOST_IN_A_ROW, Label, Parameter, Point, SearchSpec, constraints


@dataclass(frozen=True)
class Checked:
    """What a point comes to before anything is trained."""

    fingerprint: str
    """Of its runs; empty where no network can be built."""
    costs: Mapping[str, float]
    """`macs`, `params`, `layers`."""
    why: str = ""
    """Why it cannot be built."""


class Search:
    """Proposes the trials of one searched cell, in the budget of its SearchSpec."""

    def __init__(
        self,
        spec: SearchSpec,
        chosen: Sequence[Parameter],
        check: Callable[[Point], Checked],
        *,
        name: str,
        identity: str,
        trials: Sequence[SearchTrial] = (),
        first: Sequence[Point] = (),
        write: Callable[[SearchTrial], None] = lambda trial: None,
    ) -> None:
        """`trials`: what an earlier drive wrote. `first`: points, or parts of points, proposed before all others. `write`: writes a trial down.

        Where it raises, `ask` and `tell` raise; nothing is lost, and the next call of either writes what was left.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec, self._chosen, self._check, self._write = spec, chosen, check, write
        self._name, self._identity, self._first = name, identity, first
        self._bounds = constraints(spec.constraints)[0]
        self._study = optuna.create_study(study_name=name, directions=["minimize"] * len(spec.objectives), pruner=pruner(spec))
        self._trials: dict[int, SearchTrial] = {}
        self._running: dict[int, Trial] = {}
        self._left: list[int] = []
        """Running trials that nobody trains yet."""
        self._unwritten: list[SearchTrial] = []
        self._checked: dict[frozenset[tuple[str, Label]], Checked] = {}
        self._seen: set[str] = set()
        """Fingerprints of all that was proposed."""
        self._untold: list[int] = []
        """Infeasible trials that a Gaussian process is yet to be told of."""
        self._useless = 0
        """Infeasible trials that the sampler was told of."""
        self._next = 0
        self._last = -1
        """Number of the last proposal that counted."""
        self._spent = 0
        """Trials of the budget, running ones included."""
        for trial in sorted(trials, key=lambda each: each.number):
            self._replay(trial)

    @property
    def trials(self) -> list[SearchTrial]:
        """All proposals but duplicates, by number."""
        return [self._trials[number] for number in sorted(self._trials)]

    @property
    def over(self) -> bool:
        """Whether nothing is running and nothing more will be asked for."""
        return not self._running and self._is_asked_out

    @property
    def ended(self) -> str:
        """Why the search is over, in a sentence; empty while it goes on."""
        if not self.over:
            return ""
        if self._spent >= self._spec.trials:
            return f"all {self._spec.trials} trials are done"
        why = "had been tried before or break a constraint" if self._bounds else "had been tried before"
        return f"{self._spent} of {self._spec.trials} trials were found: the next {MOST_IN_A_ROW} proposals in a row {why}"

    def ask(self) -> SearchTrial | None:
        """The next trial to train, written down; those that an earlier drive left running come first.

        None where the budget is spent, the rest of it is running, or nothing new is found.
        """
        self._save()
        while not self._left and not self._is_asked_out:
            self._propose()
            self._save()
        return self._trials[self._left.pop(0)] if self._left else None

    def report(self, number: int, step: int, value: float) -> bool:
        """Tell the pruner how a running trial does: the error after an epoch, or of a seed. True: end it.

        A step that is told again, by a run that was begun once more, is passed over.
        """
        trial = self._trials[number]
        if self._spec.pruner == "none" or str(step) in trial.curve:
            return False
        trial = self._trials[number] = replace(trial, curve={**trial.curve, str(step): value})
        is_last = self._spec.pruner == "wilcoxon" and len(trial.curve) == self._spec.seeds_per_trial
        return self._pruned_by(self._running[number], step, value) and not is_last

    def tell(
        self, number: int, scores: Mapping[int, float], *, seconds: float = 0.0, diverged: int = 0, pruned: bool = False, why: str = ""
    ) -> SearchTrial:
        """How a running trial ended; written down. `scores`: seed -> validation error in percent. With `why` it failed, and has no values."""
        state: State = "failed" if why else "pruned" if pruned else "complete"
        trial = self._trials[number]
        costs = {"validation_error": fmean(scores.values()), "macs": float(trial.macs), "params": float(trial.params)} if scores else {}
        trial = replace(
            trial,
            state=state,
            scores={str(seed): score for seed, score in scores.items()},
            values=tuple(costs[name] for name in self._spec.objectives) if state == "complete" else (),
            diverged=diverged,
            seconds=seconds,
            why=why,
        )
        self._finish(trial)
        self._unwritten.append(trial)
        self._save()
        return trial

    @property
    def _is_asked_out(self) -> bool:
        return self._spent >= self._spec.trials or self._in_a_row >= MOST_IN_A_ROW

    @property
    def _in_a_row(self) -> int:
        """Proposals since the last one that counted."""
        return self._next - 1 - self._last

    def _save(self) -> None:
        """Write down what changed. Where that is refused, it is kept for the next call."""
        while self._unwritten:
            self._write(self._unwritten[0])
            del self._unwritten[0]

    def _propose(self) -> None:
        """Make the next proposal, and keep it unless it is a duplicate."""
        self._settle()
        number = self._next
        seed = int.from_bytes(hashlib.sha256(f"{self._spec.seed} {self._name} {number}".encode()).digest()[:4])
        again = number - 1 - max(self._trials, default=-1)
        is_random = is_stuck(self._spec, again)
        self._study.sampler = RandomSampler(seed) if is_random else sampler(self._spec, seed, self._useless, again)
        asked = self._ask(self._first[number] if number < len(self._first) else {})
        point = suggest(asked, self._chosen)
        key = frozenset(point.items())
        is_new = key not in self._checked
        checked = self._checked[key] = self._check(point) if is_new else self._checked[key]
        if not is_new or checked.fingerprint in self._seen:
            self._study.tell(number, state=TrialState.FAIL)
            return
        trial = SearchTrial(
            search=self._name,
            identity=self._identity,
            number=number,
            state="running",
            point=point,
            proposed_by="first" if number < len(self._first) else "random" if is_random else "sampler",
            fingerprint=checked.fingerprint,
            macs=int(checked.costs.get("macs", 0)),
            params=int(checked.costs.get("params", 0)),
            layers=int(checked.costs.get("layers", 0)),
            constraints={each.text: each.violation(checked.costs[each.cost]) for each in self._bounds} if checked.fingerprint else {},
            why=checked.why,
        )
        if not checked.fingerprint or any(broken > 0 for broken in trial.constraints.values()):
            trial = replace(trial, state="infeasible")
        self._begin(trial, asked)
        self._unwritten.append(trial)

    def _ask(self, fixed: Point) -> Trial:
        """The next trial of the study in memory, with some or all of its parameters given."""
        if fixed:
            self._study.enqueue_trial(dict(fixed))
        trial = self._study.ask()
        assert trial.number == self._next
        self._next += 1
        if self._spec.sampler == "nsgaii":  # also of what was named or drawn at random: it may become a parent
            generations = sampler(self._spec, 0)
            assert isinstance(generations, NSGAIISampler)
            generation = generations.get_trial_generation(self._study, self._study.get_trials(deepcopy=False)[trial.number])
            generations.get_parent_population(self._study, generation)  # kept: asked for the first time, it comes in another order
        return trial

    def _begin(self, trial: SearchTrial, asked: Trial) -> None:
        """Take a proposal into account that is no duplicate."""
        self._trials[trial.number] = trial
        if trial.fingerprint:
            self._seen.add(trial.fingerprint)
        if (broken := _broken(trial)) is not None and (self._bounds or self._spec.sampler != "gp"):  # it wants the same ones of all trials
            asked.set_constraint("constraints", broken)
        if trial.state == "infeasible":
            self._untold.append(trial.number)
            self._settle()
        else:
            self._last = trial.number
            self._spent += 1
            self._running[trial.number] = asked
            self._left.append(trial.number)

    def _finish(self, trial: SearchTrial) -> None:
        """Take into account how a running trial ended."""
        self._trials[trial.number] = trial
        del self._running[trial.number]
        if trial.number in self._left:
            self._left.remove(trial.number)
        self._study.tell(trial.number, list(trial.values) if trial.state == "complete" else None, state=STATES[trial.state])

    def _settle(self) -> None:
        """Tell the sampler of infeasible trials.

        TPE learns from them as they are, and NSGA-II makes none of them a parent. A Gaussian process wants them with a value, which nobody measured, and
        has to wait until some were: the median of these, since the model of the constraint keeps it away; the worst where there is no constraint.
        """
        if not self._untold:
            return
        values: list[float] | None = None
        if self._spec.sampler == "gp":
            complete = [trial.values for trial in self._trials.values() if trial.state == "complete"]
            if not complete:
                return
            values = [(median if self._bounds else max)(column) for column in zip(*complete, strict=True)]
        for number in self._untold:
            self._study.tell(number, values, state=None if values else TrialState.PRUNED)
        self._useless += len(self._untold)
        self._untold = []

    def _replay(self, trial: SearchTrial) -> None:
        """Bring the study in memory to where an earlier drive had it with this trial."""
        while self._next < trial.number:
            self._study.tell(self._ask({}), state=TrialState.FAIL)
        self._settle()
        asked = self._ask(trial.point)
        point = suggest(asked, self._chosen)
        self._checked[frozenset(point.items())] = Checked(trial.fingerprint, {}, trial.why)
        self._begin(trial, asked)
        if trial.state not in ("running", "infeasible"):
            for step, value in trial.curve.items():
                self._pruned_by(asked, int(step), value)
            self._finish(trial)

    @staticmethod
    def _pruned_by(trial: Trial, step: int, value: float) -> bool:
        with quiet():
            trial.report(value, step)
            return trial.should_prune()


def _broken(trial: SearchTrial) -> float | None:
    """By which share a point breaks the constraint that it breaks most; 1 where nothing can be built of it; None where there is nothing to break."""
    return max(trial.constraints.values()) if trial.constraints else 1.0 if trial.state == "infeasible" else None
