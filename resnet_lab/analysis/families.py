"""Claims of one study that are nearly one finding: their contrasts rise and fall together over the seeds.

Holm's procedure errs no more often for that, but a reader who counts supported claims counts one finding several times.
"""

from collections.abc import Sequence

import numpy as np

from resnet_lab.analysis.statistics import correlation
from resnet_lab.analysis.verdicts import Verdict

TOGETHER = 0.95
"""Correlation of two contrasts over seeds from which on they are said to go together."""
FEWEST = 5
"""Shared seeds from which on a correlation says something."""


def go_together(verdicts: Sequence[Verdict]) -> list[str]:
    """A sentence for each group of claims that go together: who they are, from which correlation on, over how many seeds."""
    compared = [verdict for verdict in verdicts if verdict.above is None]
    groups: list[list[Verdict]] = []
    for verdict in compared:
        group = next((group for group in groups if all(_correlation(verdict, other) >= TOGETHER for other in group)), None)
        if group is None:
            groups.append([verdict])
        else:
            group.append(verdict)
    return [_said(group) for group in groups if len(group) > 1]


def _said(group: Sequence[Verdict]) -> str:
    least = min(_correlation(one, other) for at, one in enumerate(group) for other in group[:at])
    names = ", ".join(verdict.name for verdict in group[:-1]) + f" and {group[-1].name}"
    n = len(set.intersection(*(set(verdict.per_seed) for verdict in group)))
    are = "views of nearly one finding" if len(group) > 2 else "two views of nearly one finding"
    return f"The contrasts of {names} rise and fall together over the {n} seeds (correlations of {np.floor(100 * least) / 100:.2f} or more), so they are {are}."


def _correlation(one: Verdict, other: Verdict) -> float:
    """Of two contrasts over the seeds that they share, whatever its sign; 0 where there are too few, or no spread."""
    shared = [seed for seed in one.per_seed if seed in other.per_seed]
    found = (
        correlation(*(np.array([verdict.per_seed[seed] for seed in shared]) for verdict in (one, other))) if len(shared) >= FEWEST else 0.0
    )
    return 0.0 if np.isnan(found) else abs(found)
