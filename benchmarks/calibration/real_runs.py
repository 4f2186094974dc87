"""Make real_runs.csv: final errors of 100 digits runs for each of four shapes and two initialization salts, 800 runs in all.

    python benchmarks/calibration/real_runs.py [--seeds 100] [--studies studies]

About 20 minutes on two cores; the run store resumes it. The table is small and committed, so that resampled.py and end_to_end.py need no
training. Columns: shape, salt, seed, status, train_error, test_error (percent; empty where a run diverged).
"""

import argparse
from pathlib import Path

import pandas as pd

import resnet_lab

HERE = Path(__file__).parent
TABLE = HERE / "real_runs.csv"
COLUMNS = {
    "arm": "shape",
    "init_salt": "salt",
    "seed": "seed",
    "status": "status",
    "train_error": "train_error",
    "test_error": "test_error",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--studies", type=Path, default=Path("studies"))
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    result = resnet_lab.run_study(
        HERE / "real_runs.toml", seeds=options.seeds, studies=options.studies, reports=options.studies / "calibration-reports"
    )
    table = result.data.runs[list(COLUMNS)].rename(columns=COLUMNS).round(6)
    if not table["status"].isin(["done", "diverged"]).all():
        raise SystemExit("some runs are missing: run this again, finished runs are kept")
    table.to_csv(options.out, index=False)
    summary = table.groupby(["shape", "salt"], sort=False)["test_error"].agg(["count", "mean", "std", "min", "max"])
    print(summary.round(3).to_string())
    print(f"{len(table)} runs in {options.out}")


def shapes(table: pd.DataFrame, metric: str, salt: int = 0) -> dict[str, pd.Series]:
    """Shape -> a metric of its runs with one salt, by seed; diverged runs are left out."""
    known = table[(table["salt"] == salt) & (table["status"] == "done")]
    return {str(shape): rows.set_index("seed")[metric] for shape, rows in known.groupby("shape", sort=False)}


if __name__ == "__main__":
    main()
