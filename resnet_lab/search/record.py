"""A proposal of a search in Optuna's words: its parameters as they are suggested, and the whole of it as a trial of a database."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from optuna.distributions import CategoricalChoiceType
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from resnet_lab.runs.searches import SearchTrial
from resnet_lab.spec.search import Label, Parameter, SearchSpec

STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""State of a proposal -> Optuna's. An infeasible one breaks one of its constraints, which is how it is told from one that was ended early."""
UNBUILT = "can be built"
"""Constraint that a point breaks of which no network can be built."""


class Suggesting(Protocol):
    """A trial of Optuna that is still asked for its parameters."""

    def suggest_categorical(self, name: str, choices: Sequence[CategoricalChoiceType]) -> CategoricalChoiceType:
        """One of the choices."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """An integer within a range."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        """A number within a range."""


def suggest(trial: Suggesting, chosen: Sequence[Parameter]) -> dict[str, Label]:
    """The point that a trial stands for: what is open by what was suggested before, in the order of the parameters."""
    point: dict[str, Label] = {}
    with quiet():
        for each in chosen:
            if each.is_open(point):
                point[each.name] = _label(trial, each)
    return point


def frozen(trial: SearchTrial, chosen: Sequence[Parameter], spec: SearchSpec) -> FrozenTrial:
    """A proposal as a trial that `add_trial` takes, with what a dashboard shows beside its parameters; the rest stands in searches.jsonl.

    Each attribute is a millisecond of the database.
    """
    fixed = FixedTrial(dict(trial.point))
    suggest(fixed, chosen)
    about = {name: getattr(trial, name) for name in ("number", "fingerprint", "macs", "params", "seconds")}
    return create_trial(
        state=STATES[trial.state],
        values=list(trial.values) if trial.state == "complete" else None,
        params=fixed.params,
        distributions=fixed.distributions,
        user_attrs=about | {"status": trial.state} | ({"why": trial.why[:1000]} if trial.why else {}),
        intermediate_values={int(step): value for step, value in trial.curve.items()},
        constraints=trial.constraints or ({UNBUILT: 1.0} if trial.state == "infeasible" else {}),
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's warnings, of parts that may change between its versions and of ranges that end between two of their steps."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna|resnet_lab.search")
        yield


def _label(trial: Suggesting, parameter: Parameter) -> Label:
    name, low, high, step = parameter.name, parameter.low, parameter.high, parameter.step
    if parameter.labels:
        label = trial.suggest_categorical(name, parameter.labels)
        assert label is not None
        return label
    if parameter.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=parameter.log)
    return trial.suggest_float(name, low, high, step=step, log=parameter.log)
