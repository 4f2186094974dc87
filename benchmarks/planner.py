"""How well does `--plan` foretell the default study? Predicted against measured, several times, each in a fresh folder.

    python benchmarks/planner.py [--rounds 3] [--scale laptop] [--json FILE]

Two ratios, each wanted within 25 %. Wall time: what the plan says at the load of the moment against what the study then took, which other
programs may have changed meanwhile. Without others: what the plan says for a machine of its own against the processor seconds of the driver and,
divided by the workers, of the workers. Memory and disk go by the peaks of the study's processes and the size of its folder.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from default_study import proportional_memory

UNITS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "GB": 1e9, "MB": 1e6, "kB": 1e3}
DURATION = r"((?:\d+ (?:d|h|min|s) ?)+)"


def quantity(text: str) -> float:
    """Seconds of `1 min 20 s`, bytes of `1.2 GB`."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+) (\w+)", text))


def plan(folder: str, words: list[str]) -> tuple[dict[str, float], float]:
    """What `--plan` says, and the seconds it took to say so."""
    began = time.perf_counter()
    done = subprocess.run([*words, "--plan"], cwd=folder, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    said = " ".join(done.stdout.split())
    wall = re.search(rf"time: about {DURATION}with (\d+) worker", said)
    alone = re.search(rf"without them about {DURATION}", said)
    memory = re.search(r"memory: ([\d.]+ [MG]B) a worker", said)
    disk = re.search(r"disk: ([\d.]+ [kMG]B) at most \(.*?, ([\d.]+ [kMG]B) of checkpoints", said)
    if not (wall and memory and disk):
        raise SystemExit(f"the plan says something else: {said}")
    return {
        "wall": quantity(wall[1]),
        "alone": quantity((alone or wall)[1]),
        "workers": float(wall[2]),
        "memory": quantity(memory[1]),
        "disk": quantity(disk[1]) - quantity(disk[2]),
    }, seconds


def run(folder: str, words: list[str]) -> dict[str, float]:
    """What the study takes: wall time, processor seconds of the driver and of its workers, the largest peak of a worker, its folder."""
    began = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL)
    spent, peaks = {}, {}
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for member in family:
                times = member.cpu_times()
                spent[member.pid] = times.user + times.system
                peaks[member.pid] = max(peaks.get(member.pid, 0), proportional_memory(member))
        except psutil.Error:
            continue
        time.sleep(1.0)  # asking for memory holds the process asked up
    wall = time.perf_counter() - began
    workers = {pid for pid in spent if pid != process.pid}
    size = sum(path.stat().st_size for path in Path(folder, "studies").rglob("*") if path.is_file())
    return {
        "wall": wall,
        "driver": spent[process.pid],
        "workers": sum(spent[pid] for pid in workers),
        "memory": max(peaks[pid] for pid in workers),
        "disk": size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    words = [sys.executable, "-m", "resnet_lab.study", "plain_vs_residual", "--scale", options.scale]
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            load = os.getloadavg()[0]
            foretold, took = plan(folder, words)
            measured = run(folder, words)
        alone = measured["driver"] + measured["workers"] / foretold["workers"]
        ratios = {
            "wall": foretold["wall"] / measured["wall"],
            "alone": foretold["alone"] / alone,
            "memory": foretold["memory"] / measured["memory"],
            "disk": foretold["disk"] / measured["disk"],
        }
        rounds.append(
            {"load": load, "plan_seconds": took, "foretold": foretold, "measured": {**measured, "alone": alone}, "ratios": ratios}
        )
        print(
            f"load {load:.1f}, {os.getloadavg()[0]:.1f} at the end; planned in {took:.1f} s; wall {foretold['wall']:.0f} s said, "
            f"{measured['wall']:.0f} s taken: {ratios['wall']:.2f}; alone {foretold['alone']:.0f} s said, {alone:.0f} s taken: {ratios['alone']:.2f}; "
            f"memory {ratios['memory']:.2f}, disk {ratios['disk']:.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))


if __name__ == "__main__":
    main()
