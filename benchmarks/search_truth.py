"""How far can searches be trusted? Searches among networks that were all trained before, so that what they should find is known.

    python benchmarks/search_truth.py [--table FILE] [--searches 200] [--studies 1000] [--budgets 50 150 300] [--processes 2] [--write]

The table is NAS-Bench-Macro (Su et al. 2021): 6,561 networks on CIFAR-10 with eight layers of three kinds each, three independent trainings of every one.
FILE is its JSON, or the folder that holds it; by default RESNET_LAB_NAS_BENCH_MACRO says where. It fails where a bar is missed.

Two worlds. `Trained`: a search sees one of the three trainings of a network, drawn anew for each search, and the other two are the fresh ones.
`Resampled`: the mean of the three is a network's true error, and every training adds a residual drawn from those of networks about as good; so a
study can have as many seeds as it wants, and the truth is known exactly.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from calibration.pages import put_into_page
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from resnet_lab.analysis.contrasts import Measurements
from resnet_lab.analysis.verdicts import Verdict, judge_measured
from resnet_lab.runs.searches import SearchTrial
from resnet_lab.search.finalists import finalists
from resnet_lab.search.loop import Checked, Search
from resnet_lab.spec.claims import Claim
from resnet_lab.spec.search import Point, SearchSpec, parameters

Floats = NDArray[np.float64]
FILE = "nas-bench-macro_cifar10.json"
PAGE = Path(__file__).parents[1] / "docs" / "search.md"
SPACE = {f"network.layer{at}": [0, 1, 2] for at in range(8)}
SAMPLERS = ("random", "nsgaii", "tpe", "gp")
BUDGETS = (50, 150, 300)
GP_SHARE, GP_LONGEST = 0.1, 150
"""A Gaussian process takes half a minute for 150 trials, several for 300: it gets a tenth of the searches, and not the largest budget."""
KNOWN_CURSE = 0.19
"""Points by which the best of 150 random networks, picked by one training, is better than in its others (README of the data, 2,000 draws)."""
PARTS = ("searches", "a-a", "bound")
SEEDS = (0, 1, 2, 3, 4)
DIFFERENT = Claim("different", {"a/1": 1.0, "b/1": -1.0}, "> 0", metric="test_error")


class Table:
    """What is known of every network."""

    def __init__(self, path: Path) -> None:
        found = json.loads((path / FILE if path.is_dir() else path).read_text(encoding="utf-8"))
        self.at = {name: at for at, name in enumerate(found)}
        self.errors: Floats = 100 - np.array([each["test_acc"] for each in found.values()])
        """(networks, 3) in percent."""
        self.means = self.errors.mean(axis=1)
        self.costs = [{"macs": float(each["flops"]), "params": float(each["params"]), "layers": 8.0} for each in found.values()]
        ranks = self.means.argsort().argsort() * 10 // len(self.means)
        residuals = (self.errors - self.means[:, None]) * math.sqrt(3 / 2)  # three values lie closer to their own mean than to the true one
        self.residuals: list[Floats] = [residuals[ranks == tenth].ravel() for tenth in ranks]

    def check(self, point: Point) -> Checked:
        """The network of a point."""
        name = "".join(str(point[f"network.layer{at}"]) for at in range(8))
        return Checked(name, self.costs[self.at[name]])


class World(Protocol):
    """Where networks are trained."""

    def error(self, network: str, seed: int) -> float:
        """Of a training, in percent."""


class Trained:
    """The three trainings of every network in an order of its own: one for the search, two for fresh seeds 0 and 1."""

    def __init__(self, table: Table, number: int) -> None:
        self._table = table
        self._order = np.random.default_rng([number, 1]).permuted(np.tile(np.arange(3), (len(table.means), 1)), axis=1)

    def error(self, network: str, seed: int) -> float:
        """Of a training, in percent."""
        at = self._table.at[network]
        return float(self._table.errors[at, self._order[at, seed + 1 if seed < 2 else 0]])


class Resampled:
    """Any number of trainings around a true error."""

    def __init__(self, table: Table, number: int) -> None:
        self._table, self._number = table, number

    def error(self, network: str, seed: int) -> float:
        """Of a training, in percent."""
        at = self._table.at[network]
        return float(self._table.means[at] + np.random.default_rng([self._number, at, seed]).choice(self._table.residuals[at]))


def run(table: Table, world: World, spec: SearchSpec, name: str = "search") -> list[SearchTrial]:
    """All proposals of a search."""
    search = Search(spec, parameters(SPACE)[0], table.check, name=name, identity="")
    while (trial := search.ask()) is not None:
        search.tell(trial.number, {seed: world.error(trial.fingerprint, seed) for seed in spec.seeds})
    return search.trials


@dataclass(frozen=True)
class Found:
    """What a search of some budget came to, errors in percent."""

    sampler: str
    trials: int
    number: int
    own: float
    """What the search measured of its finalist."""
    fresh: tuple[float, float]
    """Two other trainings of it."""

    @property
    def reported(self) -> float:
        """As a study would report it."""
        return sum(self.fresh) / 2


def search_of(table: Table, sampler: str, budgets: Sequence[int], number: int) -> list[Found]:
    """One simulated search, read at some of its trials, in the world of trained networks.

    Only NSGA-II proposes by how long the search will be, so that it has a search of its own for every budget.
    """
    world, found = Trained(table, number), []
    lengths = budgets if sampler == "nsgaii" else [max(budgets)]
    for length in lengths:
        trials = run(table, world, SearchSpec(sampler=sampler, trials=length, seed=number))  # type: ignore[arg-type]
        for budget in [length] if sampler == "nsgaii" else budgets:
            best = finalists(SearchSpec(), trials[:budget])[0]
            fresh = world.error(best.fingerprint, 0), world.error(best.fingerprint, 1)
            found.append(Found(sampler, budget, number, best.values[0], fresh))
    return found


@dataclass(frozen=True)
class Judged:
    """What an A/A study said of two arms with the same space and sampler, and what was true of their finalists; in percent."""

    verdict: Verdict
    difference: float
    """Between the true errors, averaged over the seeds."""
    own: float
    """What the search of the first arm measured of its finalist."""
    reported: float
    """The mean over its fresh seeds."""
    truth: float

    @property
    def is_different(self) -> bool:
        """Whether the arms were called different, in either direction."""
        return self.verdict.verdict in ("supported", "contradicted")

    @property
    def covers(self) -> bool:
        """Whether the verdict's interval holds the true difference between the networks."""
        low, high = self.verdict.ci_low, self.verdict.ci_high
        if low is None or high is None:  # both arms found the same network, and so have the same runs
            return self.difference == 0
        return low <= self.difference <= high


def aa_study(table: Table, sampler: str, trials: int, each_seed: bool, number: int) -> Judged:
    """One search an arm, whose finalist is trained on five seeds; or `each_seed` on the finalist of a search of its own."""
    world, picked = Resampled(table, number), []
    for arm in "ab":
        names = [f"{arm}{seed}" for seed in SEEDS] if each_seed else [arm]
        spec = SearchSpec(sampler=sampler, trials=trials, seed=number)  # type: ignore[arg-type]
        best = [finalists(spec, run(table, world, spec, name))[0] for name in names]
        picked.append(best if each_seed else best * len(SEEDS))
    errors = np.array([[world.error(best.fingerprint, seed) for best, seed in zip(arm, SEEDS, strict=True)] for arm in picked])
    true = np.array([[table.means[table.at[best.fingerprint]] for best in arm] for arm in picked]).mean(axis=1)
    measured = Measurements(
        ("a/1", "b/1"), SEEDS, {"test_error": errors}, np.full(errors.shape, "done", dtype=object), np.array([90.0, 90.0]), (10_000, 10_000)
    )
    (verdict,) = judge_measured(measured, (DIFFERENT,))
    own = float(np.mean([best.values[0] for best in picked[0]]))
    return Judged(verdict, float(true[0] - true[1]), own, float(errors[0].mean()), float(true[0]))


def bounded(table: Table, sampler: str, objective: tuple[str, ...], bound: float, number: int) -> tuple[int, int, float]:
    """(proposals that break the bound, finalists that do, true error of the best finalist) of a search of 50 trials under a bound."""
    spec = SearchSpec(
        sampler=sampler,  # type: ignore[arg-type]
        objective=objective,  # type: ignore[arg-type]
        constraints=(f"macs <= {bound:.0f}",),
        trials=50,
        finalists=5,
        seed=number,
    )
    trials = run(table, Trained(table, number), spec)
    kept = finalists(spec, trials)
    broken = sum(table.costs[table.at[each.fingerprint]]["macs"] > bound for each in kept)
    return sum(each.state == "infeasible" for each in trials), broken, min(table.means[table.at[each.fingerprint]] for each in kept)


Map = Callable[[Callable[[int], object], Sequence[int]], Iterator[object]]


def interval(values: Sequence[float] | Floats) -> tuple[float, float, float]:
    """(mean, half of its 95 % interval, standard error)."""
    array = np.asarray(values, dtype=float)
    se = float(array.std(ddof=1) / math.sqrt(len(array)))
    return float(array.mean()), float(student.ppf(0.975, len(array) - 1)) * se, se


def regrets(table: Table, searches: int, spread: Map, missed: list[str], samplers: Sequence[str], budgets: Sequence[int]) -> list[str]:
    """The table of what searches find; adds what misses its bar."""
    found: dict[tuple[str, int], list[Found]] = {}
    for sampler in samplers:
        numbers = range(max(4, round(searches * GP_SHARE)) if sampler == "gp" else searches)
        job = partial(search_of, table, sampler, [each for each in budgets if sampler != "gp" or each <= GP_LONGEST])
        for several in spread(job, numbers):
            for each in several:  # type: ignore[attr-defined]
                found.setdefault((sampler, each.trials), []).append(each)
    lines = [
        "| sampler | trials | n | regret | regret minus random's | own error is too low by | one fresh error minus another |",
        "|---|---|---|---|---|---|---|",
    ]
    most = float(norm.isf(norm.sf(3) / len(found)))  # 3 standard errors for a single row, so much more for one of as many rows
    for (sampler, trials), several in found.items():
        reported = np.array([each.reported for each in several])
        control = np.array([each.reported for each in found["random", trials][: len(several)]])
        regret, curse = interval(reported - table.means.min()), interval([each.reported - each.own for each in several])
        bias = interval([each.fresh[0] - each.fresh[1] for each in several])
        less = "" if sampler == "random" else "{:+.2f} ± {:.2f}".format(*interval(reported - control))
        shown = [f"{mean:.2f} ± {half:.2f}" for mean, half, _ in (regret, curse)]
        lines.append(f"| {sampler} | {trials} | {len(several)} | {shown[0]} | {less} | {shown[1]} | {bias[0]:+.3f} ± {bias[1]:.3f} |")
        where = f"{sampler} at {trials} trials"
        if abs(bias[0]) > most * bias[2]:
            missed.append(f"{where}: what is reported is off by {bias[0]:+.3f} (se {bias[2]:.3f})")
        if curse[0] < 3 * curse[2]:
            missed.append(f"{where}: no winner's curse, {curse[0]:+.3f} (se {curse[2]:.3f})")
        if (sampler, trials) == ("random", 150) and abs(curse[0] - KNOWN_CURSE) > 3 * curse[2]:
            missed.append(f"{where}: own error better by {curse[0]:.3f}, known is {KNOWN_CURSE}")
    return lines


def verdicts(table: Table, studies: int, spread: Map, missed: list[str], samplers: Sequence[str]) -> list[str]:
    """The table of what A/A studies say; adds what misses its bar."""
    lines = [
        "| A/A studies | sampler | n | called different | interval holds the true difference of the networks | reported minus true | own minus true |",
        "|---|---|---|---|---|---|---|",
    ]
    for each_seed, trials in ((False, 50), (True, 20)):
        for sampler in samplers:
            judged: list[Judged] = list(spread(partial(aa_study, table, sampler, trials, each_seed), range(studies)))  # type: ignore[arg-type]
            different, covers = (np.mean([getattr(each, name) for each in judged]) for name in ("is_different", "covers"))
            se = math.sqrt(0.05 * 0.95 / studies)
            bias, own = interval([each.reported - each.truth for each in judged]), interval([each.own - each.truth for each in judged])
            what = f"a search of {trials} trials {'a seed' if each_seed else 'an arm'}"
            lines.append(
                f"| {what} | {sampler} | {studies} | {100 * different:.1f} % | {100 * covers:.1f} % "
                f"| {bias[0]:+.3f} ± {bias[1]:.3f} | {own[0]:+.2f} ± {own[1]:.2f} |"
            )
            if each_seed and different > 0.05 + 3 * se:
                missed.append(f"{what}, {sampler}: {100 * different:.1f} % of A/A studies called different")
            if covers < 0.95 - 3 * se:
                missed.append(f"{what}, {sampler}: intervals hold the true difference in {100 * covers:.1f} %")
            if abs(bias[0]) > 3 * bias[2]:
                missed.append(f"{what}, {sampler}: what is reported is off by {bias[0]:+.4f} (se {bias[2]:.4f})")
            if own[0] > -3 * own[2]:
                missed.append(f"{what}, {sampler}: no winner's curse, {own[0]:+.3f} (se {own[2]:.3f})")
    return lines


def bounds(table: Table, searches: int, spread: Map, missed: list[str], samplers: Sequence[str]) -> list[str]:
    """The table of searches under a bound that three quarters of the networks break; adds what misses its bar."""
    macs = np.array([each["macs"] for each in table.costs])
    bound = float(np.quantile(macs, 0.25))
    best = table.means[macs <= bound].min()
    lines = [
        f"| sampler, macs <= {bound / 1e6:.1f}e6 | objectives | n | proposals that broke it | finalists that break it | regret of the best finalist |",
        "|---|---|---|---|---|---|",
    ]
    for sampler in samplers:
        for objective in (("validation_error",), ("validation_error", "macs")):
            numbers = range(max(3, round(searches * GP_SHARE)) if sampler == "gp" else searches)
            done = np.array(list(spread(partial(bounded, table, sampler, objective, bound), numbers)))
            regret = interval(done[:, 2] - best)
            share, broken = done[:, 0].sum() / (done[:, 0].sum() + 50 * len(done)), int(done[:, 1].sum())
            said = f"{100 * share:.0f} % | {broken} of {5 * len(done)} | {regret[0]:.2f} ± {regret[1]:.2f}"
            lines.append(f"| {sampler} | {len(objective)} | {len(done)} | {said} |")
            if broken:
                missed.append(f"{sampler}: {broken} finalists break the bound")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("RESNET_LAB_NAS_BENCH_MACRO")
    parser.add_argument("--table", type=Path, default=default and Path(default), help=FILE)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, choices=SAMPLERS)
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/search.md")
    options = parser.parse_args()
    if options.table is None:
        parser.error(f"say where {FILE} is: --table, or RESNET_LAB_NAS_BENCH_MACRO")
    table, start = Table(options.table), time.perf_counter()
    missed: list[str] = []
    with ProcessPoolExecutor(options.processes) as pool:
        spread = partial(pool.map, chunksize=2)
        judged = [sampler for sampler in options.samplers if sampler in ("random", "tpe")]
        parts: dict[str, Callable[[], list[str]]] = {
            "searches": lambda: regrets(table, options.searches, spread, missed, options.samplers, options.budgets),
            "a-a": lambda: verdicts(table, options.studies, spread, missed, judged),
            "bound": lambda: bounds(table, max(3, options.searches // 10), spread, missed, options.samplers),
        }
        for place in options.parts:
            text = "\n".join(parts[place]())
            print(text, end="\n\n", flush=True)
            if options.write:
                put_into_page(PAGE, place, text)
    print(f"{time.perf_counter() - start:.0f} s")
    if missed:
        raise SystemExit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
