"""How well does `resnet-lab plan` foretell a study? What it says, divided by what was then measured, each round in a fresh folder.

    python benchmarks/planner.py [--rounds 3] [--scale laptop] [--seeds 5] [--json FILE]

Wanted within 40 %. The plan's time is that of a machine of its own: beside the wall time stands the processor time of driver and workers, the latter
divided by how many there were, which other programs change little. Memory goes by the largest peak of a worker, disk by the size of the folder.
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
AMOUNT = r"((?:[\d.]+ (?:d|h|min|s|GB|MB|kB)\b ?)+)"
SAID = {
    "runs": r"(\d+) runs? at a time",
    "time": f"time: about {AMOUNT}",
    "memory": f"memory: about {AMOUNT}",
    "disk": f"disk: {AMOUNT}",
    "passing": f"checkpoints while runs are in flight {AMOUNT}",
}


def amount(text: str) -> float:
    """Seconds of `1 min 20 s`, bytes of `1.2 GB`, or a bare number."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+) (\w+)", text)) or float(text)


def foretell(folder: str, words: list[str]) -> dict[str, float]:
    """What `resnet-lab plan` says."""
    said = " ".join(subprocess.run([*words], cwd=folder, capture_output=True, text=True, check=True).stdout.split())
    found = {name: re.search(pattern, said) for name, pattern in SAID.items()}
    return {name: amount(match[1]) for name, match in found.items() if match}


def measure(folder: str, words: list[str]) -> dict[str, float]:
    """What the study takes: wall time, processor seconds of the driver and of its workers, the largest peak of a worker, its folder."""
    began = time.perf_counter()
    driver = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL)
    spent: dict[int, float] = {}
    peaks: dict[int, int] = {}
    while driver.poll() is None:
        try:
            for member in [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]:
                spent[member.pid] = sum(member.cpu_times()[:2])
                peaks[member.pid] = max(peaks.get(member.pid, 0), proportional_memory(member))
        except psutil.Error:
            continue
        time.sleep(1.0)  # asking for memory holds the process asked up
    wall, own = time.perf_counter() - began, spent.pop(driver.pid)
    disk = sum(path.stat().st_size for path in Path(folder, "studies").rglob("*") if path.is_file())
    return {"wall": wall, "driver": own, "workers": sum(spent.values()), "memory": max(peaks[pid] for pid in spent), "disk": disk}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--seeds", default="5")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    question, rounds = ["plain_vs_residual", "--scale", options.scale, "--seeds", options.seeds], []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            said = foretell(folder, [sys.executable, "-m", "resnet_lab", "plan", *question])
            taken = measure(folder, [sys.executable, "-m", "resnet_lab", "study", *question])
        alone = taken["driver"] + taken["workers"] / said["runs"]
        ratios = {"wall": said["time"] / taken["wall"], "processors": said["time"] / alone, "memory": said["memory"] / taken["memory"]}
        ratios["disk"] = (said["disk"] - said["passing"]) / taken["disk"]
        rounds.append({"load": os.getloadavg()[0], "said": said, "taken": taken, "ratios": ratios})
        shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"{said['time']:.0f} s said, {taken['wall']:.0f} s taken; said / taken: {shown}; load {os.getloadavg()[0]:.1f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))


if __name__ == "__main__":
    main()
