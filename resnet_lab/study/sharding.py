"""A share of a study for one of several processes that know nothing of each other, such as the tasks of a Slurm array.

A shard does its share of the runs into the shared run store and touches no database and no report; the next ordinary call collects them.
Share I of N (I from 0) is every N-th run in the order of the plan, so that the shares are equally long and balanced over seeds.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_lab.spec.errors import SpecError

if TYPE_CHECKING:  # the command line reads --shard before torch is needed
    from resnet_lab.study.tasks import Task


@dataclass(frozen=True)
class Shard:
    """Share `index` (from 0) of `count`."""

    index: int
    count: int

    def of(self, tasks: "Sequence[Task]") -> "list[Task]":
        """The tasks of this share."""
        return list(tasks[self.index :: self.count])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """The shard that `I/N` names; `auto` is that of this Slurm array task, if it is one; `none` is none.

    Raises SpecError for what is no shard.
    """
    if text == "auto":
        return _slurm(environment)
    if text == "none":
        return None
    index, slash, count = text.partition("/")
    if not slash or not index.isdigit() or not count.isdigit() or not int(index) < int(count):
        raise SpecError.of(f"{text!r} is no share: write I/N with I from 0 to N-1, as in 0/4", key="--shard")
    return Shard(int(index), int(count))


def _slurm(environment: Mapping[str, str]) -> Shard | None:
    """SLURM_ARRAY_TASK_ID counts from _MIN in steps of _STEP to _MAX; there are _COUNT tasks."""
    try:
        task, count = int(environment["SLURM_ARRAY_TASK_ID"]), int(environment["SLURM_ARRAY_TASK_COUNT"])
        first, step = int(environment.get("SLURM_ARRAY_TASK_MIN", "0")), int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
    except (KeyError, ValueError):
        return None
    return Shard((task - first) // step, count) if count > 1 else None
