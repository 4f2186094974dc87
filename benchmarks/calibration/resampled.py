"""How often are verdicts false on errors of real runs? 20,000 studies drawn from real_runs.csv for each row. Reported, without a bar.

    python benchmarks/calibration/resampled.py [--table real_runs.csv] [--write]

A/A: two arms drawn without replacement from the runs of one shape. Shifted: two shapes, each moved to the same mean, so that shapes of
distribution differ and means do not. Paired A/A: the two initialization salts of one shape at the same seeds, same batches; their means
over all runs are moved together.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from real_runs import TABLE, shapes
from simulated import STUDIES, put_into_page
from vectorized import judged

from resnet_lab.spec.claims import Claim

SEEDS = (5, 10)
CLAIM = Claim("a_a", {"1": 1.0, "0": -1.0}, "> 0")
Floats = NDArray[np.float64]


def unpaired(first: Floats, second: Floats | None, n: int, rng: np.random.Generator) -> Floats:
    """(studies, 2, n): from one pool without replacement, or from two, each moved to mean zero."""
    if second is None:
        order = rng.permuted(np.tile(np.arange(len(first)), (STUDIES, 1)), axis=1)[:, : 2 * n]
        return first[order].reshape(STUDIES, 2, n)
    pools = (first - first.mean(), second - second.mean())
    return np.stack([pool[rng.permuted(np.tile(np.arange(len(pool)), (STUDIES, 1)), axis=1)[:, :n]] for pool in pools], axis=1)


def paired(first: pd.Series, second: pd.Series, n: int, rng: np.random.Generator) -> Floats:
    """(studies, 2, n): the same seeds of both salts."""
    both = pd.concat([first, second], axis=1).dropna().to_numpy()
    both = both - both.mean(axis=0)
    chosen = rng.permuted(np.tile(np.arange(len(both)), (STUDIES, 1)), axis=1)[:, :n]
    return both[chosen].transpose(0, 2, 1)


def rate(values: Floats) -> str:
    verdicts, disagreements = judged((CLAIM,), values)
    assert disagreements == 0
    return f"{100 * np.mean(verdicts != 0):.1f} %"


def rows(table: pd.DataFrame, metric: str) -> list[str]:
    pools, others = shapes(table, metric), shapes(table, metric, salt=1)
    names, found = list(pools), []
    for i, name in enumerate(names):
        drawn = [unpaired(pools[name].to_numpy(), None, n, np.random.default_rng([i, n])) for n in SEEDS]
        found.append(f"| A/A {name} | {metric} | {' | '.join(map(rate, drawn))} |")
    for i, name in enumerate(names):
        for j in range(i):
            drawn = [unpaired(pools[name].to_numpy(), pools[names[j]].to_numpy(), n, np.random.default_rng([i, j, n])) for n in SEEDS]
            found.append(f"| {name} and {names[j]}, equal means | {metric} | {' | '.join(map(rate, drawn))} |")
    for i, name in enumerate(names):
        drawn = [paired(pools[name], others[name], n, np.random.default_rng([99, i, n])) for n in SEEDS]
        r = pd.concat([pools[name], others[name]], axis=1).dropna().corr().to_numpy()[0, 1]
        said = "no spread in one salt" if np.isnan(r) else f"r = {r:+.2f}"
        found.append(f"| paired A/A {name}, {said} | {metric} | {' | '.join(map(rate, drawn))} |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--write", action="store_true", help="put the table into docs/statistics.md")
    options = parser.parse_args()
    table = pd.read_csv(options.table)
    head = f"| arms | metric | {' | '.join(f'{n} seeds' for n in SEEDS)} |\n|---|---|{'---|' * len(SEEDS)}"
    text = "\n".join([f"False verdicts among {STUDIES:,} studies drawn from {len(table)} real runs:\n", head,
                      *(row for metric in ("train_error", "test_error") for row in rows(table, metric))])  # fmt: skip
    print(text)
    if options.write:
        put_into_page("resampled", text)


if __name__ == "__main__":
    main()
