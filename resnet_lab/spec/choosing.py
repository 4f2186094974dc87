"""Fields that a question leaves to the machine (`"auto"`), and what they became: made once for a study, the same for all its arms."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from resnet_lab.spec.run import RunSpec

AUTO = "auto"
AUTOMATIC: dict[str, tuple[str | bool, ...]] = {"training.precision": ("bf16", "fp32"), "training.compile": (True, False)}
"""Fields that take `"auto"`, and what they may become."""


@dataclass(frozen=True)
class Choice:
    """What a field became that was left to the machine, and why."""

    field: str
    """As in `training.precision`."""
    value: str | bool
    why: str
    """With what was measured, and on what."""

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else str(self.value).lower()
        return f"{self.field} is {value}: {self.why}"


def left_open(run: RunSpec) -> tuple[str, ...]:
    """The fields of a run that are still to be chosen; a run has no fingerprint before."""
    return tuple(field for field in AUTOMATIC if getattr(run.training, field.partition(".")[2]) == AUTO)


def settled(run: RunSpec, choices: Iterable[Choice]) -> RunSpec:
    """The run with what was chosen in place of every `"auto"`; what was not chosen stays open."""
    fields = left_open(run)
    values: dict[str, Any] = {choice.field.partition(".")[2]: choice.value for choice in choices if choice.field in fields}
    return replace(run, training=replace(run.training, **values)) if values else run


def possible(run: RunSpec) -> Iterator[RunSpec]:
    """The runs that a run with open fields may become."""
    fields = left_open(run)
    for values in product(*(AUTOMATIC[field] for field in fields)):
        yield settled(run, (Choice(field, value, "") for field, value in zip(fields, values, strict=True)))
