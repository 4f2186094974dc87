"""456 unpaired A/A studies of real runs through the program itself: run records, store, tables, verdicts. Fails if more than 31 are false.

    python benchmarks/calibration/end_to_end.py [--table real_runs.csv] [--studies 456]

Each study's two arms are ten different runs of one shape, five an arm, written into a run store as records of two cells and read back. At a
true rate of 5 % more than 31 of 456 come up in about one of thirty tries; a true rate of 8 % is found with a power of 0.8. Fewer studies
have a bar that is passed no more often.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from real_runs import TABLE, shapes
from scipy.stats import binom

from resnet_lab.analysis.tables import load
from resnet_lab.analysis.verdicts import judge
from resnet_lab.runs.plan import Plan, PlannedCell, load_plan
from resnet_lab.runs.record import EpochRecord, RunRecord
from resnet_lab.runs.store import RunStore
from resnet_lab.spec.claims import Claim
from resnet_lab.spec.data import DATASETS
from resnet_lab.spec.resolve import resolve_run
from resnet_lab.spec.run import as_plain

SEEDS = 5
CLAIM = Claim("a_a", {"first": 1.0, "second": -1.0}, "> 0", metric="test_error", pairing="none")
SPEC: dict[str, Any] = as_plain(
    resolve_run(
        {"network": {"layers": 14}, "data": {"name": "digits"}, "training": {"epochs": 1}, "record": {}}, lambda data: DATASETS[data.name]
    )
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--studies", type=int, default=456)
    options = parser.parse_args()
    most = int(binom.isf(0.04, options.studies, 0.05))
    pools = list(shapes(pd.read_csv(options.table), "test_error").values())
    rng = np.random.default_rng(456)
    false = 0
    for number in range(options.studies):
        errors = rng.choice(pools[number % len(pools)].to_numpy(), 2 * SEEDS, replace=False).reshape(2, SEEDS)
        with tempfile.TemporaryDirectory() as folder:
            false += verdict_of(errors, Path(folder)) in ("supported", "contradicted")
    print(f"{false} of {options.studies} A/A studies have a false verdict ({100 * false / options.studies:.1f} %); the bar is {most}")
    if false > most:
        raise SystemExit(1)


def verdict_of(errors: Any, studies: Path) -> str:
    """The program's verdict on one study, by way of its files. `errors`: (2, seeds) in percent."""
    plan, store = plan_of(), RunStore(studies)
    plan.save(studies)
    for cell, row in zip(plan.cells, errors, strict=True):
        for seed, error in zip(plan.seeds, row, strict=True):
            store.save(replace(RECORD, fingerprint=cell.fingerprint, seed=seed, test_error=float(error)))
    stored = load_plan(studies, plan.name)
    assert stored is not None
    (verdict,) = judge(load(stored, store))
    return verdict.verdict


def plan_of() -> Plan:
    cells = tuple(PlannedCell(name, name, {}, letter * 64, SPEC, 1, 1, 14) for name, letter in (("first", "a"), ("second", "b")))
    return Plan(
        ablation="a_a", scale="laptop", tag="", question="", source="", scale_description="", evidence=True, varies=(), axes=(),
        seeds=tuple(range(SEEDS)), cells=cells, claims=(CLAIM,), registered=(CLAIM.digest,), warnings=(), data_description="", toml="", file="",
        overrides=(), command="", created="", commit="",
    )  # fmt: skip


RECORD = RunRecord(
    fingerprint="", seed=0, spec=SPEC, status="done", train_error=0.0, test_error=0.0, train_loss=0.0, test_loss=0.0, validation_error=None,
    params=1, macs=1, seconds=1.0, started="2026-01-01T00:00:00+00:00", epochs=(EpochRecord(1, 22, 1.0, 1.0, 0.1, 1.0, 1.0),), blocks=(),
    images={"train": 1437, "validation": 0, "test": 360}, environment={},
)  # fmt: skip

if __name__ == "__main__":
    main()
