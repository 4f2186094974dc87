"""What does the default study cost? Wall time, how far it is from bare training, memory a worker, and the share of the report.

    python benchmarks/default_study.py [--workers 2] [--json FILE]

Runs `python -m resnet_lab.study plain_vs_residual` in an empty folder and watches its processes. Bare training time is the sum of what the
runs themselves took, divided by the workers. Memory is the proportional set size (shared pages divided among those who share them), its peak.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil


def proportional_memory(process: psutil.Process) -> int:
    """Proportional set size in bytes; the resident size where the system does not tell."""
    try:
        full = process.memory_full_info()
    except (psutil.Error, OSError):
        return 0
    return getattr(full, "pss", full.rss)


def watch(process: subprocess.Popen) -> dict[int, int]:
    """Peak memory of every process of the study, by pid, until it ends."""
    peaks: dict[int, int] = {}
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.Error:
            break
        for member in family:
            peaks[member.pid] = max(peaks.get(member.pid, 0), proportional_memory(member))
        time.sleep(1)
    process.wait()
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", "--workers", str(options.workers)]
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        peaks = watch(process)
        wall = time.perf_counter() - began
        runs = pd.read_csv(Path(folder) / "reports/plain_vs_residual/laptop/runs.csv")
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "resnet_lab.report", "plain_vs_residual"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        report = time.perf_counter() - began
    bare = runs["seconds"].sum() / options.workers
    workers = sorted((peak for pid, peak in peaks.items() if pid != process.pid), reverse=True)[: options.workers]
    results = {
        "runs": len(runs),
        "wall": wall,
        "bare": bare,
        "bound": 1.15 * bare + 10,
        "report": report,
        "worker_gigabytes": [peak / 1e9 for peak in workers],
        "driver_gigabytes": peaks.get(process.pid, 0) / 1e9,
    }
    print(
        f"{len(runs)} runs: {wall:.1f} s; bare training {bare:.1f} s / {options.workers} workers, 1.15 x bare + 10 s = {results['bound']:.1f} s"
    )
    print(f"report alone: {report:.1f} s; memory a worker {', '.join(f'{peak / 1e9:.2f}' for peak in workers)} GB")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
