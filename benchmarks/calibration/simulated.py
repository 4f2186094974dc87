"""Are verdicts wrong as rarely as they say? Simulates 20,000 studies per scenario; fails if a limit is exceeded. Tables for docs/statistics.md.

    python benchmarks/calibration/simulated.py [--write]

A study is false where any of its claims is decided although the truth lies at the claim's boundary, or is decided the wrong way.
Asserted: at most 5 % of studies are false, plus three binomial standard errors; interval and verdict never disagree; the program gives
the same verdicts as the vectorized rules on the first studies of each scenario; planted effects are found as often as the power formula
says. Reported without a limit: what a t test of so few seeds cannot promise (skew on one side, cells with two kinds of run).
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pages import put_into_page
from scipy.special import bdtr
from vectorized import agrees_with_program, judged, tests_of

from resnet_lab.analysis.looks import schedule
from resnet_lab.analysis.power import power, region_power, region_seeds, seeds_needed, share_power
from resnet_lab.analysis.statistics import is_in_two, is_skewed
from resnet_lab.spec.claims import Claim, Fails

STUDIES = 20_000
CHECKED = 25
"""Studies of each scenario that the program itself judges."""
ALPHA = 0.05
BAR = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / STUDIES)
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]
EXPECTS = ("> 0", "< 0", "within 3", "> 2")
"""Expectations that claims take in turn; arms are shifted so that the truth lies at their boundary."""
SHIFTS = (0.0, 0.0, 3.0, 2.0)


@dataclass(frozen=True)
class Scenario:
    """A family of claims and the studies that it is tried on. `truth`: 0 at the boundary, +1 the claim holds, -1 it does not."""

    name: str
    claims: tuple[Claim, ...]
    truth: tuple[int, ...]
    draw: Callable[[np.random.Generator], Floats]
    looks: tuple[int, ...] = ()


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.normal(size=shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.standard_t(3, size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.lognormal(0, 1, size=shape) - math.exp(0.5)


def pairs(
    m: int, n: int, *, noise: Noise = normal, correlation: float = 0.0, ratio: float = 1.0, name: str = "", looks: bool = False
) -> Scenario:
    """So many claims, each about two arms of its own with this correlation over seeds and ratio of deviations, all at their boundary."""
    claims = tuple(Claim(f"c{i}", {str(2 * i + 1): 1.0, str(2 * i): -1.0}, EXPECTS[i % 4]) for i in range(m))

    def draw(rng: np.random.Generator) -> Floats:
        first, second = noise(rng, (STUDIES, m, n)), noise(rng, (STUDIES, m, n))
        second = correlation * first + math.sqrt(1 - correlation**2) * second if correlation else second
        shift = np.array([SHIFTS[i % 4] for i in range(m)])[:, None]
        return np.stack([40 + first, 40 + shift + ratio * second], axis=2).reshape(STUDIES, 2 * m, n)

    about = name or f"normal, correlation {correlation:g}, sd ratio {ratio:g}"
    return Scenario(about, claims, (0,) * m, draw, schedule(n) if looks else ())


def shared(m: int, n: int, *, noise: Noise = normal, name: str, looks: bool = False) -> Scenario:
    """So many claims that all compare an arm with the same baseline, so that they err together."""
    claims = tuple(Claim(f"c{i}", {str(i + 1): 1.0, "0": -1.0}, EXPECTS[i % 4]) for i in range(m))
    shift = np.array([0.0, *(SHIFTS[i % 4] for i in range(m))])[:, None]
    return Scenario(name, claims, (0,) * m, lambda rng: 40 + shift + noise(rng, (STUDIES, m + 1, n)), schedule(n) if looks else ())


def mixed(m: int, n: int, *, looks: bool = False) -> Scenario:
    """Claims of every kind, true ones, untrue ones and ones at their boundary, over ten cells."""
    offered = (
        (Claim("clear", {"1": 1.0, "0": -1.0}, "> 0"), 1),
        (Claim("null", {"2": 1.0, "0": -1.0}, "> 0"), 0),
        (Claim("level", {"0": 1.0}, "< 40"), 0),
        (Claim("several", ({"1": 1.0, "0": -1.0}, {"1": 1.0, "2": -1.0}, {"3": 1.0, "0": -1.0}), "> 0"), 0),
        (Claim("share", {"4": 1.0}, fails=Fails(50.0)), 0),
        (Claim("untrue", {"1": 1.0, "0": -1.0}, "< 1"), -1),
        (Claim("equivalent", {"3": 1.0, "2": -1.0}, "within 2"), 1),
        (Claim("interaction", {"5": 1.0, "6": -1.0, "7": -1.0, "8": 1.0}, "> 0"), 0),
        (Claim("margin", {"9": 1.0, "0": -1.0}, "within 3"), 0),
        (Claim("trend", {"6": -1.5, "7": -0.5, "8": 0.5, "9": 1.5}, "> 4.5"), 0),
    )[:m]
    means = np.array([40.0, 46.0, 40.0, 40.0, 50.0, 40.0, 40.0, 40.0, 40.0, 43.0])[:, None]

    def draw(rng: np.random.Generator) -> Floats:
        return means + 0.5 * rng.normal(size=(STUDIES, 1, n)) + rng.normal(size=(STUDIES, 10, n)) * np.linspace(0.5, 2, 10)[:, None]

    return Scenario("claims of every kind", tuple(claim for claim, _ in offered), tuple(truth for _, truth in offered), draw,
                    schedule(n) if looks else ())  # fmt: skip


def welch(n: int, ratio: float, noise: Noise = normal, name: str = "") -> Scenario:
    claim = Claim("c", {"1": 1.0, "0": -1.0}, "> 0", pairing="none")
    scale = np.array([1.0, ratio])[:, None]
    return Scenario(name or f"unpaired (Welch), sd ratio {ratio:g}", (claim,), (0,), lambda rng: 40 + scale * noise(rng, (STUDIES, 2, n)))


def asserted() -> list[Scenario]:
    """What has to stay at or below the limit."""
    one = [pairs(1, 5, correlation=rho, ratio=ratio) for rho in (-0.4, 0, 0.5, 0.9) for ratio in (1, 5, 50)]
    many = [pairs(m, 5, correlation=rho, ratio=ratio) for m in (4, 10) for rho in (-0.4, 0.9) for ratio in (1, 50)]
    shapes = [
        pairs(m, 5, noise=noise, name=name)
        for noise, name in ((heavy, "t with 3 df"), (skewed, "equally skewed (log-normal)"))
        for m in (1, 4, 10)
    ]
    common = [shared(m, 5, name="normal, one baseline for all") for m in (4, 10)]
    whole = [mixed(m, n) for m in (4, 10) for n in (5, 10)]
    stages = [
        *(pairs(m, 20, correlation=rho, looks=True) for m in (1, 4, 10) for rho in (0, 0.9)),
        *(
            pairs(4, 20, noise=noise, name=name, looks=True)
            for noise, name in ((heavy, "t with 3 df"), (skewed, "equally skewed (log-normal)"))
        ),
        shared(4, 20, name="normal, one baseline for all", looks=True),
        *(mixed(m, 20, looks=True) for m in (4, 10)),
    ]
    return [*one, *many, *shapes, *common, *whole, *stages]


def false_studies(scenario: Scenario, verdicts: NDArray[np.int_]) -> float:
    truth = np.array(scenario.truth)
    return float(np.mean(np.any((verdicts != 0) & (verdicts != np.where(truth == 0, 2, truth)), axis=1)))


def error_table(scenarios: Sequence[Scenario]) -> tuple[list[str], list[str]]:
    """(rows of the table, what exceeded its limit)."""
    rows, missed = [], []
    for number, scenario in enumerate(scenarios):
        values = scenario.draw(np.random.default_rng(number))
        verdicts, disagreements = judged(scenario.claims, values, ALPHA, scenario.looks)
        rate = false_studies(scenario, verdicts)
        other = agrees_with_program(scenario.claims, values[:CHECKED], verdicts[:CHECKED], scenario.looks)
        seeds = f"until decided, {scenario.looks[0]} to {scenario.looks[-1]}" if scenario.looks else str(values.shape[2])
        rows.append(f"| {scenario.name} | {len(scenario.claims)} | {seeds} | {100 * rate:.2f} % | {disagreements} |")
        if rate > BAR or disagreements or other:
            missed.append(
                f"{scenario.name}, {len(scenario.claims)} claims: {100 * rate:.2f} % false, {disagreements} disagreements, {other} others"
            )
    return rows, missed


def weak_table() -> list[str]:
    """Where t promises nothing: mean differences are zero, but one side is skewed or has two kinds of run."""
    claim = Claim("c", {"1": 1.0, "0": -1.0}, "> 0")
    rows = []
    for number, (name, above, draw) in enumerate(_WEAK):
        rates = []
        for n in (5, 10, 20):
            values = draw(np.random.default_rng(1000 + number), n)
            alone, _ = judged((claim,), values)
            both = np.nan if above is None else np.mean(_with_sign_test(claim, values, above))
            rates.append(f"{100 * np.mean(alone != 0):.1f} %" + ("" if above is None else f" ({100 * both:.1f} %)"))
        rows.append(f"| {name} | {' | '.join(rates)} |")
    return rows


def weak_families() -> list[str]:
    """The same arms with several claims, each about two arms of its own, at five seeds; and how many of the false verdicts say that they are skewed."""
    rows = []
    for number, (name, _, draw) in enumerate(_WEAK):
        rates = []
        for m in (1, 4, 10):
            rng = np.random.default_rng(1000 + number)
            values = np.concatenate([draw(rng, 5) for _ in range(m)], axis=1)
            claims = tuple(Claim(f"c{i}", {str(2 * i + 1): 1.0, str(2 * i): -1.0}, "> 0") for i in range(m))
            verdicts, _ = judged(claims, values)
            rates.append(f"{100 * np.mean(np.any(verdicts != 0, axis=1)):.1f} %")
        differences = (values[:, 1::2] - values[:, 0::2])[verdicts != 0]
        flagged = np.mean([is_skewed(each) or is_in_two(each) for each in differences[:STUDIES]])
        rows.append(f"| {name} | {' | '.join(rates)} | {100 * flagged:.0f} % |")
    return rows


def naive_looks() -> float:
    """How often five looks, each at 0.05, err on one claim."""
    values = np.random.default_rng(77).normal(size=(STUDIES, 2, 20))
    claim = Claim("c", {"1": 1.0, "0": -1.0}, "> 0")
    return float(np.mean(np.any([tests_of(claim, values[:, :, :n]).p <= ALPHA for n in schedule(20)], axis=0)))


def beyond_chance(found: float, expected: float) -> bool:
    """Whether a share of the studies is more than three binomial standard errors from what was expected."""
    return abs(found - expected) > 3 * math.sqrt(expected * (1 - expected) / STUDIES)


def power_table() -> tuple[list[str], list[str]]:
    """Planted effects: found as often as the formula says, at the seeds that it asks for."""
    rows, missed = [], []
    for number, (d, level) in enumerate((d, level) for level in (ALPHA, ALPHA / 4) for d in (0.5, 0.8, 1, 1.5, 2, 3)):
        n = seeds_needed(d, level) or 0
        rng = np.random.default_rng(2000 + number)
        values = 40 + np.stack([rng.normal(size=(STUDIES, n)), rng.normal(size=(STUDIES, n)) + d * math.sqrt(2)], axis=1)
        found = float(np.mean(tests_of(Claim("c", {"1": 1.0, "0": -1.0}, "> 0"), values).p <= level))
        expected = power(d, n, level)
        rows.append(f"| {d:g} | {level:g} | {n} | {expected:.4f} | {found:.4f} |")
        if beyond_chance(found, expected):
            missed.append(f"d = {d:g} at {level:g}: found in {found:.4f}, the formula says {expected:.4f}")
    for number, (margin, level) in enumerate((margin, level) for level in (ALPHA, ALPHA / 4) for margin in (0.5, 1, 2, 3)):
        claim = Claim("c", {"1": 1.0, "0": -1.0}, f"within {margin:g}")
        n = region_seeds(0.0, 1.0, claim.region, level) or 0
        values = 40 + np.random.default_rng(4000 + number).normal(scale=math.sqrt(0.5), size=(STUDIES, 2, n))
        tests = tests_of(claim, values)
        found, expected = float(np.mean((tests.p <= level) & tests.inside)), region_power(0.0, 1.0, n, claim.region, level)
        rows.append(f"| 0, within {margin:g} | {level:g} | {n} | {expected:.4f} | {found:.4f} |")
        if beyond_chance(found, expected):
            missed.append(f"within {margin:g} at {level:g}: shown in {found:.4f}, the formula says {expected:.4f}")
    for number, (probability, n) in enumerate(((0.9, 9), (0.95, 8), (0.2, 12))):
        claim = Claim("c", {"0": 1.0}, fails=Fails(50.0))
        values = np.where(np.random.default_rng(3000 + number).random((STUDIES, 1, n)) < probability, 80.0, 5.0)
        found, expected = float(np.mean(tests_of(claim, values).p <= ALPHA)), share_power(probability, n, claim.region)
        rows.append(f"| {100 * probability:g} % fail | {ALPHA:g} | {n} | {expected:.4f} | {found:.4f} |")
        if beyond_chance(found, expected):
            missed.append(f"failing in {probability:g}: found in {found:.4f}, the formula says {expected:.4f}")
    return rows, missed


def _with_sign_test(claim: Claim, values: Floats, above: float) -> NDArray[np.bool_]:
    """Decisions under the rule for two kinds of run: where a cell has runs on both sides of `above`, t and sign test have to agree."""
    differences = values[:, 1] - values[:, 0]
    up, down = (differences > 0).sum(axis=1), (differences < 0).sum(axis=1)
    inside_sign, outside_sign = bdtr(down, up + down, 0.5), bdtr(up, up + down, 0.5)
    t = tests_of(claim, values)
    sign_p = 2 * np.minimum(inside_sign, outside_sign)
    two_kinds = np.any((values > above).any(axis=2) & (values <= above).any(axis=2), axis=1)
    agree = (inside_sign <= outside_sign) == t.inside
    return np.where(two_kinds, (np.maximum(t.p, sign_p) <= ALPHA) & agree, t.p <= ALPHA)


def _skew_against_normal(rng: np.random.Generator, n: int) -> Floats:
    return np.stack([40 + rng.normal(size=(STUDIES, n)), 40 + 2 * skewed(rng, (STUDIES, n))], axis=1)


def _skew_mild(rng: np.random.Generator, n: int) -> Floats:
    return np.stack([40 + 0.2 * rng.normal(size=(STUDIES, n)), 40 + rng.exponential(size=(STUDIES, n)) - 1], axis=1)


def _two_kinds(share: float) -> Callable[[np.random.Generator, int], Floats]:
    def draw(rng: np.random.Generator, n: int) -> Floats:
        fails = rng.random((STUDIES, n)) < share
        second = np.where(fails, 60.0, 5.0) + rng.normal(size=(STUDIES, n))
        return np.stack([5 + 55 * share + rng.normal(size=(STUDIES, n)), second], axis=1)

    return draw


_WEAK: tuple[tuple[str, float | None, Callable[[np.random.Generator, int], Floats]], ...] = (
    ("log-normal against normal", None, _skew_against_normal),
    ("exponential against nearly constant", None, _skew_mild),
    ("half of one cell's runs fail", 50.0, _two_kinds(0.5)),
    ("a fifth of one cell's runs fail", 50.0, _two_kinds(0.2)),
    ("one run in twenty fails", 50.0, _two_kinds(0.05)),
)


def _tables() -> tuple[str, list[str]]:
    errors, missed = error_table(asserted())
    unpaired, _ = error_table([welch(5, ratio) for ratio in (1, 2, 5, 50)])
    powers, short = power_table()
    text = "\n".join(
        [
            f"False studies among {STUDIES:,} (limit {100 * BAR:.2f} %), and how often interval and verdict disagree:\n",
            "| arms | claims | seeds | false studies | disagreements |\n|---|---|---|---|---|",
            *errors,
            "\nThe same without a limit, for one claim at five seeds:\n",
            "| arms | claims | seeds | false studies | disagreements |\n|---|---|---|---|---|",
            *unpaired,
            "\nFalse verdicts of the t test if the true difference is zero, but differences are not symmetric. In brackets: with the rule for two kinds of run",
            "that comes with a claim about failing on that cell:\n",
            "| arms | 5 seeds | 10 seeds | 20 seeds |\n|---|---|---|---|",
            *weak_table(),
            "\nFalse studies with 1, 4 or 10 claims about such arms (Holm, five seeds). Last column: how many of the false verdicts of ten claims",
            "are flagged `skewed` or `two groups`:\n",
            "| arms | 1 claim | 4 claims | 10 claims | flagged |\n|---|---|---|---|---|",
            *weak_families(),
            f"\nFive looks ({', '.join(map(str, schedule(20)))} seeds), each at level 0.05, would make {100 * naive_looks():.1f} % of one-claim studies false.",
            f"\nHow often planted effects are found in {STUDIES:,} studies. d: the effect, divided by the spread of the contrast over seeds.\n",
            "| d | level | seeds | power by formula | found |\n|---|---|---|---|---|",
            *powers,
        ]
    )
    return text, [*missed, *short]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/statistics.md")
    options = parser.parse_args()
    start = time.perf_counter()
    text, missed = _tables()
    print(text)
    print(f"\n{time.perf_counter() - start:.0f} s")
    if options.write:
        put_into_page(PAGE, "simulated", text)
    if missed:
        raise SystemExit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
