"""Which trials of a search become cells, and which of them nothing else beats in everything. Only complete ones that meet all constraints."""

from collections.abc import Sequence

from resnet_lab.runs.searches import SearchTrial
from resnet_lab.spec.search import SearchSpec


def finalists(spec: SearchSpec, trials: Sequence[SearchTrial]) -> list[SearchTrial]:
    """The best by validation error, ties by number. With two objectives, points spread evenly along the front by their rank on it.

    The best error comes first and the cheapest last. Where the front has fewer points than are wanted, the next front fills up. There are fewer
    than `spec.finalists` only where fewer trials are complete.
    """
    found: list[SearchTrial] = []
    rest = _eligible(trials)
    while rest and len(found) < spec.finalists:
        layer = front(rest)
        found += _spread(layer, spec.finalists - len(found))
        rest = [trial for trial in rest if trial not in layer]
    return found


def front(trials: Sequence[SearchTrial]) -> list[SearchTrial]:
    """The trials that no other beats in one objective and equals in the rest, by error from the best; of equal ones the first. With one objective, one."""
    kept: list[SearchTrial] = []
    for trial in sorted(_eligible(trials), key=lambda each: (each.values, each.number)):  # none is beaten by one that stands behind it
        if not any(all(a <= b for a, b in zip(other.values, trial.values, strict=True)) for other in kept):
            kept.append(trial)
    return kept


def _eligible(trials: Sequence[SearchTrial]) -> list[SearchTrial]:
    return [each for each in trials if each.state == "complete" and all(broken <= 0 for broken in each.constraints.values())]


def _spread(layer: list[SearchTrial], wanted: int) -> list[SearchTrial]:
    """Both ends, and what lies evenly between by rank; the best alone where one is wanted."""
    if wanted >= len(layer):
        return layer
    return [layer[round(at * (len(layer) - 1) / max(wanted - 1, 1))] for at in range(wanted)]
