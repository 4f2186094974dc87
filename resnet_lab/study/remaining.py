"""How much longer a study takes: what was predicted of its runs, corrected by those that have finished since. No torch here.

What was predicted when a study was last driven lies beside its plan, in `prediction.json`, for whoever looks from another terminal.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from resnet_lab.runs.files import write_atomically


class Pace(Mapping[str, float]):
    """Seconds a run by its fingerprint: as its like took here, else as predicted times how the predictions have held so far."""

    def __init__(self, predicted: Mapping[str, float], places: int) -> None:
        self.predicted, self.places = dict(predicted), max(1, places)
        self._taken: dict[str, list[float]] = {}
        self._measured = self._foretold = 0.0

    def finished(self, fingerprint: str, seconds: float) -> None:
        """A run was done to its end in so many seconds."""
        self._taken.setdefault(fingerprint, []).append(seconds)
        if fingerprint in self.predicted:
            self._measured += seconds
            self._foretold += self.predicted[fingerprint]

    @property
    def ratio(self) -> float:
        """Measured over predicted seconds."""
        return self._measured / self._foretold if self._foretold else 1.0

    def __getitem__(self, fingerprint: str) -> float:
        """Seconds of a run. Raises KeyError where nothing is known."""
        taken = self._taken.get(fingerprint)
        return sum(taken) / len(taken) if taken else self.ratio * self.predicted[fingerprint]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.predicted, **self._taken})

    def __len__(self) -> int:
        return len({**self.predicted, **self._taken})

    def of(self, fingerprint: str) -> float:
        """Seconds of a run; 0 where nothing is known."""
        return self.get(fingerprint, 0.0)

    def left(self, waiting: Iterable[str], rests: Sequence[float]) -> float:
        """Seconds until the last run is done: of those that wait, by fingerprint, and what is left of those in flight."""
        ahead = [*rests, *map(self.of, waiting)]
        return max(sum(ahead) / self.places, max(ahead, default=0.0))

    def save(self, folder: Path) -> None:
        """Write down what was predicted; where that cannot be written nobody else sees it, and nothing more."""
        with suppress(OSError):
            content = json.dumps({"seconds": self.predicted, "places": self.places}, indent=1)
            write_atomically(folder / "prediction.json", content.encode())


def load_pace(folder: Path) -> Pace:
    """What was predicted for the study in a folder; nothing where no prediction is there."""
    try:
        told = json.loads((folder / "prediction.json").read_bytes())
        return Pace(told["seconds"], told["places"])
    except (OSError, ValueError, KeyError, TypeError):
        return Pace({}, 1)
