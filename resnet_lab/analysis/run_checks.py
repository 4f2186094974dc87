"""What the sentinels of a study's runs saw, and whether arms of one seed did start equal."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from resnet_lab.analysis.tables import StudyData


@dataclass(frozen=True)
class Watched:
    """One sentinel over all runs: what was seen -> in how many runs, the commonest first."""

    sentinel: str
    seen: dict[str, int]

    @property
    def runs(self) -> int:
        """Runs that it had something to say about."""
        return sum(self.seen.values())


def watched(data: StudyData) -> tuple[Watched, ...]:
    """Every sentinel that had something to say, in the order in which runs record them; then the arms of one seed against each other."""
    seen: dict[str, Counter[str]] = {}
    for record in data.records.values():
        for name, words in record.sentinels.items():
            seen.setdefault(name, Counter())[words] += 1
    return tuple(Watched(name, dict(counts.most_common())) for name, counts in seen.items())


def unwatched(data: StudyData) -> int:
    """Runs of earlier versions, which recorded no sentinels."""
    return sum(not record.sentinels for record in data.records.values())


def twin_groups(data: StudyData) -> Iterator[dict[str, str]]:
    """Cell -> its start, for each set of two or more runs that have to begin with the same values: one seed and grid point, alike in how they are drawn."""
    groups: dict[tuple[str, int, str], dict[str, str]] = {}
    axes = {cell.name: json.dumps(cell.axes, sort_keys=True) for cell in data.plan.cells}
    for (cell, seed), record in data.records.items():
        names, _, values = record.start.partition("-")
        if values:
            groups.setdefault((axes[cell], seed, names), {})[f"{cell} seed {seed}"] = values
    return (group for group in groups.values() if len(group) > 1)


def unequal_twins(data: StudyData) -> list[str]:
    """A sentence for each set of arms of one seed that did not start equal: whatever differs between them may come from that."""
    return [
        f"{' and '.join(group)} are twins and did not start equal: a difference between them may come from that."
        for group in twin_groups(data)
        if len(set(group.values())) > 1
    ]
