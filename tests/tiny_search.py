"""A search over a tiny space whose training is a formula, driven as a study drives it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resnet_lab.runs.searches import SearchTrial
from resnet_lab.search.loop import Checked, Search
from resnet_lab.spec.search import Parameter, Point, SearchSpec, parameters

SPACE: dict[str, Any] = {
    "network.block": ["basic", "bottleneck"],
    "network.width": {"low": 4, "high": 64, "log": True},
    "network.depths": [{"low": 1, "high": 9}, {"low": 1, "high": 9, "step": 2}],
    "network.bottleneck_ratio": {"choices": [2, 4], "when": "network.block=bottleneck"},
    "training.lr": {"low": 0.001, "high": 1.0, "log": True},
}
BOUND = "macs <= 600"


def chosen(space: Mapping[str, Any] = SPACE) -> tuple[Parameter, ...]:
    found, problems = parameters(space)
    assert not problems
    return found


def error(point: Point) -> float:
    """Of a training, as if: smooth, a little better for wide bottlenecks, best near a rate of 0.1."""
    lr, width = float(point["training.lr"]), float(point["network.width"])
    return 20 + 10 * abs(lr - 0.1) - width / 16 - (point["network.block"] == "bottleneck") + float(point["network.depths.0"]) / 50


def cost(point: Point) -> Checked:
    """Of a network, as if; wide deep nets cannot be built."""
    width, depth = int(point["network.width"]), int(point["network.depths.0"]) + int(point["network.depths.1"])
    if width > 60 and depth > 14:
        return Checked("", {}, "too large to be built")
    return Checked(repr(sorted(point.items())), {"macs": width * depth * 4, "params": width, "layers": depth})


@dataclass
class Searching:
    """Drives a search with one worker, as a study does, and keeps the lines that it writes."""

    spec: SearchSpec
    check: Callable[[Point], Checked] = cost
    error: Callable[[Point], float] = error
    first: Sequence[Point] = ()
    lines: list[SearchTrial] = field(default_factory=list)

    def search(self, lines: Sequence[SearchTrial] = ()) -> Search:
        self.lines = list(lines)
        standing = {line.number: line for line in self.lines}
        parts = chosen(self.spec.space)
        return Search(
            self.spec,
            parts,
            self.check,
            name="tpe",
            identity="0",
            trials=list(standing.values()),
            first=self.first,
            write=self.lines.append,
        )

    def drive(self, search: Search, stop: int | None = None) -> list[SearchTrial]:
        """Train all that it asks for; `stop`: at most so many."""
        done = 0
        while done != stop and (trial := search.ask()) is not None:
            self.train(search, trial)
            done += 1
        return search.trials

    def train(self, search: Search, trial: SearchTrial) -> None:
        worth, steps = self.error(trial.point), 4
        for step in range(1, steps + 1):
            if search.report(trial.number, step, worth + steps - step):
                search.tell(trial.number, {}, pruned=True, seconds=step)
                return
        seeds = self.spec.seeds
        search.tell(trial.number, {seed: worth + place / 100 for place, seed in enumerate(seeds)}, seconds=steps)


def searching(
    *, check: Callable[[Point], Checked] = cost, error: Callable[[Point], float] = error, first: Sequence[Point] = (), **fields: Any
) -> Searching:
    """A search over the tiny space; `fields` of its SearchSpec."""
    return Searching(SearchSpec(**{"space": SPACE, "trials": 24, "seed": 3, **fields}), check, error, first)
