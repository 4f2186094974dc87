"""What happens to the runs of a study, told to its trials a little later and together: the database keeps no worker waiting.

What is not written yet when a driver dies is found out at the next start, from the run store and from the trials that it left RUNNING.
"""

from collections.abc import Callable

from resnet_lab.runs.record import RunRecord
from resnet_lab.study.trials import Trials


class Recorder:
    """Stands before a study's trials: the same methods, and `write`, which writes what they were told since in one transaction."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self._told: list[Callable[[dict[int, int]], None]] = []
        self._ids: dict[int, int] = {}
        """Number given out -> the trial's id in the storage, of runs that have not ended."""
        self._begun = 0

    def begin(self, cell: str, seed: int) -> int:
        """A run begins; returns the number that it is called by here."""
        number = self._begun = self._begun + 1

        def write(ids: dict[int, int]) -> None:
            ids[number] = self._trials.begin(cell, seed)

        self._told.append(write)
        return number

    def end(self, trial: int, record: RunRecord) -> None:
        """A run is in the store."""
        self._told.append(lambda ids: self._trials.end(ids.pop(trial), record))

    def fail(self, trial: int, error: str) -> None:
        """A run raised, was lost or was stopped."""
        self._told.append(lambda ids: self._trials.fail(ids.pop(trial), error))

    def write(self) -> None:
        """Write what was told; where that raises StoreError nothing of it is written, and the next call tries again."""
        if not self._told:
            return
        ids = dict(self._ids)
        with self._trials.together():
            for write in self._told:
                write(ids)
        self._told, self._ids = [], ids
